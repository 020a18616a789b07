-- SPDX-License-Identifier: Apache-2.0
-- The validator: Algorithm 1, step 6. Takes a record apart again and says what is wrong with it, first fault first.
-- It shares no code with the generators beyond word counting, so that it does not inherit their mistakes.
local facts_of = require "kvbench.dataset.check_fact"
local questions_of = require "kvbench.dataset.check_question"
local scan = require "kvbench.dataset.scan"
local schema = require "kvbench.dataset.schema"

local M = { answer_types = facts_of.answer_types, question_types = questions_of.question_types,
  abstains = questions_of.abstains }
M.max_passage = 65536
M.max_imported = 16 * 1024 * 1024 -- a long-context suite's passages are longer than any of ours

local function passage_fault(record, limit)
  if record.id == "" then return "the record has no id", "id" end
  local n = #record.passage
  if n == 0 then return "the record has no passage", "passage" end
  if n > limit then return ("the passage has %d bytes, more than %d"):format(n, limit), "passage" end
end

-- The first fault of a record, or nil.
local function check_all(record, rules)
  local fault, field = schema.fault(record)
  if fault then return fault, field end
  fault, field = passage_fault(record, M.max_passage)
  if fault then return fault, field end
  local mark = record.passage:match("{[%w_']*}") or record.passage:match("<[%w_]+>") or record.passage:match("a%(n%)")
  if mark then return ("the passage holds an unfilled template slot '%s'"):format(mark), "passage" end
  local words = scan.word_count(record.passage)
  if words < rules.words[1] or words > rules.words[2] then
    return ("the passage has %d words, expected %d to %d"):format(words, rules.words[1], rules.words[2]), "passage"
  end
  local by_id
  by_id, fault, field = facts_of.by_id(record.facts)
  if not by_id then return fault, field end
  fault, field = facts_of.fault(record, rules)
  if fault then return fault, field end
  fault, field = questions_of.fault(record, by_id, rules)
  if fault then return fault, field end
  if rules.extra then
    fault, field = rules.extra(record)
    return fault, field or fault and "questions"
  end
end

-- What holds for any record, whoever made it: types, ids, spans, labels where there are some.
local function check_imported(record)
  local fault, field = schema.fault(record, true)
  if fault then return fault, field end
  fault, field = passage_fault(record, M.max_imported)
  if fault then return fault, field end
  local by_id
  by_id, fault, field = facts_of.by_id(record.facts or {})
  if not by_id then return fault, field end
  for i, fact in ipairs(record.facts or {}) do
    for k, m in ipairs(fact.mentions or {}) do
      fault, field = facts_of.mention_spans(record, fact, m, ("facts[%d].mentions[%d]"):format(i, k))
      if fault then return fault, field end
    end
  end
  if #record.questions == 0 then return "the record asks nothing", "questions" end
  for i, q in ipairs(record.questions) do
    local where, known = ("questions[%d]."):format(i)
    if not q.q:find("%S") then return "the question is empty", where .. "q" end
    if not q.a:find("%S") then return "the answer is empty", where .. "a" end
    known, fault, field = questions_of.answering({ fact_ids = q.fact_ids or {}, cue_ids = q.cue_ids }, by_id)
    if not known then return fault, where .. field end
    if q.answerable ~= nil then fault, field = questions_of.abstention(q) end
    if fault then return fault, where .. field end
    if q.answer_type and not M.answer_types[q.answer_type] then
      return ("answer type '%s' is not one of Table 4's"):format(q.answer_type), where .. "answer_type"
    end
  end
end

--- Checks one record.
--   rules  words = {min, max}, questions = {min, max}, attributes = least number of facts besides the name,
--          answer_words = longest answer; real = types whose values may be real names;
--          whole_names = composed names may hold real words; repeats = attributes may recur; extra(record) -> fault,
--          field. nil: the record is an imported one, and only what holds for any record is checked.
-- Returns true, or nil, one line that says what is wrong where, and the field alone ("questions[2].a", counted from 1).
-- Never raises, whatever the record holds.
function M.check(record, rules)
  local ok, fault, field = pcall(rules and check_all or check_imported, record, rules)
  if not ok then return nil, "the record is malformed: " .. tostring(fault):gsub("^.-:%d+: ", ""), "record" end
  if fault then return nil, field .. ": " .. fault, field end
  return true
end

return M
