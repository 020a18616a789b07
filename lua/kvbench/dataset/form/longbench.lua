-- SPDX-License-Identifier: Apache-2.0
-- LongBench-style records: {input, context, answers, dataset, all_classes, _id}. One question a passage; the data set's
-- name is kept (`suite`), since it decides how an answer is scored (kvbench.metric.suite).
local M = { name = "longbench", doc = [[{"input": ..., "context": ..., "answers": [..], "dataset": ...}]] }

function M.matches(value) return value.context ~= nil and value.input ~= nil end

function M.convert(value, line, put)
  local answers = value.answers
  if type(answers) == "string" then answers = { answers } end
  if type(answers) ~= "table" or type(answers[1]) ~= "string" then
    return put(nil, "answers: is not a list of at least one text", "answers")
  end
  local aliases = {}
  for i = 2, #answers do aliases[i - 1] = answers[i] end
  local id = value._id or value.id
  local name = type(value.dataset) == "string" and value.dataset or nil
  put { id = type(id) == "string" and id or "line-" .. line, task = "longbench", suite = name,
    classes = type(value.all_classes) == "table" and value.all_classes or nil, passage = value.context, facts = {},
    -- tasks without a question of their own (summaries, code) leave the input empty
    questions = { { q = type(value.input) == "string" and value.input:find("%S") and value.input or "Answer:",
      a = answers[1], aliases = aliases, fact_ids = {} } } }
end

return M
