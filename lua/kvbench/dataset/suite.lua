-- SPDX-License-Identifier: Apache-2.0
-- Long-context tasks of any length in the manner of RULER (arXiv:2404.06654), from a seed:
-- kv.dataset("ruler/niah_multi_key", {length = 4000, keys = 4}). Wording and names are our own; what is asked and how
-- it is scored follow the paper. Each fact's place is written down while the text is written, so that evictions can be
-- followed as in our own tasks.
local rng = require "kvbench.rng"
local set = require "kvbench.dataset.set"
local text = require "kvbench.text"

local M = {}

local makers = { niah = "kvbench.dataset.suite.niah", vt = "kvbench.dataset.suite.variables",
  cwe = "kvbench.dataset.suite.words", fwe = "kvbench.dataset.suite.words" }

--- The tasks: name -> {maker, doc, defaults of its parameters}.
M.tasks = {
  niah_single = { "niah", "one needle, one question", { keys = 1 } },
  niah_multi_key = { "niah", "several needles of different keys, one is asked for", { keys = 4 } },
  niah_multi_value = { "niah", "one key with several values, all are asked for", { keys = 1, values = 4 } },
  niah_multi_query = { "niah", "several needles, all are asked for at once", { keys = 4, queries = 4 } },
  vt = { "vt", "variable tracking: which variables hold a value, through chains of assignments",
    { hops = 4, chains = 1 } },
  cwe = { "cwe", "common words extraction: the words that stand most often in a list", { common = 10, often = 30,
    seldom = 3 } },
  fwe = { "fwe", "frequent words extraction: the three most frequent coded words", { alpha = 2 } },
}

--- Names, with the prefix that kv.dataset takes.
function M.names()
  local names = {}
  for name in pairs(M.tasks) do names[#names + 1] = "ruler/" .. name end
  table.sort(names)
  return names
end

-- Parameters that every task has.
local common = { length = 1000, size = 20, seed = "A", haystack = "noise", unit = "words" }

local function parameters(name, opt)
  local spec = M.tasks[name]
  local p = {}
  for key, value in pairs(common) do p[key] = value end
  for key, value in pairs(spec[3]) do p[key] = value end
  for key, value in pairs(opt or {}) do
    if key == "tokenizer" or key == "depth" then p[key] = value
    elseif p[key] == nil then
      local known = { "tokenizer", "depth" }
      for k in pairs(p) do known[#known + 1] = k end
      error(("dataset 'ruler/%s': unknown parameter '%s' %s"):format(name, tostring(key), text.suggest(tostring(key),
        known, 16)), 0)
    else
      if type(p[key]) == "number" and (type(value) ~= "number" or value <= 0 or key ~= "alpha" and value % 1 ~= 0) then
        error(("dataset 'ruler/%s': %s = %s -> a whole number from 1"):format(name, key, tostring(value)), 0)
      end
      p[key] = value
    end
  end
  if p.unit ~= "words" and p.unit ~= "tokens" then error("dataset: unit is \"words\" or \"tokens\"", 0) end
  if p.unit == "tokens" and not p.tokenizer then
    error("dataset: unit = \"tokens\" needs a tokenizer -> tokenizer = model.tokenizer", 0)
  end
  return p
end

-- Length of a text in the unit that was asked for.
local function measure(p)
  if p.unit == "tokens" then return function(s) return #p.tokenizer:encode(s, { special = false }) end end
  return function(s) return select(2, s:gsub("%S+", "")) end
end

--- A dataset of a RULER task.
--   name  without the prefix; opt: length (1000), unit = "words" or "tokens" (with tokenizer =), size = passages (20),
--         seed, haystack = "noise" or "prose", depth = 0 .. 1 (where a single needle stands), and the task's own: keys,
--         values, queries (niah), hops, chains (vt), common, often, seldom (cwe), alpha (fwe)
-- Every passage is the longest of its kind that is not longer than `length`.
function M.load(name, opt)
  local spec = M.tasks[name]
  if not spec then
    local known = {}
    for task in pairs(M.tasks) do known[#known + 1] = task end
    error(("no dataset 'ruler/%s' %s"):format(name, text.suggest(name, known)), 0)
  end
  local p = parameters(name, opt)
  local maker, records = require(makers[spec[1]]), {}
  for i = 1, p.size do
    local r = rng.new(("kvbench/ruler/%s/%s/%d"):format(name, p.seed, i))
    local record = maker.make(spec[1], p, r, measure(p))
    record.id, record.task, record.suite = ("ruler-%s-%s-%04d"):format(name, p.seed, i), "ruler", "ruler/" .. name
    records[i] = record
  end
  local parts = {}
  for key, value in pairs(p) do if type(value) ~= "table" then parts[#parts + 1] = key .. "=" .. tostring(value) end end
  table.sort(parts)
  return set.new(records, { task = "ruler/" .. name, seed = p.seed, from = table.concat(parts, " ") })
end

return M
