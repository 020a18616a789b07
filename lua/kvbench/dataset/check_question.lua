-- SPDX-License-Identifier: Apache-2.0
-- The validator's part about questions: known labels, facts that exist, answers that stand in their facts, both
-- directions, nothing asked twice. Every fault is a text and the field it is about.
local facts_of = require "kvbench.dataset.check_fact"
local scan = require "kvbench.dataset.scan"
local occurrences, word_count = scan.occurrences, scan.word_count

local M = {}

M.question_types = { standard = true, manipulated = true, part = true }

local glue = { ["and"] = true, ["in"] = true, of = true, the = true, on = true, at = true, ["for"] = true }

--- Whether an answer is the stored form of "I don't know".
function M.abstains(answer) return answer:lower():match("^i don'?t know%.?$") ~= nil end

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

local function check_answer(q, answering)
  if q.question_type == "standard" then
    if #answering ~= 1 or q.a ~= answering[1].value then
      return ("answer '%s' is not the value of its fact"):format(q.a)
    end
  elseif q.question_type == "manipulated" then
    if #answering ~= 1 or q.a == answering[1].value or occurrences(answering[1].value, q.a) == 0 then
      return ("manipulated answer '%s' is not a proper part of its fact's value"):format(q.a)
    end
  else
    local n, word = grounding(q.a, answering)
    if not n then return ("answer word '%s' stands in none of its facts"):format(word) end
    if n < 2 then return "a part answer needs words of two facts" end
  end
end

local function check_labels(q)
  if q.direction ~= "forward" and q.direction ~= "reverse" then
    return ("direction '%s' -> forward or reverse"):format(q.direction), "direction"
  end
  if not facts_of.answer_types[q.answer_type] then
    return ("answer type '%s' is not one of Table 4's"):format(q.answer_type), "answer_type"
  end
  if not M.question_types[q.question_type] then
    return ("question type '%s' -> standard, manipulated or part"):format(q.question_type), "question_type"
  end
  for _, name in ipairs { "hop", "depth" } do
    if q[name] < 0 then return ("hop and depth count from 0, got %d"):format(q[name]), name end
  end
end

--- Facts that a question names exist. Returns the answering facts, or nil, the fault and its field.
function M.answering(q, by_id)
  local answering = {}
  for k, id in ipairs(q.fact_ids) do
    if not by_id[id] then return nil, ("fact '%s' does not exist"):format(id), ("fact_ids[%d]"):format(k) end
    answering[k] = by_id[id]
  end
  for k, id in ipairs(q.cue_ids or {}) do
    if not by_id[id] then return nil, ("cue fact '%s' does not exist"):format(id), ("cue_ids[%d]"):format(k) end
  end
  for k, id in ipairs(q.bridge_ids or {}) do
    if not by_id[id] then return nil, ("bridge fact '%s' does not exist"):format(id), ("bridge_ids[%d]"):format(k) end
  end
  if q.bridge_ids and q.depth and #q.bridge_ids ~= q.depth then
    return nil, ("depth %d, but %d bridges"):format(q.depth, #q.bridge_ids), "depth"
  end
  return answering
end

--- `answerable` and the answer agree.
function M.abstention(q)
  if q.answerable == M.abstains(q.a) then
    return q.answerable and "the question is answerable, but its answer abstains"
      or ("the question is unanswerable, but has an answer ('%s')"):format(q.a), "answerable"
  end
end

local function check_question(q, by_id, facts, rules)
  if not q.q:match("%?$") then return ("'%s' does not end in a question mark"):format(q.q), "q" end
  if q.a == "" then return "the question has no answer", "a" end
  local fault, field = check_labels(q)
  if fault then return fault, field end
  if #q.fact_ids == 0 then return "the question names no fact", "fact_ids" end
  local answering
  answering, fault, field = M.answering(q, by_id)
  if not answering then return fault, field end
  fault, field = M.abstention(q)
  if fault or not q.answerable then return fault, field end
  if word_count(q.a) > rules.answer_words then
    return ("answer '%s' has %d words, more than %d"):format(q.a, word_count(q.a), rules.answer_words), "a"
  end
  fault = check_answer(q, answering)
  if fault then return fault, "a" end
  if q.question_type ~= "manipulated" and occurrences(q.q, q.a) > 0 then
    return ("the question gives its own answer away ('%s')"):format(q.a), "q"
  end
  for i, alias in ipairs(q.aliases) do
    for _, fact in ipairs(facts) do
      if alias == fact.value and fact ~= answering[1] then
        return ("alias '%s' is another fact's value"):format(alias), ("aliases[%d]"):format(i)
      end
    end
  end
end

--- The first fault of a record's questions, or nil.
function M.fault(record, by_id, rules)
  local n = #record.questions
  if n < rules.questions[1] or n > rules.questions[2] then
    return ("%d questions, expected %d to %d"):format(n, rules.questions[1], rules.questions[2]), "questions"
  end
  local seen, direction = {}, {}
  for i, q in ipairs(record.questions) do
    local where = ("questions[%d]"):format(i)
    local fault, field = check_question(q, by_id, record.facts, rules)
    if fault then return fault, where .. "." .. field end
    local key = q.q:lower():gsub("[%s%p]+", " ")
    if seen[key] then return ("questions %d and %d are the same"):format(seen[key], i), where .. ".q" end
    seen[key] = i
    direction[q.direction] = true
  end
  if not direction.forward then return "no forward question", "questions" end
  if not direction.reverse then return "no reverse question", "questions" end
end

return M
