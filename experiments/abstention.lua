-- SPDX-License-Identifier: Apache-2.0
-- Does knowing the questions beforehand cost the readiness to say "I don't know"?        (arXiv:2603.01426, figure 4)
--
-- Coreference asks matched questions, which the passage answers, and pronoun-swapped ones, which it does not. Answering
-- all or none would look like a trade of one score for the other, so the two are told apart by signal detection: d' is
-- how well abstaining separates the two kinds, the criterion is how reluctant the model is to abstain at all
-- (log-linear corrected, BCa over passages). Claim judged: question-aware compression costs abstention. Baselines:
-- always answering and always abstaining both have d' 0. What eviction did to gender-bearing tokens and to the tempting
-- value is beside it.
local kv = require "kvbench"
local e = kv.experiment { name = "abstention", title = "Abstaining when the passage does not say", paper = "figure 4",
  options = { tasks = { "coreference" }, regimes = { "agnostic", "aware" }, compare = "adakv", at = 0.5 } }
local opt = e.opt
local task = opt.tasks[1]

local function declined(row)
  if row.abstention ~= nil then return row.abstention end
  return row.correct_abstention
end

local numbers, found, dataset, lines = {}, {}, nil, { d = {}, c = {} }
for _, regime in ipairs(opt.regimes) do
  local run
  run, dataset = e:sweep { task = task, regime = regime, columns = { "answerable", "abstention", "correct_abstention",
    "ger_frac_lure", "ger_frac_gender" } }
  for _, label in ipairs(run.presses) do
    local by, ratios = {}, {}
    for _, row in ipairs(run:press_rows(label)) do
      if not by[row.ratio] then by[row.ratio], ratios[#ratios + 1] = {}, row.ratio end
      table.insert(by[row.ratio], row)
    end
    table.sort(ratios)
    local d = { label = e.shown(label) .. ", " .. regime, x = {}, y = {}, lo = {}, hi = {} }
    local c = { label = d.label, x = {}, y = {}, lo = {}, hi = {} }
    for _, ratio in ipairs(ratios) do
      local m = kv.stats.dprime(by[ratio], { response = declined, replicates = 500 })
      local lure = { n = 0, sum = 0 }
      local gender = { n = 0, sum = 0 }
      for _, row in ipairs(by[ratio]) do
        if row.ger_frac_lure then lure.n, lure.sum = lure.n + 1, lure.sum + row.ger_frac_lure end
        if row.answerable == false and row.ger_frac_gender then
          gender.n, gender.sum = gender.n + 1, gender.sum + row.ger_frac_gender
        end
      end
      numbers[#numbers + 1] = { regime = regime, press = e.shown(label), ratio = ratio, ["d'"] = m.estimate, lo = m.lo,
        hi = m.hi, criterion = m.criterion and m.criterion.estimate, ["declined, swapped"] = m.signals > 0
        and m.hits / m.signals or nil, ["declined, matched"] = m.noises > 0 and m.false_alarms / m.noises or nil,
        ["lure evicted"] = lure.n > 0 and lure.sum / lure.n or nil,
        ["gender evicted"] = gender.n > 0 and gender.sum / gender.n or nil, why = m.reason }
      if m.estimate then
        for _, pair in ipairs { { d, m }, { c, m.criterion } } do
          local s, v = pair[1], pair[2]
          local i = #s.x + 1
          s.x[i], s.y[i], s.lo[i], s.hi[i] = ratio, v.estimate, v.lo or v.estimate, v.hi or v.estimate
        end
      end
      if label == opt.compare and math.abs(ratio - opt.at) < 1e-9 then found[regime] = { rows = by[ratio], m = m } end
    end
    if #d.x > 0 then lines.d[#lines.d + 1], lines.c[#lines.c + 1] = d, c end
  end
end

local function panel(title, series, label)
  if #series == 0 then return e.note(title, ("task %s has no unanswerable question"):format(task)) end
  return { kind = "lines", title = title, x = { label = "evicted share", min = 0, max = 1 }, y = { label = label },
    series = series, hlines = { { y = 0 } } }
end
e:save(kv.plot.small_multiples { columns = 2, share_y = false, panels = { panel("Telling the two kinds apart", lines.d,
  "d'"), panel("Reluctance to abstain", lines.c, "criterion") }, title = "Abstention", caption = e:setting(dataset)
  .. " Bars and bands: 95 % BCa over passages, point by point." }, "abstention")
e:table("numbers", { "regime", "press", "ratio", "d'", "lo", "hi", "criterion", "declined, swapped",
  "declined, matched",
  "lure evicted", "gender evicted", "why" }, numbers,
    "d' and criterion of abstaining; shares of cells that dropped the "
  .. "tempting value and the gender-bearing tokens of unanswerable questions")

local first, second = found[opt.regimes[1]], found[opt.regimes[2]]
local zero = 0
for _, f in ipairs { first or {}, second or {} } do zero = zero + (f.m and f.m.hits + f.m.false_alarms or 0) end
if not first or not second then
  e:verdict("cannot tell", ("needs two regimes, %s and ratio %g"):format(opt.compare, opt.at))
elseif first.m.reason or second.m.reason then
  e:verdict("cannot tell", first.m.reason or second.m.reason)
elseif zero == 0 then
  e:verdict("cannot tell", "the model abstains on no question in either regime: nothing can be lost (floor)")
else
  local ids, by = {}, {}
  for k, f in ipairs { first, second } do
    for _, row in ipairs(f.rows) do
      if not by[row.passage_id] then
        by[row.passage_id] = { {}, {} }
        ids[#ids + 1] = row.passage_id
      end
      table.insert(by[row.passage_id][k], row)
    end
  end
  table.sort(ids)
  local function difference(list, what)
    local t = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } }
    for _, id in ipairs(list) do
      for k = 1, 2 do
        for _, row in ipairs(by[id][k]) do
          local at = row.answerable == false and 1 or 3
          t[k][at], t[k][at + 1] = t[k][at] + (declined(row) or 0), t[k][at + 1] + 1
        end
      end
    end
    local d1, c1 = kv.stats.dprime_counts(unpack(t[1]))
    local d2, c2 = kv.stats.dprime_counts(unpack(t[2]))
    return what == "d" and d2 - d1 or what == "c" and c2 - c1
  end
  for _, what in ipairs { "d", "c" } do
    local b = kv.stats.bootstrap(ids, function(list) return difference(list, what) end, { replicates = 500 })
    local cost = what == "d" and b.hi < 0 or what == "c" and b.lo > 0
    e:verdict(cost and "supported" or "not supported", ("question-aware %s at %g %s than question-agnostic"):format(
      e.shown(opt.compare), opt.at, what == "d" and "tells unanswerable questions apart worse (d')"
      or "is more reluctant to abstain (criterion)"), { mean = b.value, lo = b.lo, hi = b.hi, n = #ids })
  end
end
e:finish()
