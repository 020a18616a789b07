-- SPDX-License-Identifier: Apache-2.0
-- Do questions that need more than copying (manipulated, part) break earlier than standard ones?
--                                                                    (arXiv:2603.01426, figures 13-15, 31 and 32)
-- Token F1 by question type. Claim judged: Part questions degrade earliest. Outcome: how much F1 each passage's
-- questions lose between 0 and .5, part minus standard, paired by passage.
local kv = require "kvbench"
local by_tag = require "kvbench.experiment.by_tag"
local e = kv.experiment { name = "question_types", title = "Answer quality by type of question",
  paper = "figures 13-15, 31, 32", options = { tasks = { "base", "knowledge", "multi_entity" },
    regimes = { "agnostic", "aware" }, least = 5, compare = "adakv", at = 0.5 } }
local opt = e.opt

-- Passages' mean share of the F1 that is lost, one value a passage that had something to lose.
local function losses(rows)
  local by, out = {}, {}
  for _, row in ipairs(rows) do
    local p = by[row.passage_id] or { zero = 0 }
    by[row.passage_id] = p
    if row.ratio == 0 then p.zero = p.zero + row.f1 end
    if math.abs(row.ratio - opt.at) < 1e-9 then p.later = (p.later or 0) + row.f1 end
  end
  for id, p in pairs(by) do if p.zero > 0 and p.later then out[id] = 1 - p.later / p.zero end end
  return out
end

local numbers, effects = {}, {}
for _, task in ipairs(opt.tasks) do
  local found = by_tag.draw({ e = e, task = task, regimes = opt.regimes, tag = "question_type", what = "question type",
    least = opt.least }, numbers)
  local of = {}
  for _, g in ipairs(found[opt.regimes[1]][opt.compare] or {}) do of[g.tag] = losses(g.rows) end
  for _, kind in ipairs { "manipulated", "part" } do
    local rows = {}
    for id, loss in pairs(of[kind] or {}) do
      if of.standard and of.standard[id] then rows[#rows + 1] = { passage_id = id, y = loss - of.standard[id] } end
    end
    if #rows < 5 then
      e:cannot(("%s, %s minus standard"):format(task, kind),
        ("%d passages had both kinds right without eviction, 5 are "
        .. "needed"):format(#rows))
    else
      local m = kv.stats.mean(rows, { y = "y" })
      m.task, m.kind, m.p = task, kind, kv.stats.sign_flip_values((function()
        local d = {}
        table.sort(rows, function(a, b) return a.passage_id < b.passage_id end)
        for i, row in ipairs(rows) do d[i] = row.y end
        return d
      end)()).p
      effects[#effects + 1] = m
    end
  end
end
e:table("numbers", by_tag.columns "question type", numbers, "Token F1 by question type; lo and hi: 95 % BCa at 0.9")

local ps, rows = {}, {}
for i, m in ipairs(effects) do ps[i] = m.p end
local adjusted = #ps > 0 and kv.stats.holm(ps) or {}
for i, m in ipairs(effects) do
  rows[i] = { task = m.task, kind = m.kind, passages = m.clusters, ["lost more than standard"] = m.mean, lo = m.lo,
    hi = m.hi, p = m.p, ["p (Holm)"] = adjusted[i] }
  e:verdict(adjusted[i] > .05 and "not supported" or m.mean > 0 and "supported" or "not supported",
    ("%s: %s questions lose more of their F1 at %g than standard ones"):format(m.task, m.kind, opt.at), m)
end
if #rows > 0 then
  e:table("losses", { "task", "kind", "passages", "lost more than standard", "lo", "hi", "p", "p (Holm)" }, rows,
    ("Share of F1 lost at %g under %s, minus that of standard questions, paired by passage"):format(opt.at,
    e.shown(opt.compare)))
else
  e:verdict("cannot tell", "no task has passages whose questions of two types are right without eviction")
end
e:finish()
