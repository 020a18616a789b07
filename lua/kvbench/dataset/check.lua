-- SPDX-License-Identifier: Apache-2.0
-- The validator: Algorithm 1, step 6. Takes a record apart again and says what is wrong with it, first fault first.
-- It shares no code with the generators beyond word counting, so that it does not inherit their mistakes.
local real_names = require "kvbench.dataset.real_names"
local scan = require "kvbench.dataset.scan"
local boundary, occurrences, word_count, integer = scan.boundary, scan.occurrences, scan.word_count, scan.integer
local span_fault, inside, overlap = scan.span_fault, scan.inside, scan.overlap

local M = {}

M.answer_types = {
  Person = true, Thing = true, Organization = true, Creature = true, Location = true, Numerals = true,
  ["Date/Time"] = true, Event = true,
}
M.question_types = { standard = true, manipulated = true, part = true }
M.max_passage = 65536

local function check_mention(record, fact, m, i)
  local passage, where = record.passage, ("fact %s, mention %d: "):format(fact.id, i)
  if type(m) ~= "table" then return where .. "is not a table" end
  local fault = span_fault(m.sentence, where .. "sentence", #passage) or span_fault(m.value, where .. "value", #passage)
  if fault then return fault end
  local held = passage:sub(m.value[1] + 1, m.value[2])
  if held ~= fact.value then return ("%svalue span holds '%s', not '%s'"):format(where, held, fact.value) end
  if not (boundary(passage, m.value[1]) and boundary(passage, m.value[2] + 1)) then
    return where .. "value span cuts a word"
  end
  if not inside(m.value, m.sentence) then return where .. "value lies outside its sentence" end
  local sentence = passage:sub(m.sentence[1] + 1, m.sentence[2])
  if not sentence:match("^[%u%d\"]") or not sentence:match("[.!?]\"?$") then
    return ("%ssentence span is not a whole sentence: '%s'"):format(where, sentence:sub(1, 60))
  end
  if type(m.binding) ~= "table" or (#m.binding == 0 and fact.relation ~= "name") then return where
    .. "has no binding" end
  for _, span in ipairs(m.binding) do
    fault = span_fault(span, where .. "binding", #passage)
    if fault then return fault end
    if overlap(span, m.value) then return where .. "binding overlaps the value" end
  end
end

local function check_fact(record, fact, rules)
  if type(fact.value) ~= "string" or fact.value == "" then return ("fact %s has no value"):format(tostring(fact.id)) end
  if not M.answer_types[fact.type] then
    return ("fact %s has type '%s' -> one of Table 4's"):format(fact.id, tostring(fact.type))
  end
  if type(fact.mentions) ~= "table" or #fact.mentions == 0 then return ("fact %s is mentioned "
    .. "nowhere"):format(fact.id) end
  for i, m in ipairs(fact.mentions) do
    local fault = check_mention(record, fact, m, i)
    if fault then return fault end
  end
  if fact.relation == "name" or rules.repeats then return end
  local n = occurrences(record.passage, fact.value)
  if n ~= 1 then return ("fact %s: '%s' is stated %d times, not once"):format(fact.id, fact.value, n) end
end

-- No value may equal, or hold as whole words, another value of the passage: the slot would be ambiguous.
local function check_slots(facts)
  for i, a in ipairs(facts) do
    for j, b in ipairs(facts) do
      if i ~= j and occurrences(a.value:lower(), b.value:lower()) > 0 and a.relation ~= "name"
        and b.relation ~= "name" then
        return ("values '%s' (%s) and '%s' (%s) cannot be told apart"):format(a.value, a.id, b.value, b.id)
      end
    end
  end
end

local function check_invented(facts, rules)
  for _, fact in ipairs(facts) do
    if not (rules.real and rules.real[fact.type]) then
      local real = real_names.find(fact.value, fact.type, rules.whole_names)
      if real then return ("fact %s: '%s' is a real name (%s)"):format(fact.id, fact.value, real) end
    end
  end
end

local glue = { ["and"] = true, ["in"] = true, of = true, the = true, on = true, at = true, ["for"] = true }

-- Every word of the answer stands in one of the facts' values (joining words aside); returns how many facts give some.
local function grounding(answer, facts)
  local used, count = {}, 0
  for _, word in ipairs(scan.tokens(answer)) do
    local found = glue[word]
    for _, fact in ipairs(facts) do
      if occurrences(fact.value:lower(), word) > 0 then
        found = true
        if not glue[word] and not used[fact] then
          used[fact] = true
          count = count + 1
        end
      end
    end
    if not found then return nil, word end
  end
  return count
end

local function check_answer(q, where, answering)
  if q.question_type == "standard" then
    if #answering ~= 1 or q.a ~= answering[1].value then
      return ("%sanswer '%s' is not the value of its fact"):format(where, q.a)
    end
  elseif q.question_type == "manipulated" then
    if #answering ~= 1 or q.a == answering[1].value or occurrences(answering[1].value, q.a) == 0 then
      return ("%smanipulated answer '%s' is not a proper part of its fact's value"):format(where, q.a)
    end
  else
    local n, word = grounding(q.a, answering)
    if not n then return ("%sanswer word '%s' stands in none of its facts"):format(where, word) end
    if n < 2 then return ("%sa part answer needs words of two facts"):format(where) end
  end
end

local function check_question(q, i, by_id, facts, rules)
  local where = ("question %d: "):format(i)
  if type(q.q) ~= "string" or not q.q:match("%?$") then return where .. "does not end in a question mark" end
  if type(q.a) ~= "string" or q.a == "" then return where .. "has no answer" end
  if type(q.aliases) ~= "table" then return where .. "aliases is not a list" end
  if q.direction ~= "forward" and q.direction ~= "reverse" then
    return where .. ("direction '%s' -> forward or reverse"):format(tostring(q.direction))
  end
  if not M.answer_types[q.answer_type] then
    return where .. ("answer type '%s' is not one of Table 4's"):format(tostring(q.answer_type))
  end
  if not M.question_types[q.question_type] then
    return where .. ("question type '%s' -> standard, manipulated or part"):format(tostring(q.question_type))
  end
  if not integer(q.hop) or not integer(q.depth) or q.hop < 0 or q.depth < 0 then
    return where .. "hop and depth are not whole numbers from 0"
  end
  if type(q.fact_ids) ~= "table" or #q.fact_ids == 0 then return where .. "names no fact" end
  local answering = {}
  for k, id in ipairs(q.fact_ids) do
    if not by_id[id] then return ("%sfact '%s' does not exist"):format(where, tostring(id)) end
    answering[k] = by_id[id]
  end
  for _, id in ipairs(q.cue_ids or {}) do
    if not by_id[id] then return ("%scue fact '%s' does not exist"):format(where, tostring(id)) end
  end
  if type(q.answerable) ~= "boolean" then return where .. "answerable is not true or false" end
  if q.answerable == M.abstains(q.a) then
    return where .. (q.answerable and "is answerable, but its answer abstains" or "is unanswerable, but has an answer")
  end
  if not q.answerable then return end
  if word_count(q.a) > rules.answer_words then
    return ("%sanswer has %d words, more than %d"):format(where, word_count(q.a), rules.answer_words)
  end
  local fault = check_answer(q, where, answering)
  if fault then return fault end
  if q.question_type ~= "manipulated" and occurrences(q.q, q.a) > 0 then return where .. "gives its own answer away" end
  for _, alias in ipairs(q.aliases) do
    for _, fact in ipairs(facts) do
      if alias == fact.value and fact ~= answering[1] then return ("%salias '%s' is another fact's "
        .. "value"):format(where, alias) end
    end
  end
end

--- Whether an answer is the stored form of "I don't know".
function M.abstains(answer) return answer:lower():match("^i don'?t know%.?$") ~= nil end

local function check_shape(record)
  if type(record) ~= "table" then return "the record is not a table" end
  if type(record.id) ~= "string" or record.id == "" then return "the record has no id" end
  if type(record.passage) ~= "string" or record.passage == "" then return "the record has no passage" end
  if #record.passage > M.max_passage then
    return ("the passage has %d bytes, more than %d"):format(#record.passage, M.max_passage)
  end
  if not scan.utf8_ok(record.passage) then return "the passage is not valid UTF-8" end
  if record.passage:find("[%z\1-\8\11-\31\127]") then return "the passage holds a control character" end
  local mark = record.passage:match("{[%w_']*}") or record.passage:match("<[%w_]+>") or record.passage:match("a%(n%)")
  if mark then return ("the passage holds an unfilled template slot '%s'"):format(mark) end
  if type(record.facts) ~= "table" or type(record.questions) ~= "table" then return "the record lacks facts or "
    .. "questions" end
end

local function check_questions(record, by_id, rules)
  local n = #record.questions
  if n < rules.questions[1] or n > rules.questions[2] then
    return ("%d questions, expected %d to %d"):format(n, rules.questions[1], rules.questions[2])
  end
  local seen, direction = {}, {}
  for i, q in ipairs(record.questions) do
    local fault = check_question(q, i, by_id, record.facts, rules)
    if fault then return fault end
    local key = q.q:lower():gsub("[%s%p]+", " ")
    if seen[key] then return ("questions %d and %d are the same"):format(seen[key], i) end
    seen[key] = i
    direction[q.direction] = true
  end
  if not direction.forward then return "no forward question" end
  if not direction.reverse then return "no reverse question" end
end

-- The first fault of a record, or nil.
local function check_all(record, rules)
  local fault = check_shape(record)
  if fault then return fault end
  local words = word_count(record.passage)
  if words < rules.words[1] or words > rules.words[2] then
    return ("the passage has %d words, expected %d to %d"):format(words, rules.words[1], rules.words[2])
  end
  local by_id, attributes = {}, 0
  for i, fact in ipairs(record.facts) do
    if type(fact) ~= "table" or type(fact.id) ~= "string" then return ("fact %d has no id"):format(i) end
    if by_id[fact.id] then return ("fact id '%s' is used twice"):format(fact.id) end
    by_id[fact.id] = fact
    if fact.relation ~= "name" then attributes = attributes + 1 end
    fault = check_fact(record, fact, rules)
    if fault then return fault end
  end
  if attributes < rules.attributes then
    return ("%d attributes, at least %d are needed"):format(attributes, rules.attributes)
  end
  fault = check_slots(record.facts) or check_invented(record.facts, rules) or check_questions(record, by_id, rules)
  if not fault and rules.extra then fault = rules.extra(record) end
  return fault
end

--- Checks one record against the rules of its task.
--   rules  words = {min, max}, questions = {min, max}, attributes = least number of facts besides the name,
--          answer_words = longest answer; real = types whose values may be real names;
--          whole_names = composed names may hold real words; repeats = attributes may recur
-- Returns true, or nil and one line that says what is wrong. Never raises, whatever the record holds.
function M.check(record, rules)
  local ok, fault = pcall(check_all, record, rules)
  if not ok then return nil, "the record is malformed: " .. tostring(fault):gsub("^.-:%d+: ", "") end
  if fault then return nil, fault end
  return true
end

return M
