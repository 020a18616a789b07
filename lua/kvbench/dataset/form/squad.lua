-- SPDX-License-Identifier: Apache-2.0
-- SQuAD-like data: flat lines {id, context, question, answers = {text, answer_start}}, lists of such answers, or the
-- published nested files (data -> paragraphs -> qas). answer_start counts characters; spans here count bytes. A start
-- that does not hold its text rejects the question's record: such a span would silently blame the wrong tokens.
local scan = require "kvbench.dataset.scan"

local M = { name = "squad", doc = [[{"id", "context", "question", "answers": {"text": [..], "answer_start": [..]}}, or the nested file]] }

function M.matches(value) return value.context ~= nil and value.question ~= nil or type(value.data) == "table" end

-- Byte offset of a character offset, or nil when the text is shorter.
local function byte_offset(s, characters)
  if not s:find("[\128-\255]") then return characters <= #s and characters or nil end
  local at = 1
  for _ = 1, characters do
    if at > #s then return nil end
    local c = s:byte(at)
    at = at + (c < 0x80 and 1 or c < 0xE0 and 2 or c < 0xF0 and 3 or 4)
  end
  return at - 1
end

-- {text, start} pairs of both layouts; a bare text has no start.
local function answers_of(value)
  local given, out = value.answers or value.answer, {}
  if type(given) == "string" then return { { given } } end
  if type(given) ~= "table" then return out end
  if type(given.text) == "string" then return { { given.text, given.answer_start } } end
  if type(given.text) == "table" then
    for i, words in ipairs(given.text) do out[i] = { words, (given.answer_start or {})[i] } end
    return out
  end
  for i, answer in ipairs(given) do
    out[i] = type(answer) == "table" and { answer.text, answer.answer_start } or { answer }
  end
  return out
end

-- The sentence around a span: from after the last end mark to the next one.
local function sentence_around(passage, from, to)
  local start, at = 0, 1
  while true do
    local _, stop = passage:find("[.!?]%s+", at)
    if not stop or stop > from then break end
    start, at = stop, stop + 1
  end
  local stop = passage:find("[.!?]%s", to) or passage:find("[.!?]$", to)
  return { start, stop and math.max(stop, to) or #passage }
end

local function convert_one(value, id, context, put)
  local record = { id = id, task = "squad", passage = context, facts = {}, questions = {} }
  local question = { q = value.question, a = "I don't know", aliases = {}, fact_ids = {}, id = value.id }
  local seen, mentions = {}, {}
  for i, answer in ipairs(answers_of(value)) do
    local words, start = answer[1], answer[2]
    if type(words) ~= "string" or type(context) ~= "string" then
      return put(record, ("answers[%d].text: is a %s, not a text"):format(i, type(words)), "answers")
    end
    if type(start) == "number" then
      local from = scan.integer(start) and start >= 0 and byte_offset(context, start)
      local held = from and context:sub(from + 1, from + #words)
      if held ~= words then
        return put(record, ("answers[%d].answer_start: %s holds '%s', not '%s'"):format(i, tostring(start),
          tostring(held or ""):sub(1, 60), words), "answers")
      end
      if i == 1 or words == question.a then
        local key = from .. "/" .. words
        if not seen[key] then
          mentions[#mentions + 1] = { sentence = sentence_around(context, from, from + #words),
            value = { from, from + #words }, binding = {} }
        end
        seen[key] = true
      end
    end
    if i == 1 then question.a = words
    elseif words ~= question.a and not seen[words] then
      seen[words] = true
      question.aliases[#question.aliases + 1] = words
    end
  end
  question.answerable = question.a ~= "I don't know"
  record.questions[1] = question
  if #mentions > 0 then
    record.facts[1] = { id = "f1", value = question.a, mentions = mentions }
    question.fact_ids[1] = "f1"
  end
  put(record)
end

--- Adds the question of `record` to `open`, which has the same passage.
function M.join(open, record)
  local q, fact = record.questions[1], record.facts[1]
  if fact then
    fact.id = "f" .. #open.facts + 1
    q.fact_ids = { fact.id }
    open.facts[#open.facts + 1] = fact
  end
  open.questions[#open.questions + 1] = q
  return true
end

function M.convert(value, line, put)
  if type(value.data) ~= "table" then
    return convert_one(value, type(value.id) == "string" and value.id or "line-" .. line, value.context, put)
  end
  for a, article in ipairs(value.data) do
    for p, paragraph in ipairs(article.paragraphs or {}) do
      for k, qa in ipairs(paragraph.qas or {}) do
        convert_one(qa, type(qa.id) == "string" and qa.id or ("squad-%d-%d-%d"):format(a, p, k), paragraph.context, put)
      end
    end
  end
end

return M
