-- SPDX-License-Identifier: Apache-2.0
-- What a sweep observes while it answers: the needs of its metrics as fields of batch requests, the view that a metric
-- gets, and the columns of kv.sweep{observe = {...}}.
--
--   observe = { "attention", "recall", "reference", hidden = {layers =, rows =}, weights = {layers =, rows =} }
--
-- Token classes of "attention": V the question's answer tokens (for unanswerable ones: the tempting value), B what
-- binds them, sinks (the first tokens of the context), X the rest of the passage, other (instruction and examples), and
-- own (question and answer). top_within is taken over V, B and X: the passage without sinks.
local evidence = require "kvbench.metric.evidence"
local text = require "kvbench.text"

local M = {}

--- Index of a token class in result.observed.mass's last dimension (counted from 1).
M.classes = { V = 1, B = 2, sinks = 3, X = 4, other = 5, own = 6 }
local NAMES = { "V", "B", "sinks", "X", "other", "own" }
local WITHIN = { 0, 1, 3 }
local known = { "attention", "recall", "reference", "hidden", "weights" }

local function add_list(into, list)
  if list == nil then return nil end -- all of them
  into = into or {}
  for _, value in ipairs(type(list) == "table" and list or { list }) do
    local found = false
    for _, have in ipairs(into) do found = found or have == value end
    if not found then into[#into + 1] = value end
  end
  return into
end

local function merge(needs, name, value, where)
  local found = false
  for _, k in ipairs(known) do found = found or k == name end
  if not found then
    error(("%s: '%s' cannot be observed %s"):format(where, tostring(name), text.suggest(tostring(name), known)), 0)
  end
  local was = needs[name]
  if type(value) ~= "table" then value = {} end
  if name == "hidden" then
    local layers = was == nil and value.layers and {} or was and was.layers
    needs.hidden = { layers = layers and add_list(layers, value.layers),
      rows = add_list(was and was.rows, value.rows or { -1 }) }
  elseif name == "weights" then
    local layers = was == nil and value.layers and {} or was and was.layers
    needs.weights = { layers = layers and add_list(layers, value.layers),
      rows = math.max(was and was.rows or 1, value.rows or 1) }
  else
    needs[name] = true
  end
end

--- The needs of lists such as above, merged; nil when nothing is observed. lists: {{observe, where}, ...}.
function M.needs(lists)
  local needs = {}
  for _, each in ipairs(lists) do
    for key, value in pairs(each[1] or {}) do
      if type(key) == "number" then merge(needs, value, true, each[2]) else merge(needs, key, value, each[2]) end
    end
  end
  return next(needs) and needs or nil
end

local function sink_tokens(unit)
  local list = {}
  for t = 0, math.min(unit.index.sinks, unit.ctx.tokens) - 1 do list[t + 1] = t end
  return list
end

--- Adds to a batch request for an answer what is observed of it.
function M.request(needs, request, unit, question)
  if needs.attention then
    local e = evidence.of(unit.index, question)
    request.attention = { within = WITHIN,
      classes = { e.answer or e.lure or {}, e.binding or {}, sink_tokens(unit), unit.index.x } }
  end
  request.hidden, request.weights = needs.hidden, needs.weights
end

local View = {}
View.__index = View

--- The recorded residual stream [hidden] that entered a layer at a row (as in trace.lua), or an error naming both.
function View:hidden(layer, row)
  local n = #self.ids
  local at = row == "answer" and n or row < 0 and n + row or row
  for i, l in ipairs(self.result.hidden_layers or {}) do
    for j, r in ipairs(self.result.hidden_rows) do
      if l == layer and r == at then return self.result.hidden[i][j] end
    end
  end
  error(("hidden states of layer %s, row %s were not observed -> observe = {hidden = {layers =, rows =}}"):format(
    tostring(layer), tostring(row)), 0)
end

--- What is observed of the full cache at the question's last row, beside what answers of it show.
function M.reference(needs, request, last)
  if needs and needs.reference then
    request.weights = { layers = needs.weights and needs.weights.layers, from = last, rows = 1 }
  end
end

--- What a metric is given.
function M.view(fields) return setmetatable(fields, View) end


--- The columns of observe = {"attention"}: mean mass of each class over steps, layers and heads (attention_V, ...), and
--- the share of (step, layer, head) whose top-attended passage token is an answer token (top_V).
function M.attention_columns(view)
  local seen, out = view.result.observed, {}
  if seen.mass:size(1) == 0 then return out end
  local masses = seen.mass:mean(1):mean(1):mean(1)
  for i, name in ipairs(NAMES) do out["attention_" .. name] = masses:at(i) end
  local e = evidence.of(view.index, view.question)
  local answer, hits, n = {}, 0, seen.top_within:size(1) * seen.top_within:size(2) * seen.top_within:size(3)
  for _, t in ipairs(e.answer or e.lure or {}) do answer[t] = true end
  local ffi = require "ffi"
  local top = ffi.cast("const int32_t *", seen.top_within.data)
  for i = 0, n - 1 do
    if answer[top[i]] then hits = hits + 1 end
  end
  out.top_V = hits / n
  return out
end

--- The columns of observe = {"recall"}: attention_recall and output_error, means over layers and heads.
function M.recall_columns(view)
  local lost = view.lost
  if not view.keep then return { attention_recall = 1, output_error = 0 } end
  if not lost then return {} end -- a press that changes keys and values, or evicts while it decodes
  return { attention_recall = lost.recall:mean(1):mean(1):at(), output_error = lost.error:mean(1):mean(1):at() }
end

--- Metrics that give the columns of kv.sweep{observe =}.
function M.metrics(observe)
  local wants, out = M.needs { { observe, "observe" } } or {}, {}
  if wants.attention then
    out[#out + 1] = { name = "observe attention", observe = { "attention" }, columns = M.attention_columns }
  end
  if wants.recall then
    out[#out + 1] = { name = "observe recall", observe = { "recall" }, columns = M.recall_columns }
  end
  return out
end

return M
