-- SPDX-License-Identifier: Apache-2.0
-- What makes one press better than another: how much each head keeps, or which tokens?   (causal experiment 4)
--
-- Two presses at one ratio give budgets b(layer, head) and orders r(layer, head, token). All four combinations run: the
-- best b of one press by the order of the other. Per ratio: main effect of the budgets, of the orders, and their
-- interaction, paired by question. Hypothesis: with the orders held, budgets of press A (--press) over those of press B
-- (--other) make a difference > 0. As a null for orders: the budgets of A with a random order.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local keepset = require "kvbench.keep"
local ffi = require "ffi"

local e = causal.experiment { name = "transplant", title = "Budgets against orders", options = { press = "adakv",
  other = "snapkv", treat = { .5, .7, .8 } }, docs = { press = "press A", other = "press B", treat = "ratios" } }
local opt = e.opt
local a, b = kv.press(opt.press), kv.press(opt.other)
local null = kv.press("random", { sinks = 4 })

-- The keep-sets of one context and ratio, made when its first question comes by.
local function sets_of(v)
  local made = v.unit.transplants or {}
  v.unit.transplants = made
  if not made[v.ratio] then
    local options = { evictable = v.keep.evictable, ranks = true }
    made[v.ratio] = { a = v.keep, b = b:keep(v.ctx, v.ratio, options), null = null:keep(v.ctx, v.ratio, options) }
  end
  return made[v.ratio]
end

local function combined(budgets, order)
  local counts = ffi.new("uint32_t[?]", budgets.layers * budgets.kv_heads)
  for l = 0, budgets.layers - 1 do
    for h = 0, budgets.kv_heads - 1 do counts[l * budgets.kv_heads + h] = budgets:count(l, h) end
  end
  return keepset.from_ranks(order.ranks, counts)
end

local function interventions(v)
  if v.press ~= a:label() then return nil end
  local s, list = sets_of(v), {}
  for _, budgets in ipairs { "a", "b" } do
    for _, order in ipairs { "a", "b", "null" } do
      if s[order].ranks then
        list[#list + 1] = { name = "budgets " .. budgets .. ", order " .. order, keep = combined(s[budgets], s[order]) }
      end
    end
  end
  return list
end

local _, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = opt.treat, presses = { a, b },
  id = ("transplant 1 %s %s"):format(a:label(), b:label()), passages = opt.passages })

local function y(cell, budgets, order)
  local row = cell.by["budgets " .. budgets .. ", order " .. order]
  local right = row and causal.correct(row)
  return row and right ~= nil and (right and 1 or 0) or nil
end

local function four(cell)
  local aa, ab, ba, bb = y(cell, "a", "a"), y(cell, "a", "b"), y(cell, "b", "a"), y(cell, "b", "b")
  if not (aa and ab and ba and bb) then return nil end
  return aa, ab, ba, bb -- budgets, then order
end

local shown = { a = kv.experiment.shown(a:label()), b = kv.experiment.shown(b:label()), null = "random" }
local rows, panels, verdicts = {}, {}, {}
for _, ratio in ipairs(opt.treat) do
  local here = {}
  for _, cell in ipairs(cells) do if math.abs(cell.ratio - ratio) < 1e-9 then here[#here + 1] = cell end end
  local function effect(label, value)
    local f, why = causal.mean(here, value)
    rows[#rows + 1] = { label = ("%g: %s"):format(ratio, label), effect = f, why = why }
    return f, why
  end
  local budgets, why = effect("budgets A - B", function(cell)
    local aa, ab, ba, bb = four(cell)
    return aa and (aa + ab - ba - bb) / 2
  end)
  local orders, why_orders = effect("orders A - B", function(cell)
    local aa, ab, ba, bb = four(cell)
    return aa and (aa + ba - ab - bb) / 2
  end)
  effect("interaction", function(cell)
    local aa, ab, ba, bb = four(cell)
    return aa and aa - ab - ba + bb
  end)
  effect("order A - random order, budgets A", function(cell)
    local x, r = y(cell, "a", "a"), y(cell, "a", "null")
    return x and r and x - r
  end)
  verdicts[#verdicts + 1] = { ratio, budgets, why, orders, why_orders }
  local levels = {}
  for _, budget in ipairs { "a", "b" } do
    for _, order in ipairs { "a", "b", "null" } do
      levels[#levels + 1] = { label = ("%s / %s"):format(shown[budget], shown[order]), effect = causal.mean(here,
        function(cell) return y(cell, budget, order) end) }
    end
  end
  panels[#panels + 1] = causal.forest(levels, { title = ("%g evicted: budgets of / order of"):format(ratio), min = 0,
    max = 1, y_label = "P(correct)" })
end
e:save(kv.plot.small_multiples { columns = 1, width = 6.8, height = 1.9 * #panels, panels = panels,
  title = "Whose budgets, whose order",
  caption = ("%s A: %s, B: %s. %s Bars: 95 %% BCa, passages resampled."):format(e:setting(dataset), shown.a, shown.b,
    causal.describe(gate)) }, "transplant")
e:table("transplant", causal.columns, causal.rows(rows), "Effects on P(correct), paired by question")
for _, v in ipairs(verdicts) do
  causal.verdict(e, gate, ("at %g, budgets of %s help whatever the order"):format(v[1], shown.a), v[2], v[3])
  causal.verdict(e, gate, ("at %g, the order of %s helps whatever the budgets"):format(v[1], shown.a), v[4], v[5])
end
e:finish()
