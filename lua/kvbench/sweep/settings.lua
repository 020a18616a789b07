-- SPDX-License-Identifier: Apache-2.0
-- What kv.sweep can be told, its defaults, and what is wrong with what it was told.
local observe = require "kvbench.sweep.observe"
local precision = require "kvbench.sweep.precision"
local presses = require "kvbench.press"
local ratios = require "kvbench.ratios"
local text = require "kvbench.text"
local variants = require "kvbench.sweep.variants"

local M = {}

local defaults = {
  presses = { "ea", "adakv", "chunk" }, ratios = "paper", regimes = { "agnostic" }, evictable = "passage",
  style = "fewshot",
  idk_example = true, seed = 1, label = "sweep", trunk = true,
  dedupe = true, prefix_cache = true, refill = true, teacher = false,
}
local known = { "model", "dataset", "presses", "ratios", "regimes", "evictable", "style", "idk_example", "seed", "out",
  "group", "max_new_tokens", "ignore_stop", "score", "quiet", "label", "sinks", "question_tokens", "trunk", "dedupe",
  "prefix_cache", "refill", "variants", "teacher", "metrics", "observe", "precision", "watch" }

-- The sweep's own metrics: each a table with a name and a function, or the name of one (metric/columns.lua).
local function metrics_of(o)
  local names, list = {}, {}
  for i, own in ipairs(o.metrics or {}) do
    if type(own) == "string" then own = require("kvbench.metric.columns").named(own, o) end
    list[i] = own
    if type(own) ~= "table" or type(own.name) ~= "string" or type(own.columns) ~= "function" then
      error(("sweep: metrics[%d] is not a metric -> {name = \"mine\", columns = function(view) return {...} end}")
        :format(i), 0)
    end
    if names[own.name] then error(("sweep: metric '%s' is listed twice"):format(own.name), 0) end
    names[own.name] = true
  end
  return list
end

--- The options of kv.sweep with defaults filled in, presses made and ratios checked; a wrong one is an error.
function M.of(opt)
  local o = {}
  for name, value in pairs(defaults) do o[name] = value end
  for name, value in pairs(opt) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      error(("sweep: no option '%s' %s"):format(tostring(name), text.suggest(tostring(name), known)), 0)
    end
    o[name] = value
  end
  if type(o.model) ~= "table" then error("sweep: model is missing -> model = kv.model.load(...)", 0) end
  if type(o.dataset) ~= "table" or type(o.dataset.records) ~= "table" then
    error("sweep: dataset is missing -> dataset = kv.dataset(\"base\", {size = 20})", 0)
  end
  if o.model.interactive then
    error("sweep: the model was loaded with interactive = true, whose answers depend on how many run at once -> load "
      .. "it without", 0)
  end
  if not o.model.tokenizer then
    error(("sweep: model '%s' has no tokenizer, and datasets are texts"):format(o.model.name), 0)
  end
  if o.evictable ~= "passage" and o.evictable ~= "context" then
    error(("sweep: evictable is '%s' -> \"passage\" or \"context\""):format(tostring(o.evictable)), 0)
  end
  -- enough passages at once to fill a step of this device
  o.group = o.group or math.max(4, math.floor(o.model.buckets[#o.model.buckets] / 128))
  o.ratios = ratios.list(o.ratios)
  local list, seen = {}, {}
  for i, p in ipairs(o.presses) do
    list[i] = presses(p)
    if seen[list[i]:label()] then error(("sweep: press '%s' is listed twice"):format(list[i]:label()), 0) end
    seen[list[i]:label()] = true
  end
  o.presses, o.sinks = list, o.sinks or 4
  o.variants = variants.of(o.variants)
  o.metrics = metrics_of(o)
  local lists = { { o.observe, "sweep: observe" } }
  for _, own in ipairs(observe.metrics(o.observe)) do table.insert(o.metrics, 1, own) end
  for _, own in ipairs(o.metrics) do lists[#lists + 1] = { own.observe, ("metric '%s'"):format(own.name) } end
  o.observed = observe.needs(lists)
  for _, own in ipairs(o.metrics) do
    if own.compared and o.compared and own.compared ~= o.compared then
      error(("sweep: metrics compare with '%s' and with '%s' -> one sweep for each"):format(o.compared,
        own.compared), 0)
    end
    o.compared = own.compared or o.compared
  end
  if o.compared and not seen[o.compared] then
    error(("sweep: metric 'agreement' compares with '%s', which is not among the presses"):format(o.compared), 0)
  end
  o.precision, o.watch = precision.of(o)
  return o
end

return M
