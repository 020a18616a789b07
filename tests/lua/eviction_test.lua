-- SPDX-License-Identifier: Apache-2.0
-- What a keep-set evicted, on keep-sets drawn by hand.
local t = require "kvbench.testing"
local metric = require "kvbench.metric"
local eviction = metric.eviction
local fake_keep = dofile(require("kvbench.paths").at "tests/lua/fake_keep.lua")

-- Two layers of two heads over eight tokens; token 0 is the sink, tokens 1-7 are X.
--             01234567
local grid = {
  { "11010000", "11001000" },
  { "11010001", "10001000" },
}

t.case("GER of a hand-drawn keep-set", function()
  local v = eviction.view(fake_keep(grid))
  -- Tokens 3 4: each kept by 2 of 4 cells, in both layers. Token 2: nowhere. Token 7: one cell, of layer 2 only.
  local g = eviction.ger(v, { 2, 3, 4, 7 })
  t.near(g.model, 1 / 4)
  t.near(g.layer, (2 / 4 + 1 / 4) / 2, 1e-12)
  t.near(g.frac, 1 - (0 + 2 + 2 + 1) / 16, 1e-12)
  t.eq({ g.all, g.any, g.n }, { 0, 1, 4 })
  t.eq(eviction.ger(v, { 2, 5 }).all, 1)
  t.eq(eviction.ger(v, { 3 }).any, 0)
  t.eq(eviction.ger_by_layer(v, { 2, 7 }), { { layer = 0, ger = 1 }, { layer = 1, ger = .5 } })
  t.ok(eviction.ger(v, {}) == nil and eviction.ger_model(v, nil) == nil, "undefined, not 0")
  t.near(eviction.ger_layer(v, { 7 }), .5)
  t.fails(function() eviction.ger(v, { 8 }) end, "position 8 is outside")
end)

t.case("GER at the ends: nothing evicted, everything evicted", function()
  local all, nothing = eviction.view(fake_keep { { "111", "111" } }), eviction.view(fake_keep { { "000", "000" } })
  for _, name in ipairs { "ger_model", "ger_layer", "ger_frac" } do
    t.eq(eviction[name](all, { 0, 1, 2 }), 0, name)
    t.eq(eviction[name](nothing, { 0, 1, 2 }), 1, name)
  end
end)

t.case("GER: forms are ordered, model <= layer <= frac", function()
  local r = require("kvbench.rng").new("forms")
  for _ = 1, 50 do
    local g = {}
    for l = 1, 3 do
      g[l] = {}
      for h = 1, 2 do
        local bits = {}
        for i = 1, 12 do bits[i] = r:uniform() < .3 and "1" or "0" end
        g[l][h] = table.concat(bits)
      end
    end
    local e = eviction.ger(eviction.view(fake_keep(g)), { 1, 2, 5, 9, 11 })
    t.ok(e.model <= e.layer + 1e-12 and e.layer <= e.frac + 1e-12, "order")
  end
end)

t.case("GER restricted to some cells", function()
  local v = eviction.view(fake_keep(grid), { cells = function(l, h) return l == 1 and h == 1 end })
  t.eq(v.cells, 1)
  t.near(eviction.ger_model(v, { 3, 4 }), .5)
  t.near(eviction.ger_layer(v, { 3, 4 }), .5)
  t.near(eviction.ger_frac(v, { 3, 4 }), .5)
  t.near(eviction.span_survival(v, { { 4, 5 }, { 3, 5 } }), 1)
  local top = eviction.view(fake_keep(grid), { cells = function(l) return l == 0 end })
  t.eq(eviction.ger_by_layer(top, { 7 }), { { layer = 0, ger = 1 } })
  t.fails(function() eviction.view(fake_keep(grid), { cells = function() return false end }) end,
    "no %(layer, head%) cell")
end)

t.case("span co-survival: tokens may survive while no head holds them together", function()
  local v = eviction.view(fake_keep(grid))
  t.eq(eviction.ger_model(v, { 3, 4 }), 0)
  t.eq(eviction.span_survival(v, { { 3, 5 } }), 0)
  t.near(eviction.span_survival(v, { { 3, 5 }, { 3, 4 } }), .5)
  t.near(eviction.span_survival(v, { { 0, 2 } }), .75)
  t.eq(eviction.span_survival(v, {}), nil)
  t.fails(function() eviction.span_survival(v, { { 5, 9 } }) end, "not inside")
end)

t.case("effective ratio, eviction rate, independence null, k_eff", function()
  local v, x = eviction.view(fake_keep(grid)), { 1, 2, 3, 4, 5, 6, 7 }
  -- Kept of X per cell: 2, 2, 3, 1 of 7.
  t.near(eviction.effective_ratio(v, x), 1 - 8 / 28, 1e-12)
  t.near(eviction.ger_model(v, x), 3 / 7, 1e-12)
  local null = eviction.independent_null(v, x)
  t.near(null.model, (5 / 7) * (5 / 7) * (4 / 7) * (6 / 7), 1e-12)
  t.near(null.layer, ((5 / 7) ^ 2 + (4 / 7) * (6 / 7)) / 2, 1e-12)
  t.near(null.evicted_share, 20 / 28, 1e-12)
  -- Three independent heads that each evict .8: .8^3.
  t.near(eviction.k_eff(.512, .8), 3, 1e-12)
  t.ok(eviction.k_eff(0, .8) == nil and eviction.k_eff(.5, 1) == nil and eviction.k_eff(nil, .5) == nil, "undefined")
end)

-- kappa from sklearn.metrics.cohen_kappa_score on the same bits: 0.5 and 0.5; jaccard by hand 3/5 and 2/4.
t.case("agreement of two keep-sets", function()
  local x = { 0, 1, 2, 3, 4, 5, 6, 7 }
  local a = eviction.agreement(eviction.view(fake_keep { { "11010010" } }), eviction.view(fake_keep { { "10011010" } }),
    x)
  t.near(a.kappa, .5, 1e-12)
  t.near(a.jaccard, 3 / 5, 1e-12)
  local b = eviction.agreement(eviction.view(fake_keep { { "10000010" } }), eviction.view(fake_keep { { "10011010" } }),
    x)
  t.near(b.kappa, .5, 1e-12)
  t.near(b.jaccard, 2 / 4, 1e-12)
  local same = eviction.agreement(eviction.view(fake_keep(grid)), eviction.view(fake_keep(grid)),
    { 1, 2, 3, 4, 5, 6, 7 })
  t.near(same.kappa, 1)
  t.near(same.jaccard, 1)
  local full = eviction.agreement(eviction.view(fake_keep { { "1111" } }), eviction.view(fake_keep { { "1111" } }),
    { 0, 1 })
  t.eq({ full.kappa, full.kappa_cells, full.jaccard }, { nil, 0, 1 })
  t.fails(function() eviction.agreement(eviction.view(fake_keep(grid)), eviction.view(fake_keep { { "1" } }),
    { 0 }) end,
    "differ in shape")
end)

t.case("agreement: independent random sets have kappa 0 and Jaccard p / (2 - p)", function()
  local r = require("kvbench.rng").new("agreement")
  local function random()
    local heads = {}
    for h = 1, 4 do
      local bits = {}
      for i = 1, 4000 do bits[i] = r:uniform() < .4 and "1" or "0" end
      heads[h] = table.concat(bits)
    end
    return eviction.view(fake_keep { heads })
  end
  local x = {}
  for i = 1, 4000 do x[i] = i - 1 end
  local a = eviction.agreement(random(), random(), x)
  t.near(a.kappa, 0, .03)
  t.near(a.jaccard, .4 / 1.6, .02)
end)
