-- SPDX-License-Identifier: Apache-2.0
-- Presses inside presses: per_layer, composed, and what is refused. Expected values come from loops in Lua.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local ratios = require "kvbench.ratios"
local helpers = dofile(require("kvbench.paths").at "tests/lua/press_helpers.lua")
local kept_tokens, best, given, made_up = helpers.kept_tokens, helpers.best, helpers.given, helpers.made_up

-- ---- per layer ----

t.case("per_layer: a profile at its own mean, below and above it", function()
  local ctx = fake.new { layers = 3, tokens = 100 }
  local press = kv.press("per_layer", { of = "knorm", compression_ratios = { 0.2, 0.5, 0.8 } })
  for ratio, counts in pairs {
    [0.5] = { 80, 50, 19 }, -- floor(100 (1 - .8)) in double is 19, as in the reference
    [0.25] = { 90, 75, 60 }, [0.75] = { 40, 25, 10 },
  } do
    local keep = press:keep(ctx, ratio)
    for l = 0, 2 do t.near(keep:count(l, 0), counts[l + 1], 1.01, ("layer %d at %g"):format(l, ratio)) end
    t.eq(keep:count(1, 1), counts[2])
    local smallest = ctx.keys:norm(-1):neg():tolua()[3][2]
    t.eq(kept_tokens(keep, 2, 1), best(smallest, keep:count(2, 1)))
  end
  t.fails(function() kv.press("per_layer", { of = "knorm", compression_ratios = { 0.2, 0.5 } }):keep(ctx, 0.5) end,
    "compression_ratios has 2 ratios, the context has 3 layers")
  t.fails(function() kv.press("per_layer", { of = "knorm", compression_ratios = { 0.2, 1 } }) end, "ratios in %[0, 1%)")
  t.fails(function() kv.press("per_layer", { of = "kvzip" }) end, "press 'per_layer'")
  t.eq(press:label(), "per_layer(compression_ratios=0.2/0.5/0.8)")
end)

t.case("per_layer of a rule that looks at the ratio: every layer at its own", function()
  local ctx = fake.new { layers = 3, heads = 4, kv_heads = 2, tokens = 60, head_dim = 8, hidden = 32 }
  local keep = kv.press("per_layer", { of = "criticalkv", compression_ratios = { 0.2, 0.5, 0.8 } }):keep(ctx, 0.5)
  for l, own in ipairs { 0.2, 0.5, 0.8 } do
    local alone = kv.press("criticalkv"):keep(ctx, own)
    for h = 0, 1 do t.eq(kept_tokens(keep, l - 1, h), kept_tokens(alone, l - 1, h), ("layer %d, head %d"):format(l,
      h)) end
  end
end)

t.case("per_layer of a press that decides by itself: every layer as at its own ratio", function()
  local ctx = fake.new { layers = 3, heads = 4, kv_heads = 2, tokens = 60, head_dim = 8 }
  for _, of in ipairs { "adakv", "pyramidkv", "chunk", "chunkkv", "block", "criticaladakv", "composed",
    "entropy_gated_chunkkv" } do
    local press = kv.press("per_layer", { of = of, compression_ratios = { 0.2, 0, 0.7 } })
    local keep = press:keep(ctx, 0.3, { evictable = { 5, 60 } }) -- the profile's own mean
    for l, own in ipairs { 0.2, 0, 0.7 } do
      local alone = kv.press(of):keep(ctx, own, { evictable = { 5, 60 } })
      for h = 0, 1 do
        t.eq(kept_tokens(keep, l - 1, h), kept_tokens(alone, l - 1, h), ("%s, layer %d, head %d"):format(of, l, h))
      end
    end
  end
end)

-- ---- composed ----

t.case("composed: each press sees what the one before left", function()
  local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 60, head_dim = 4 }
  local press = kv.press("composed", { of = { { press = "knorm", ratio = "ratio/2" }, { press = "streaming_llm",
    ratio = 0.5 } }, cache_order = "position" })
  local keep, first = press:keep(ctx, 0.4), kv.press("knorm"):keep(ctx, 0.2)
  local left = kept_tokens(first, 1, 0)
  local expected = {}
  for i, token in ipairs(left) do
    if i <= 4 or i > #left - 20 then expected[#expected + 1] = token end
  end
  t.eq(#left, 48)
  t.eq(kept_tokens(keep, 1, 0), expected)
  t.eq(press:label(), "composed(cache_order=position, of=knorm@ratio/2+streaming_llm@0.5)")
end)

t.case("composed: in score order the second press takes the reference's last tokens", function()
  local ctx = fake.new { layers = 1, heads = 1, kv_heads = 1, tokens = 10, head_dim = 2 }
  local scores = { { { 3, 9, 1, 8, 2, 7, 4, 6, 5, 0 } } }
  local press = kv.press("composed", { of = { { press = given(scores), ratio = 0.2 },
    { press = "streaming_llm", n_sink = 1, ratio = 0.5 } } })
  -- survivors in score order: tokens 1 3 5 7 8 6 0 4; streaming keeps the first and the last three of them
  t.eq(kept_tokens(press:keep(ctx, 0.6), 0, 0), { 0, 1, 4, 6 })
end)

t.case("composed: shares without a ratio multiply to the ratio", function()
  local ctx = fake.new { tokens = 200 }
  t.near(kv.press("composed", { of = { "knorm", "snapkv", "ea" } }):keep(ctx, 0.488):evicted(), 0.488, 0.01)
  t.fails(function() kv.press("composed", { of = { { press = "knorm", ratio = "ratio*3" } } }):keep(ctx, 0.5) end,
    "outside %[0, 1%)")
  t.fails(function() kv.press("composed", { cache_order = "random" }) end, "cache_order = 'random' %-> score, position")
end)

t.case("composed: behind a press that leaves heads of different lengths, each head is a context of its own", function()
  local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 50, head_dim = 4 }
  local first, second = made_up(2, 2, 50, 5), made_up(2, 2, 50, 6)
  local ada = kv.press("adakv", { of = given(first), alpha_safeguard = 0.1 })
  -- scores of its own by the keys' first number: it sees survivors of one head
  for l = 1, 2 do
    for h = 1, 2 do for i = 1, 50 do ctx.keys[l][h][i] = second[l][h][i] end end
  end
  local by_key = { name = "by_key", score = function(_, c) return c.keys:narrow(4, 1, 1):squeeze(4) end }
  local press = kv.press("composed", { of = { { press = ada, ratio = 0.4 }, { press = by_key, ratio = 0.5 } } })
  local keep, left = press:keep(ctx, 0.7, { evictable = { 4, 50 } }), ada:keep(ctx, 0.4, { evictable = { 4, 50 } })
  local counts = {}
  for l = 0, 1 do
    for h = 0, 1 do
      local held, values = kept_tokens(left, l, h), {}
      for i, token in ipairs(held) do values[i] = token < 4 and math.huge or second[l + 1][h + 1][token + 1] end
      local expected = {}
      for i, at in ipairs(best(values, 4 + ratios.n_kept(#held - 4, 0.5))) do expected[i] = held[at + 1] end
      t.eq(kept_tokens(keep, l, h), expected, ("layer %d, head %d"):format(l, h))
      counts[#counts + 1] = #held
    end
  end
  t.ok(counts[1] ~= counts[2], "AdaKV left different numbers")
  local model = kv.model.load(require("kvbench.paths").at "tests/golden/models/llama", { dtype = "f32" })
  local ids = {}
  for i = 1, 60 do ids[i] = 3 + i * 37 % 120 end
  local real = kv.press("composed", { of = { "adakv", { press = "snapkv", window_size = 8 }, "ea" } })
  local context = model:prefill(ids, real.needs)
  local chosen = real:keep(context, 0.6)
  t.near(chosen:evicted(), 0.6, 0.03)
  local masked, evicted = context:logits({ 5, 6 }, { keep = chosen }), context:evict(chosen):logits { 5, 6 }
  t.ok((masked - evicted):abs():max() < 1e-4, "what is masked is what is evicted")
end)

-- ---- what cannot be nested ----

t.case("nesting that means nothing is refused with a reason", function()
  t.fails(function() kv.press("adakv", { of = "chunkkv" }) end,
    "press 'adakv' shares a budget among heads, but 'chunkkv' decides by itself what is kept")
  t.fails(function() kv.press("criticalkv", { of = "adakv" }) end, "'criticalkv' inside 'adakv'")
  t.fails(function() kv.press("block", { of = "composed" }) end, "'composed' decides by itself")
  t.ok(kv.press("adakv", { of = "criticalkv" }).ratio_dependent)
  t.eq(kv.press("adakv", { of = "criticalkv" }).nested, false)
end)

t.case("a press that contains itself", function()
  local spec = { press = "chunk" }
  spec.of = spec
  t.fails(function() kv.press(spec) end, "press 'chunk' contains itself: chunk of chunk")
  local rule = { name = "endless", score = print, params = { of = { kind = "press" } } }
  rule.params.of.default = rule
  t.fails(function() kv.press(rule) end, "press 'endless' contains itself")
  local list = { press = "composed", of = {} }
  list.of[1] = list
  t.fails(function() kv.press(list) end, "contains itself")
end)

t.case("shares of the ratio", function()
  t.eq(ratios.expression("1-ratio", "x")(0.25), 0.75)
  t.eq(ratios.expression(0.3, "x")(0.9), 0.3)
  t.fails(function() ratios.expression("ratio(", "here") end, "here: 'ratio%(' is no share")
  t.fails(function() ratios.expression("0/0", "here")(0.5) end, "no number at ratio 0.5")
end)
