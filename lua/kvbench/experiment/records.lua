-- SPDX-License-Identifier: Apache-2.0
-- What experiments need to know of the records behind their rows, and the records without what there is to read.
local M = {}

local function first_mention(record, question)
  local least, mentions = nil, 0
  for _, id in ipairs(question.fact_ids or {}) do
    for _, fact in ipairs(record.facts) do
      for _, m in ipairs(fact.id == id and fact.mentions or {}) do
        if m.value then
          mentions = mentions + 1
          least = math.min(least or m.value[1], m.value[1])
        end
      end
    end
  end
  return least, mentions
end

--- Gives every row the columns of its record: hop, depth, mentions (of the values asked for), position (of the first,
-- 0 to 1), answer_words, and .record and .asked (the question). Returns the rows.
function M.join(rows, dataset)
  local by_id = {}
  for _, record in ipairs(dataset.records) do by_id[record.id] = record end
  for _, row in ipairs(rows) do
    local record = by_id[row.passage_id]
    local question = record and record.questions[row.question]
    if question then
      local at, mentions = first_mention(record, question)
      row.record, row.asked = record, question
      row.hop, row.depth = question.hop, question.depth
      row.mentions, row.position = mentions, at and at / math.max(1, #record.passage)
      row.answer_words = select(2, question.a:gsub("%S+", ""))
    end
  end
  return rows
end

--- Gives every row what is left of its passage: kept_tokens (mean over heads), log2_kept, and log2_step (to the nearest
-- half, so that passages share points of a curve). Rows that keep less than one token have no logarithm.
function M.kept(rows, dataset, model)
  local lengths = {}
  for _, record in ipairs(dataset.records) do lengths[record.id] = #model:ids(record.passage) end
  for _, row in ipairs(rows) do
    if lengths[row.passage_id] and row.effective_ratio then
      row.kept_tokens = (1 - row.effective_ratio) * lengths[row.passage_id]
      if row.kept_tokens >= 1 then
        row.log2_kept = math.log(row.kept_tokens) / math.log(2)
        row.log2_step = math.floor(2 * row.log2_kept + .5) / 2
      end
    end
  end
  return rows
end

--- The same questions with nothing to read: how many can be answered without the passage. Facts go, since their spans
-- would point nowhere.
function M.closed_book(dataset)
  local out = {}
  for _, record in ipairs(dataset.records) do
    local questions = {}
    for i, question in ipairs(record.questions) do
      local copy = {}
      for key, value in pairs(question) do copy[key] = value end
      copy.fact_ids, copy.cue_ids, copy.bridge_ids = {}, {}, nil
      questions[i] = copy
    end
    out[#out + 1] = { id = record.id, task = "closed_book", passage = "(There is no text.)", facts = {},
      questions = questions }
  end
  return require "kvbench.dataset"(out)
end

return M
