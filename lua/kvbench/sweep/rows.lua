-- SPDX-License-Identifier: Apache-2.0
-- One row of a sweep: a continuation with its scores, its answer class and what eviction did to its evidence.
local metric = require "kvbench.metric"
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local keepset = require "kvbench.keep"
local listed = require "kvbench.metric.list"
local observe = require "kvbench.sweep.observe"
local questions = require "kvbench.sweep.asked"

local M = {}

--- Columns in the order of the CSV; rows may have more, which come after these in alphabetical order.
M.columns = { "key", "passage_id", "question", "press", "ratio", "regime", "variant", "answerable", "class", "answer",
  "gold", "f1", "word_f1", "contains", "exact", "hallucination", "abstention", "degenerate", "effective_ratio",
  "eviction_rate", "ger_model", "ger_layer", "ger_frac" }

-- What a keep-set does to a context, computed once per (context, condition) and forgotten with the condition.
local function view_of(unit, condition)
  unit.views = unit.views or setmetatable({}, { __mode = "k" })
  local view = unit.views[condition]
  if not view then
    local keep = condition.keep or keepset.all(unit.ctx.layers, unit.ctx.kv_heads, unit.ctx.tokens)
    view = { keep = eviction.view(keep) }
    view.passage = evidence.passage_columns(view.keep, unit.index)
    unit.views[condition] = view
  end
  return view
end

local function smallest(list)
  local least
  for i = 1, #list do least = math.min(least or list[i], list[i]) end
  return least
end

local function cut_at(text, stops)
  local found = false
  for _, stop in ipairs(stops) do
    local at = text:find(stop, 1, true)
    if at then text, found = text:sub(1, at - 1), true end
  end
  return text, found
end

-- Columns of the sweep's own metrics. One that fails names itself; one that overwrites a column is told.
local function measure(o, row, view)
  for _, own in ipairs(o.metrics) do
    view.row = row
    local ok, columns = pcall(own.columns, view)
    if not ok then error(("metric '%s' at %s: %s"):format(own.name, row.key, tostring(columns)), 0) end
    for name, value in pairs(columns or {}) do
      if row[name] ~= nil then
        error(("metric '%s': column '%s' is there already -> give it another name"):format(own.name, name), 0)
      end
      row[name] = value
    end
  end
end

--- What names a row: question number q of a unit under one condition.
function M.key(unit, q, condition)
  return table.concat({ unit.record.id, q, condition.press, condition.ratio, unit.regime, condition.variant }, "|")
end

local function mean_of(heads)
  local sum, n = 0, 0
  for _, layer in ipairs(heads) do
    for _, x in ipairs(layer) do sum, n = sum + x, n + 1 end
  end
  return sum / n
end

-- The other eviction columns of a decoding press describe what was gone before the question.
local function decoding_columns(row, left)
  row.decode_cuts, row.decode_kept = left.cuts, mean_of(left.kept)
  row.decode_context_kept = mean_of(left.context_kept) / row.context_tokens
  local note = "eviction columns: before the question; decode_*: after the last cut"
  row.notes = row.notes and row.notes .. "; " .. note or note
end

--- The row of one condition of a question; `set` is what came back for its keep-set (sweep/asked.lua).
function M.make(o, asked, condition, set)
  local unit, q, result = asked.unit, asked.q, set.result
  local question, tokenizer = unit.record.questions[q], o.model.tokenizer
  local text, stopped = cut_at(tokenizer:decode(result.ids, { skip_special = true }), unit.prompt.stop)
  local row = {
    key = M.key(unit, q, condition),
    passage_id = unit.record.id, question = q, press = condition.press, ratio = condition.ratio, regime = unit.regime,
    variant = condition.variant or "",
    gold = question.a, direction = question.direction, answer_type = question.answer_type,
    question_type = question.question_type,
    tokens = #result.ids, truncated = result.stop == "length" and not stopped, margin = smallest(result.margins),
    context_tokens = unit.ctx.tokens,
    notes = condition.notes and #condition.notes > 0 and table.concat(condition.notes, "; ") or nil,
  }
  if result.decoding then decoding_columns(row, result.decoding) end
  if set.score then
    row.gold_tokens, row.gold_logprob = #asked.gold, set.score.total
    row.gold_logprob_per_token, row.kl_full = set.score.per_token, set.kl
  end
  local view = observe.view { result = result, unit = unit, question = question, condition = condition,
    keep = condition.keep, record = unit.record, index = unit.index, ids = asked.ids,
    lost = questions.lost(asked, set), reference = questions.reference(asked) }
  local function merge(columns)
    for name, value in pairs(columns) do row[name] = value end
  end
  merge(condition.columns or {})
  if o.score == false then
    measure(o, row, view)
    return row
  end
  merge(metric.score {
    answer = text, question = question, record = unit.record, ids = result.ids, stop = unit.prompt.stop,
    examples = unit.prompt.examples, special = function(id) return tokenizer:is_special(id) end,
    tokenizer = tokenizer, tokenizer_name = o.model.name,
  })
  local evicted = view_of(unit, condition)
  view.eviction = evicted.keep
  merge(evicted.passage)
  merge(evidence.columns(evicted.keep, unit.index, question, { degenerate = row.class == "degenerate" }))
  local list = unit.prompt.list_span
  if list then merge(listed.columns(evicted.keep, unit.index.offsets, unit.prompt.context, list, question)) end
  measure(o, row, view)
  return row
end

return M
