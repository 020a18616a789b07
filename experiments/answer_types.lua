-- SPDX-License-Identifier: Apache-2.0
-- Do some kinds of answers (persons, places, events, ...) survive compression better than others?
--                                                                    (arXiv:2603.01426, figures 10-12, 29 and 30)
-- Token F1 by the gold answer's type. Claims judged: Person and Location are stable, Event and Organization degrade
-- early. Because types start at different heights, the outcome that is compared is F1 at .5 as a share of F1 at 0.
local kv = require "kvbench"
local by_tag = require "kvbench.experiment.by_tag"
local e = kv.experiment { name = "answer_types", title = "Answer quality by type of answer",
  paper = "figures 10-12, 29, 30", options = { tasks = { "base", "multi_entity", "knowledge" },
    regimes = { "agnostic", "aware" }, least = 5, compare = "adakv" } }
local opt = e.opt

-- Mean over passages of what is left of a group's F1 at `ratio`, with an interval; nil where nothing was right at 0.
local function retained(rows, ratio)
  local by, items, asked = {}, {}, 0
  for _, row in ipairs(rows) do
    local p = by[row.passage_id]
    if not p then
      p = { zero = 0, later = 0 }
      by[row.passage_id], items[#items + 1] = p, p
    end
    if row.ratio == 0 then p.zero = p.zero + row.f1 end
    if row.ratio == ratio then p.later, asked = p.later + row.f1, asked + 1 end
  end
  local function share(list)
    local zero, later = 0, 0
    for _, p in ipairs(list) do zero, later = zero + p.zero, later + p.later end
    return zero > 0 and later / zero or 0
  end
  local zero = 0
  for _, p in ipairs(items) do zero = zero + p.zero end
  if #items < 2 or zero == 0 or asked == 0 then return nil end
  return kv.stats.bootstrap(items, share, { method = "percentile" })
end

local numbers, kept = {}, {}
for _, task in ipairs(opt.tasks) do
  local found = by_tag.draw({ e = e, task = task, regimes = opt.regimes, tag = "answer_type", what = "answer type",
    least = opt.least }, numbers)
  for regime, presses in pairs(found) do
    for _, g in ipairs(regime == opt.regimes[1] and presses[opt.compare] or {}) do
      local r = g.questions >= opt.least and retained(g.rows, 0.5)
      if r then
        kept[#kept + 1] = { task = task, type = g.tag, questions = g.questions, ["F1(.5)/F1(0)"] = r.value, lo = r.lo,
          hi = r.hi }
      end
    end
  end
end
e:table("numbers", by_tag.columns "answer type", numbers, "Token F1 by answer type; lo and hi: 95 % BCa at 0.9")
if #kept == 0 then
  e:cannot("what is left of each type", "no type has enough questions that are right without eviction")
else
  e:table("retained", { "task", "type", "questions", "F1(.5)/F1(0)", "lo", "hi" }, kept,
    ("What %s leaves at 0.5 of the F1 at 0; percentile intervals over passages"):format(e.shown(opt.compare)))
end

-- Is any type's interval below another's on the same task?
local apart, pairs_ = {}, 0
for i, a in ipairs(kept) do
  for j, b in ipairs(kept) do
    if i ~= j and a.task == b.task then
      pairs_ = pairs_ + (i < j and 1 or 0)
      if a.hi < b.lo then apart[#apart + 1] = ("%s < %s (%s)"):format(a.type, b.type, a.task) end
    end
  end
end
if pairs_ == 0 then
  e:verdict("cannot tell", "no task has two answer types with enough questions that are right without eviction")
else
  e:verdict("exploratory", #apart > 0
    and ("types whose intervals lie apart, uncorrected for %d pairs: %s"):format(pairs_,
    table.concat(apart, "; ")) or ("none of %d pairs of types has intervals apart"):format(pairs_))
end
e:finish()
