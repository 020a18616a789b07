-- SPDX-License-Identifier: Apache-2.0
-- Attention and route measures on tables small enough for a pencil, and the rows of a real forward pass against weights
-- computed here from keys and queries.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ddmin = require "kvbench.ddmin"
local attention, route = kv.metric.attention, kv.metric.route
local paths = require "kvbench.paths"

-- A 0-based array of numbers.
local function array(list)
  local out = {}
  for i, v in ipairs(list) do out[i - 1] = v end
  return out
end

-- Four heads over five tokens; token 0 is a sink for all.
local heads = array { .8, .1, .1, 0, 0, .8, .1, .1, 0, 0, .6, 0, .1, .3, 0, .97, 0, 0, .02, .01 }

t.case("raw consensus counts unique top tokens: one sink, one token", function()
  t.near(attention.consensus(heads, 4, 5, 5), 1 / 4)
  t.near(attention.consensus(array { 1, 0, 0, 1 }, 2, 2, 2), 1)
end)

t.case("sinks: the first token, and those above .3 on average", function()
  t.eq(attention.sinks(heads, 4, 5, 5), { [0] = true })
  t.eq(attention.sinks(array { .1, .9, .1, .5 }, 2, 2, 2), { [0] = true, [1] = true })
end)

t.case("agreement without sinks: idle heads are left out, the rest is renormalised", function()
  -- tokens 1..4: heads 1 and 2 have (.5 .5 0 0), head 3 (0 .25 .75 0), head 4 has .03 < .05 left: idle
  local m = attention.agreement(heads, 4, { 1, 2, 3, 4 }, 5)
  t.eq({ m.active, m.idle, m.unique, m.top }, { 3, 1, 2, 1 })
  t.near(m.rho, 2 / 3)
  t.near(m.c_star, (2 - 1) / (3 - 1))
  t.near(m.mass, (.2 + .2 + .4 + .03) / 4)
  local function ent(p)
    local sum = 0
    for _, v in ipairs(p) do if v > 0 then sum = sum - v * math.log(v) end end
    return sum
  end
  local mixed = ent { 1 / 3, (.5 + .5 + .25) / 3, .25 }
  local each = (2 * ent { .5, .5 } + ent { .25, .75 }) / 3
  t.near(m.diversity, (mixed - each) / math.log(3))
  t.near(attention.agreement(heads, 4, { 1, 2, 3, 4 }, 5, 2).c_star, 1) -- two tokens left: both are looked at
end)

t.case("agreement is undefined, not 0, where nobody can disagree", function()
  t.eq(attention.agreement(heads, 4, {}, 5).c_star, nil)
  local one = attention.agreement(heads, 1, { 1, 2 }, 5)
  t.eq({ one.c_star, one.diversity, one.rho }, { nil, nil, 1 })
  t.eq(attention.agreement(heads, 4, { 3 }, 5, 1).c_star, nil)
end)

t.case("heads that agree have diversity 0 and C* 0, disjoint ones 1 and 1", function()
  local same = attention.agreement(array { .5, .5, .5, .5 }, 2, { 0, 1 }, 2)
  t.eq({ same.c_star, same.rho }, { 0, 1 })
  t.near(same.diversity, 0)
  local apart = attention.agreement(array { 1, 0, 0, 1 }, 2, { 0, 1 }, 2)
  t.eq({ apart.c_star, apart.rho }, { 1, .5 })
  t.near(apart.diversity, 1)
end)

t.case("mass, recall and output error of a head", function()
  t.eq(attention.mass(array { .1, .2, .7, .3, .3, .4 }, 2, { 0, 2 }, 3)[1], .1 + .7)
  t.near(attention.recall(array { .1, .2, .3, .4 }, 0, 3, function(x) return x == 1 end), .2 / .6)
  t.eq(attention.recall(array { 0, 0 }, 0, 2, function() return true end), nil)
  -- o = .5 (1, 0) + .5 (0, 1), o_a = (1, 0): ||o_a - o|| / ||o|| = 1
  local values = array { 1, 0, 0, 1 }
  t.near(attention.output_error(array { .5, .5 }, array { 1, 0 }, 0, values, 0, 2, 2), 1)
  t.eq(attention.output_error(array { 0, 0 }, array { 1, 0 }, 0, values, 0, 2, 2), nil)
end)

-- ---- routes ----

t.case("edges: A ||W_o v||, normalised over the row, the best head of each key", function()
  -- two heads, one row, two keys: 1 * .5, 2 * .5 and 1 * 0, 1 * 1; sum 2.5
  local e, c = route.edges(array { .5, .5, 0, 1 }, array { 1, 2, 1, 1 }, 2, 1, 2, { epsilon = .3 })
  t.near(e[0], .5 / 2.5)
  t.near(e[1], 1 / 2.5)
  t.eq({ c[0], c[1] }, { 0, 2 })
end)

t.case("the widest path takes the better of a direct read and a detour", function()
  -- tokens 0 (answer) and 1; rows 2 and 3 are the question's; two layers
  local direct = array { .2, .1, .7, 0, .1, .1, .5, .3 }
  local w = route.start(4, { 0 })
  w = route.step(w, direct, 2, 2, 4)
  t.eq({ w[0], w[1] }, { math.huge, 0 })
  t.near(w[2], .2)
  t.near(w[3], .1)
  w = route.step(w, direct, 2, 2, 4) -- row 3 reads row 2, which holds .2 by now
  t.near(w[3], .2)
  t.eq(route.step(route.start(4, {}), direct, 2, 2, 4)[3], 0)
end)

t.case("max-flow counts routes that share no (layer, head, row, key)", function()
  -- one layer, two question rows behind one context token, which two heads read from the last row
  t.eq(route.flow({ array { 0, 0, 0, 2, 3, 0 } }, 2, 3, 1, { 0 }), 2)
  -- two layers: the last row reads row 0 (capacity 1), which read the answer with 5 heads: the bottleneck is 1
  local first, second = array { 5, 0, 0, 0, 0, 0 }, array { 0, 0, 0, 0, 1, 0 }
  t.eq(route.flow({ first, second }, 2, 3, 1, { 0 }), 1)
  t.eq(route.flow({ array { 0, 0, 0, 0, 1, 0 } }, 2, 3, 1, { 0 }), 0)
end)

t.case("heads that read the answer directly, at a threshold", function()
  local weights, norms = array { .9, .1, .2, .8 }, array { 1, 1, 1, 1 }
  t.eq(route.direct_heads(weights, norms, 2, 1, 2, { 0 }, .4), 1)
  t.eq(route.direct_heads(weights, norms, 2, 1, 2, { 0 }, .05), 2)
end)

local grid_keep = dofile(require("kvbench.paths").at "tests/lua/fake_keep.lua")
local function fake_keep(...) return grid_keep { { ... } } end -- one layer, a string of bits a head

t.case("Proposition 1: correlated heads survive less than independent ones would", function()
  local x = { 0, 1, 2, 3 }
  local p = route.proposition(kv.metric.eviction.view(fake_keep("1100", "1100")), x)
  t.eq({ p.observed, p.phi }, { .5, 1 })
  t.near(p.general, 1 - .5 * .5)
  t.near(p.bound, 1 - .5 ^ 2)
  t.near(p.k_eff, 1)
  p = route.proposition(kv.metric.eviction.view(fake_keep("1100", "1010")), x)
  t.near(p.phi, 0)
  t.near(p.observed, .75)
  t.near(p.k_eff, 2)
  p = route.proposition(kv.metric.eviction.view(fake_keep("1100", "1111")), x)
  t.eq(p.phi, nil) -- one head that varies has nobody to correlate with
  t.eq(route.proposition(kv.metric.eviction.view(fake_keep "1"), {}), nil)
end)

t.case("route-weighted GER: a head that reads the answer counts more", function()
  local view = kv.metric.eviction.view(fake_keep("10", "01"))
  t.near(route.weighted_ger(view, { 0 }, function(_, h) return h == 0 and 3 or 1 end), 1 - 3 / 4)
  t.near(route.weighted_ger(view, { 0, 1 }, function() return 1 end), .5)
  t.eq(route.weighted_ger(view, { 0 }, function() return 0 end), nil)
  t.eq(route.weighted_ger(view, nil, function() return 1 end), nil)
end)

-- ---- ddmin ----

t.case("ddmin ends at a part of which nothing can be left out", function()
  local items = {}
  for i = 1, 16 do items[i] = i end
  local function has(list, v)
    for _, x in ipairs(list) do if x == v then return true end end
    return false
  end
  local part, runs, minimal = ddmin.find(items, function(list) return has(list, 3) and has(list, 11) end)
  t.eq(part, { 3, 11 })
  t.ok(minimal and runs < 80)
  part = ddmin.find(items, function(list) return #list >= 5 end)
  t.eq(#part, 5)
  t.eq(ddmin.find({ 1, 2 }, function() return true end), {})
  local _, _, known = ddmin.find(items, function(list) return #list >= 5 end, 3)
  t.eq(known, false)
  t.fails(function() ddmin.find({ 1 }, function() return false end) end, "nothing to minimise")
end)

-- ---- rows of a forward pass ----

local question_rows = require "kvbench.question_rows"
local model = dofile(paths.at "tests/lua/tiny_sweep.lua").model()

t.case("question rows: softmax of q k over all keys, by hand for one head", function()
  local ctx = model:prefill({ 11, 12, 13, 14, 15, 16 })
  local asked = { 20, 21, 22 }
  local rows = question_rows.of(ctx, asked)
  t.eq({ rows.context, rows.rows, rows.keys, rows.first }, { 6, 3, 9, 6 })
  local whole = ctx:read_on(asked, { queries = true })
  local cos, sin = ctx:rope(0, 9)
  local layer, head, d = 1, 1, ctx.head_dim
  local q = whole.queries:rope(cos, sin)
  local kv_head = math.floor(head / ctx.group_size)
  local a = rows:weights(layer)
  local i, logits, sum = 7, {}, 0 -- the second question row sees positions 0 to 7
  for j = 0, i do
    local dot = 0
    for k = 1, d do
      dot = dot + q[layer + 1][head + 1][i + 1][k]:item() * whole.keys[layer + 1][kv_head + 1][j + 1][k]:item()
    end
    logits[j] = math.exp(dot / math.sqrt(d))
    sum = sum + logits[j]
  end
  for j = 0, i do t.near(a[(head * 3 + 1) * 9 + j], logits[j] / sum, 1e-5) end
  t.eq(a[(head * 3 + 1) * 9 + 8], 0)
  local all = question_rows.of(ctx, asked, { all = true }):weights(layer)
  for j = 0, i do t.near(all[(head * 9 + 7) * 9 + j], a[(head * 3 + 1) * 9 + j], 1e-6) end
  local keep = kv.press("knorm"):keep(ctx, .5)
  local b, left = rows:weights(layer, keep), 0
  for j = 0, i do if j >= 6 or keep:kept(layer, kv_head, j) then left = left + logits[j] end end
  for j = 0, i do
    local there = j >= 6 or keep:kept(layer, kv_head, j)
    t.near(b[(head * 3 + 1) * 9 + j], there and logits[j] / left or 0, 1e-5)
  end
  local everything = rows:weights(layer, require("kvbench.keep").all(ctx.layers, ctx.kv_heads, 6))
  for k = 0, rows.heads * 27 - 1 do t.eq(everything[k], a[k]) end
end)
