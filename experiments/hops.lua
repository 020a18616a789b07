-- SPDX-License-Identifier: Apache-2.0
-- Do questions over several hops collapse faster than direct ones?              (arXiv:2603.01426, figures 8 and 9)
--
-- Two labels: `hop`, the paper's, is how far along the chain the question's entity stands; `depth` is how many bridges
-- the reader must infer. The claim is about inference, so it is judged on depth, on F1(alpha) as a share of F1(0): a
-- question that is hard without eviction is no evidence. Answer length is held fixed by comparing within equal word
-- counts.
local kv = require "kvbench"
local by_tag = require "kvbench.experiment.by_tag"
local e = kv.experiment { name = "hops", title = "Questions over several hops", paper = "figures 8, 9",
  options = { tasks = { "hops" }, regimes = { "agnostic", "aware" }, least = 5, compare = "adakv", at = 0.5 } }
local opt = e.opt
local task = opt.tasks[1]

local numbers, found = {}, nil
for _, label in ipairs { "hop", "depth" } do
  local lines = {}
  local part = by_tag.draw({ e = e, task = task, regimes = opt.regimes, tag = label, what = label, least = opt.least,
    file = label, name = function(k) return ("%s %d"):format(label, k) end }, lines)
  for _, line in ipairs(lines) do
    line.label, line.value = label, line[label]
    numbers[#numbers + 1] = line
  end
  if label == "depth" then found = part end
end

-- Mean over answer lengths of what is left of F1 at opt.at, deep (depth >= 1) minus direct.
local function passages_of(groups)
  local items, by = {}, {}
  for _, g in ipairs(groups) do
    for _, row in ipairs(g.rows) do
      local p = by[row.passage_id]
      if not p then
        p = {}
        by[row.passage_id], items[#items + 1] = p, p
      end
      local at = row.ratio == 0 and "zero" or math.abs(row.ratio - opt.at) < 1e-9 and "later"
      if at then p[#p + 1] = { deep = g.tag >= 1, words = math.min(row.answer_words, 4), at = at, f1 = row.f1 } end
    end
  end
  return items
end
local function contrast(items)
  local cells = {}
  for _, p in ipairs(items) do
    for _, d in ipairs(p) do
      local c = cells[d.words] or { [true] = { zero = 0, later = 0, n = 0 }, [false] = { zero = 0, later = 0, n = 0 } }
      cells[d.words] = c
      c[d.deep][d.at] = c[d.deep][d.at] + d.f1
      if d.at == "zero" then c[d.deep].n = c[d.deep].n + 1 end
    end
  end
  local sum, weight = 0, 0
  for words = 0, 4 do
    local c = cells[words]
    local deep, direct = c and c[true], c and c[false]
    if c and deep.zero > 0 and direct.zero > 0 then
      local w = math.min(deep.n, direct.n)
      sum, weight = sum + w * (deep.later / deep.zero - direct.later / direct.zero), weight + w
    end
  end
  return weight > 0 and sum / weight or nil
end

e:table("numbers", { "task", "regime", "press", "label", "value", "questions", "at 0", "at 0.9", "lo", "hi", "drawn" },
  numbers, "Token F1 by hop and by depth; lo and hi: 95 % BCa at 0.9")
local items = passages_of(found[opt.regimes[1]][opt.compare] or {})
local value = contrast(items)
local run, dataset = e:sweep { task = task, regime = opt.regimes[1] }
local gate = e:gate(run, dataset)[opt.compare] or { why = ("press %s was not run"):format(opt.compare) }
if #items > 0 and not gate.ok then
  e:verdict("cannot tell", gate.why, value and { mean = value, n = #items })
elseif not value or #items < 3 then
  e:verdict("cannot tell", #items == 0 and ("task %s has no depth labels"):format(task)
    or not value and "no answer length has questions of both kinds that are right without eviction (floor)"
    or ("%d passages, 3 are needed"):format(#items))
else
  local b = kv.stats.bootstrap(items, function(list) return contrast(list) or 0 end, { method = "percentile" })
  e:verdict(b.hi < 0 and "supported" or "not supported",
    ("share of F1 left at %g under %s, depth >= 1 minus depth 0, equal "
    .. "answer lengths"):format(opt.at, e.shown(opt.compare)), { mean = b.value, lo = b.lo, hi = b.hi, n = #items })
end
e:finish()
