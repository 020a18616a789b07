-- SPDX-License-Identifier: Apache-2.0
-- In how many heads must the answer's tokens survive?   (causal experiment 3)
--
-- V stays in k of the model's (layer, KV head) cells and is evicted from the others; all else is what the full cache
-- keeps (--ratio 0) or what the press keeps at --ratio, with every head's budget exact. k grows along 16 random nested
-- orders of the cells, and along the order of w (how much a head looks at answers, on other passages). Monotone fit
-- over k, k50 = the k of half the effect. Hypothesis: the w-order needs fewer heads, log2 k50(random) - log2 k50(w) >
-- 0.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local dose = require "kvbench.causal.dose"
local heads = require "kvbench.causal.heads"
local target = require "kvbench.causal.target"

local e = causal.experiment { name = "dose", title = "Dose: heads that keep the answer", options = { ratio = 0,
  orders = 16, doses = { 5, 10, 20, 40, 60, 80 }, calibration = 6, passages = 12 },
  docs = { ratio = "of the press around V", orders = "random nested orders", doses = "numbers of cells",
    calibration = "other passages for w" } }
local opt, model = e.opt, e:model()
local n_cells = model.layers * model.kv_heads
local doses = { 0 }
for _, k in ipairs(opt.doses) do if k > 0 and k < n_cells then doses[#doses + 1] = k end end
doses[#doses + 1] = n_cells

local w = heads.answer_mass(e, heads.calibration(e, opt.task, opt.passages, opt.calibration))
local orders = { w = heads.by_score(w) }
for i = 1, opt.orders do orders["r" .. i] = heads.random_order(n_cells, i) end
local names = { "w" }
for i = 1, opt.orders do names[#names + 1] = "r" .. i end

local function interventions(v)
  local t = target.of(v)
  if not t then return nil end
  local function keep_in(cells)
    local function outside(l, h) return not cells(l, h) end
    if opt.ratio == 0 then return v.keep:drop(t.answer, { cells = outside, budget = false }) end
    return v.keep:force(t.answer, { cells = cells, partial = true })
      :drop(t.answer, { cells = outside, partial = true })
  end
  local list = {
    { name = "0", keep = keep_in(function() return false end) },
    { name = tostring(n_cells), keep = keep_in(function() return true end) },
  }
  for _, name in ipairs(names) do
    for i = 2, #doses - 1 do
      list[#list + 1] = { name = name .. " " .. doses[i], keep = keep_in(heads.cells_of(orders[name], doses[i],
        model.kv_heads)) }
    end
  end
  return list
end

local run, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = { opt.ratio },
  presses = { opt.press }, passages = opt.passages,
  id = ("dose 1 %d %s %d"):format(opt.orders, table.concat(opt.doses, ","), opt.calibration) })
if opt.ratio == 0 then cells = causal.full_cells(run.rows) end

local function outcomes(list)
  local out = {}
  for _, cell in ipairs(cells) do
    for i = 1, #doses do
      for _, name in ipairs(list) do
        local edge = i == 1 or i == #doses
        local row = cell.by[edge and tostring(doses[i]) or name .. " " .. doses[i]]
        local y = row and causal.correct(row)
        if y ~= nil and row then out[#out + 1] = { cell.passage_id, i, y and 1 or 0 } end
      end
    end
  end
  return dose.fold(out, #doses)
end

local random_names = { unpack(names, 2) }
local by_w, by_random = outcomes { "w" }, outcomes(random_names)
local k_w, why_w = dose.k50(by_w, doses)
local k_random, why_random = dose.k50(by_random, doses)
local ratio, why = dose.k50_ratio(by_random, by_w, doses)
if not k_w or not k_random then ratio, why = nil, why_w or why_random end

local function curve(label, items)
  local y, w = dose.means(items, #doses)
  if #items == 0 or w[1] == 0 then return nil end
  local color = label == "w-order" and 1 or 2
  return { label = label, x = doses, y = dose.isotonic(y, w), color = color, marker = false },
    { label = "", style = "points", x = doses, y = y, color = color, marker = "circle" }
end
local series = {}
for _, part in ipairs { { "w-order", by_w }, { "random orders, mean", by_random } } do
  local fit, points = curve(part[1], part[2])
  if fit then
    series[#series + 1], series[#series + 2] = fit, points
  end
end
for i, name in ipairs(random_names) do
  local y, w = dose.means(outcomes { name }, #doses)
  if w[1] > 0 then
    series[#series + 1] = { label = i == 1 and "each random order" or "", style = "reference", x = doses, y = y }
  end
end
local function told(k) return k and ("%.1f [%.1f, %.1f]"):format(k.estimate, k.lo, k.hi) or "cannot tell" end
if #series > 0 then
  local around = opt.ratio > 0 and ("press %s at %g"):format(opt.press, opt.ratio) or "nothing else evicted"
  e:save(kv.plot.lines { title = "How many heads must keep the answer", width = 4.6, height = 3.2, legend = "below",
    x = { label = ("(layer, KV head) cells that keep V, of %d"):format(n_cells) },
    y = { label = "P(correct)", min = 0, max = 1 }, series = series,
    caption = ("%s Lines: isotonic fits; points: means; %d random orders. k50 of the w-order %s, of random orders %s "
      .. "(95 %%, passages resampled). %s"):format(e:setting(dataset, around), opt.orders, told(k_w), told(k_random),
      causal.describe(gate)) }, "dose")
else
  e:cannot("dose", "no question is answerable and has the tokens of its answer")
end
e:table("dose", causal.columns, causal.rows { { label = "k50, w-order", effect = k_w, why = why_w },
  { label = "k50, random orders", effect = k_random, why = why_random },
  { label = "log2 k50(random) - log2 k50(w)", effect = ratio, why = why } }, "Heads needed for half of the effect")
causal.verdict(e, gate, "the heads that look at answers suffice earlier than random ones (log2 k50 difference)",
  ratio, why, { margin = .5 })
e:finish()
