-- SPDX-License-Identifier: Apache-2.0
-- Do answers fail because attention is rigid although the evidence is there? (causal experiment 5)
--
-- (1) The keep-set stays; the attention logits of the question's and answer's rows are scaled by 1/tau in one band of
-- layers. Hypothesis: some flattening or sharpening of the upper band (where answers are read) restores answers under
-- eviction by more than it does at the full cache (control). (2) At the full cache the passage token that most heads
-- look at (consensus) is evicted, against a token of nearest total attention that few heads prefer; neither of V and
-- B. Hypothesis: KL(consensus gone) - KL(other gone) > 0. (3) Under eviction, questions of high and low full-cache
-- disagreement D are paired on GER_w. Hypothesis: P(correct | high D) - P(correct | low D) > 0.
local kv = require "kvbench"
local agree = require "kvbench.causal.agree"
local append = require "kvbench.causal.append"
local causal = require "kvbench.causal"
local eviction = require "kvbench.metric.eviction"
local heads = require "kvbench.causal.heads"
local route = require "kvbench.metric.route"
local target = require "kvbench.causal.target"

local e = causal.experiment { name = "rigidity", title = "Rigid attention", options = { ratio = .6,
  taus = { .7, .85, 1.2, 1.5 }, calibration = 6, caliper = .05, passages = 30 }, docs = { ratio = "evicted",
  taus = "temperatures beside 1", calibration = "other passages for w", caliper = "largest GER_w gap in a pair" } }
local opt, model = e.opt, e:model()
local w = heads.answer_mass(e, heads.calibration(e, opt.task, opt.passages, opt.calibration))

local bands, third = {}, model.layers / 3
for i, name in ipairs { "lower", "middle", "upper" } do
  bands[i] = { name, function(l) return l >= math.floor((i - 1) * third) and l < math.floor(i * third) end }
end
bands[4] = { "all", function() return true end }

local function factors(inside, tau)
  local list = {}
  for l = 0, model.layers - 1 do list[l + 1] = inside(l) and 1 / tau or 1 end
  return list
end

-- One reading of the question serves all conditions of it.
local function looks_of(v)
  local made = v.unit.looks or {}
  v.unit.looks = made
  made[v.q] = made[v.q] or append.last_row(v.ctx, model:ids(v.unit.prompt.suffix(v.question)))
  return made[v.q]
end

local function interventions(v)
  local t = target.of(v)
  if not t then return nil end
  local looks, list = looks_of(v), {}
  list[1] = { name = "as it is", keep = v.ratio > 0 and v.keep or nil, columns = {
    disagreement = agree.disagreement(looks, v.index.x), ger_w = route.weighted_ger(eviction.view(v.keep), t.answer,
      heads.weight(w, v.keep.kv_heads)) } }
  for _, band in ipairs(bands) do
    for _, tau in ipairs(opt.taus) do
      list[#list + 1] = { name = ("tau %g, %s"):format(tau, band[1]), keep = v.ratio > 0 and v.keep or nil,
        temperature = factors(band[2], tau) }
    end
  end
  if v.ratio == 0 then
    local first, second = agree.pair(looks, v.index.x, t.taken)
    if second then
      local columns = { mass_ratio = second.mass / math.max(1e-12, first.mass), votes_first = first.votes,
        votes_second = second.votes }
      list[#list + 1] = { name = "consensus gone", keep = v.keep:drop({ first.token }, { budget = false }),
        columns = columns }
      list[#list + 1] = { name = "other gone", keep = v.keep:drop({ second.token }, { budget = false }),
        columns = columns }
    end
  end
  return list
end

local run, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = { 0, opt.ratio },
  presses = { opt.press }, teacher = true, passages = opt.passages,
  id = ("rigidity 1 %s w %d"):format(table.concat(opt.taus, ","), opt.calibration) })
local full_cells = causal.full_cells(run.rows)
local rows = {}
local function note(label, effect, why) rows[#rows + 1] = { label = label, effect = effect, why = why } end

-- ---- (1) temperature ----

local function here(cell) return math.abs(cell.ratio - opt.ratio) < 1e-9 and cell.by["as it is"] ~= nil end
-- The best of several temperatures is judged by intervals that hold for all of them together.
local simultaneous = { where = here, level = 1 - .05 / #opt.taus }
local taus = { 1 }
for _, tau in ipairs(opt.taus) do taus[#taus + 1] = tau end
table.sort(taus)
local panels, best, best_why, best_name = {}, nil, "no temperature was tried", nil
for _, band in ipairs(bands) do
  local series = {}
  for _, part in ipairs { { "evicted", cells, "" }, { "full cache", full_cells, "" } } do
    local s = { label = part[1], style = part[1] == "evicted" and "line" or "dashed", x = {}, y = {}, lo = {}, hi = {} }
    for _, tau in ipairs(taus) do
      local name = tau == 1 and part[3] or ("tau %g, %s"):format(tau, band[1])
      local m = causal.level(part[2], causal.correct, name, part[1] == "evicted" and { where = here } or nil)
      if m then
        local i = #s.x + 1
        s.x[i], s.y[i], s.lo[i], s.hi[i] = tau, m.estimate, m.lo, m.hi
      end
    end
    if #s.x > 0 then series[#series + 1] = s end
  end
  if #series > 0 then
    panels[#panels + 1] = { kind = "lines", title = band[1] .. " layers", x = { label = "temperature tau" },
      y = { label = "P(correct)", min = 0, max = 1 }, series = series }
  end
  for _, tau in ipairs(opt.taus) do
    local name = ("tau %g, %s"):format(tau, band[1])
    local under, why = causal.paired(cells, causal.correct, name, "", { where = here })
    local wide = band[1] == "upper" and causal.paired(cells, causal.correct, name, "", simultaneous) or nil
    note(("P(correct), %s - tau 1, evicted"):format(name), under, why)
    note(("ln p of the gold per token, %s - tau 1, evicted"):format(name), causal.paired(cells,
      "gold_logprob_per_token", name, "", { where = here }))
    note(("P(correct), %s - tau 1, full cache"):format(name), causal.paired(full_cells, causal.correct, name, ""))
    if wide and (not best or wide.estimate > best.estimate) then
      best, best_name = wide, name
    end
  end
end

-- ---- (2) consensus token against another of equal attention ----

local kl, why_kl = causal.paired(full_cells, "kl_full", "consensus gone", "other gone")
note("KL, consensus gone - other gone", kl, why_kl)
local function matched(cell)
  local row = cell.by["consensus gone"]
  return row and row.mass_ratio and row.mass_ratio >= .5 and row.mass_ratio <= 2
end
local strict, why_strict = causal.paired(full_cells, "kl_full", "consensus gone", "other gone", { where = matched })
note("the same where the masses are within x2", strict, why_strict)
note("P(correct), other gone - consensus gone", causal.paired(full_cells, causal.correct, "other gone",
  "consensus gone"))

-- ---- (3) matched pairs ----

local asked = {}
for _, cell in ipairs(cells) do
  local row = here(cell) and cell.by["as it is"]
  if row and row.disagreement and row.ger_w and row.answerable then asked[#asked + 1] = row end
end
table.sort(asked, function(a, b)
  if a.disagreement ~= b.disagreement then return a.disagreement < b.disagreement end
  return a.key < b.key
end)
local pairs_of, used, half = {}, {}, math.floor(#asked / 2)
for i = #asked, half + 1, -1 do
  local high, low, gap = asked[i], nil, opt.caliper
  for j = 1, half do
    local d = math.abs(asked[j].ger_w - high.ger_w)
    if not used[j] and d <= gap then low, gap = j, d end
  end
  if low then
    used[low] = true
    pairs_of[#pairs_of + 1] = { passage_id = high.passage_id, high = high, low = asked[low] }
  end
end
local function right(row) return causal.correct(row) and 1 or 0 end
local paired, why_paired = causal.mean(pairs_of, function(p) return right(p.high) - right(p.low) end)
note(("P(correct), high D - low D, %d pairs on GER_w"):format(#pairs_of), paired, why_paired)
note("D, high - low", causal.mean(pairs_of, function(p) return p.high.disagreement - p.low.disagreement end))
note("GER_w, high - low", causal.mean(pairs_of, function(p) return p.high.ger_w - p.low.ger_w end))

local setting = e:setting(dataset, ("press %s at %g"):format(opt.press, opt.ratio))
if #panels > 0 then
  e:save(kv.plot.small_multiples { columns = 2, width = 6.8, panels = panels,
    title = "Attention sharpened or flattened over a fixed keep-set",
    caption = ("%s Logits of the question's and answer's rows times 1/tau. %s Bands: 95 %% BCa, each point by itself, "
      .. "passages resampled."):format(setting, causal.describe(gate)) }, "rigidity")
end
e:table("rigidity", causal.columns, causal.rows(rows), "Paired differences")
local claim = ("a temperature of the upper layers restores answers (best of %d: %s; interval at %.4g %%)"):format(
  #opt.taus, best_name or "none", 100 * simultaneous.level)
causal.verdict(e, gate, claim, best, best_why)
causal.verdict(e, gate, "the consensus token is needed more than one of equal attention (KL)", strict or kl,
  why_strict or why_kl, { margin = .01 })
causal.verdict(e, gate, "at equal GER_w, questions on which heads disagree survive more often", paired, why_paired)
e:finish()
