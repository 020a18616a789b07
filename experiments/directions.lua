-- SPDX-License-Identifier: Apache-2.0
-- Do forward questions (subject -> attribute) break earlier than reverse ones (attribute -> subject)?
--                                                                       (arXiv:2603.01426, figures 5, 6 and 28)
-- Token F1 by direction. Claim judged, on knowledge first: forward degrades more than reverse. Forward and reverse
-- answers differ in how often they are mentioned, where, and how long they are, so the difference in differences is
-- taken within strata of (mentions, answer length, half of the passage); strata with one direction only are counted and
-- left out. Beside it the raw difference, which is what the paper's figures show.
local kv = require "kvbench"
local by_tag = require "kvbench.experiment.by_tag"
local e = kv.experiment { name = "directions", title = "Forward and reverse questions", paper = "figures 5, 6, 28",
  options = { tasks = { "knowledge", "multi_presence", "multi_entity" }, regimes = { "agnostic", "aware" }, least = 5,
    compare = "adakv", at = 0.5 } }
local opt = e.opt

local function stratum(row)
  return ("%d|%d|%d"):format(math.min(row.mentions or 0, 3), math.min(row.answer_words, 3),
    (row.position or 0) < 0.5 and 0 or 1)
end

-- One item a passage: drops of F1 from 0 to opt.at by stratum and direction.
local function drops(groups)
  local zero, items, by = {}, {}, {}
  for _, g in ipairs(groups) do
    for _, row in ipairs(g.rows) do
      if row.ratio == 0 then zero[row.passage_id .. "|" .. row.question] = row.f1 end
    end
  end
  for _, g in ipairs(groups) do
    for _, row in ipairs(g.rows) do
      local before = zero[row.passage_id .. "|" .. row.question]
      if before and math.abs(row.ratio - opt.at) < 1e-9 then
        local p = by[row.passage_id]
        if not p then
          p = {}
          by[row.passage_id], items[#items + 1] = p, p
        end
        p[#p + 1] = { forward = g.tag == "forward", stratum = stratum(row), drop = before - row.f1 }
      end
    end
  end
  return items
end

-- Forward drop minus reverse drop: raw, or averaged over the strata that have both (weight: the smaller number).
local function difference(items, adjusted)
  local cells = {}
  for _, p in ipairs(items) do
    for _, d in ipairs(p) do
      local key = adjusted and d.stratum or "all"
      cells[key] = cells[key] or { f = 0, r = 0, nf = 0, nr = 0 }
      local c = cells[key]
      if d.forward then c.f, c.nf = c.f + d.drop, c.nf + 1 else c.r, c.nr = c.r + d.drop, c.nr + 1 end
    end
  end
  local sum, weight, used, skipped, keys = 0, 0, 0, 0, {}
  for key in pairs(cells) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local c = cells[key]
    local w = math.min(c.nf, c.nr)
    if w > 0 then sum, weight, used = sum + w * (c.f / c.nf - c.r / c.nr), weight + w, used + c.nf + c.nr
    else skipped = skipped + c.nf + c.nr end
  end
  return weight > 0 and sum / weight or nil, used, skipped
end

local function gate_of(task)
  local run, dataset = e:sweep { task = task, regime = opt.regimes[1] }
  return e:gate(run, dataset)[opt.compare] or { why = ("press %s was not run"):format(opt.compare) }
end

local numbers, found_rows = {}, {}
for i, task in ipairs(opt.tasks) do
  local found = by_tag.draw({ e = e, task = task, regimes = opt.regimes, tag = "direction", what = "direction",
    least = opt.least }, numbers)
  local items = drops(found[opt.regimes[1]][opt.compare] or {})
  for _, adjusted in ipairs { false, true } do
    local value, used, skipped = difference(items, adjusted)
    local name = ("%s, %s"):format(task, adjusted and "within strata" or "raw")
    if not value or #items < 5 then
      e:cannot(name, value and ("%d passages, 5 are needed"):format(#items)
        or "no stratum has questions of both directions at this ratio")
      if i == 1 and adjusted then
        e:verdict("cannot tell",
          ("%s: forward and reverse answers have no mention count, length and place in common, so "
          .. "direction cannot be told from these"):format(task))
      end
    else
      local b = kv.stats.bootstrap(items, function(list) return difference(list, adjusted) or 0 end,
        { method = "percentile" })
      found_rows[#found_rows + 1] = { task = task, comparison = adjusted and "within strata" or "raw",
        ["forward - reverse"] = b.value, lo = b.lo, hi = b.hi, questions = used, ["left out"] = skipped,
        passages = #items }
      local gate = adjusted and gate_of(task)
      if adjusted and not gate.ok then
        e:verdict("cannot tell", ("%s: %s"):format(task, gate.why))
      elseif adjusted and i == 1 then
        e:verdict(b.lo > 0 and "supported" or "not supported",
          ("forward questions lose more F1 than reverse ones by %g, task %s, %s, strata matched"):format(opt.at, task,
          e.shown(opt.compare)), { mean = b.value, lo = b.lo, hi = b.hi, n = used, clusters = #items })
      end
    end
  end
end
e:table("numbers", by_tag.columns "direction", numbers, "Token F1 by direction; lo and hi: 95 % BCa at 0.9")
e:table("difference", { "task", "comparison", "forward - reverse", "lo", "hi", "questions", "left out", "passages" },
  found_rows, ("F1 lost from 0 to %g under %s, forward minus reverse; percentile intervals over "
    .. "passages"):format(opt.at,
  e.shown(opt.compare)))
e:finish()
