-- SPDX-License-Identifier: Apache-2.0
-- Wrappers: presses that take presses. Expected values come from loops in Lua over the same numbers.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

local function kept_tokens(keep, l, h)
  local out = {}
  for i = 0, keep.tokens - 1 do
    if keep:kept(l, h, i) then out[#out + 1] = i end
  end
  return out
end

-- The k indices (from 0, ascending) of the largest of `values` (a Lua array); the earlier one wins a tie.
local function best(values, k)
  local index = {}
  for i = 1, #values do index[i] = i end
  table.sort(index, function(a, b) return values[a] > values[b] or values[a] == values[b] and a < b end)
  local out = {}
  for i = 1, k do out[i] = index[i] - 1 end
  table.sort(out)
  return out
end

-- A rule whose scores are given: [layers][heads][tokens].
local function given(scores)
  return { name = "given", score = function(_, ctx)
    local part = tensor.from(scores):narrow(1, ctx.layer_first + 1, ctx.layers)
    return part:narrow(3, ctx.token_first + 1, ctx.tokens)
  end }
end

local function made_up(l, h, n, s)
  local out = {}
  for i = 1, l do
    out[i] = {}
    for j = 1, h do
      out[i][j] = {}
      for k = 1, n do out[i][j][k] = (math.sin((i * 131 + j * 17 + k) * 12.9898 + s * 78.233) * 43758.5453) % 1 end
    end
  end
  return out
end

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

-- ---- CriticalKV ----

local function projected(ctx, l, h)
  local group, d, out = ctx.heads / ctx.kv_heads, ctx.head_dim, {}
  local w, v = ctx:weight("o", l - 1):tolua(), ctx.values:tolua()[l][h]
  for i = 1, ctx.tokens do
    local sum = 0
    for g = 1, group do
      local head = (h - 1) * group + g - 1
      for row = 1, #w do
        local x = 0
        for c = 1, d do x = x + w[row][head * d + c] * v[i][c] end
        sum = sum + math.abs(x)
      end
    end
    out[i] = sum / group
  end
  return out
end

t.case("criticalkv: half of the budget by score, half by score times the projected value", function()
  local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 30, head_dim = 4 }
  local scores = made_up(2, 2, 30, 1)
  local keep = kv.press("criticalkv", { of = given(scores), epsilon = 0.01 }):keep(ctx, 0.6)
  for l = 1, 2 do
    for h = 1, 2 do
      local product, norm, first = {}, projected(ctx, l, h), best(scores[l][h], 6)
      for i = 1, 30 do product[i] = (scores[l][h][i] + 0.01) * norm[i] end
      for _, i in ipairs(first) do product[i + 1] = math.huge end
      t.eq(kept_tokens(keep, l - 1, h - 1), best(product, 12), ("layer %d head %d"):format(l, h))
    end
  end
end)

t.case("criticalkv on qwen2 and adakv on mistral, where the reference gives up", function()
  local root = debug.getinfo(1, "S").source:sub(2):gsub("[^/]*$", "") .. "../golden/models/"
  local qwen = kv.model.load(root .. "qwen2", { dtype = "f32" })
  local ids = {}
  for i = 1, 40 do ids[i] = 3 + i * 7 % 120 end
  local press = kv.press("criticalkv", { of = "knorm", first_stage_ratio = 0.25 })
  local ctx = qwen:prefill(ids, press.needs)
  local keep, norms = press:keep(ctx, 0.5), ctx.keys:norm(-1):neg():tolua()
  for l = 1, ctx.layers do
    local norm, product = projected(ctx, l, 2), {}
    for i = 1, 40 do product[i] = (norms[l][2][i] + 1e-4) * norm[i] end
    for _, i in ipairs(best(norms[l][2], 5)) do product[i + 1] = math.huge end
    t.eq(kept_tokens(keep, l - 1, 1), best(product, 20), "layer " .. l)
  end
  local o = qwen:weight("o", 1)
  t.eq(o:size(), { qwen.hidden, qwen.heads * qwen.head_dim })
  t.fails(function() qwen:weight("o", 2) end, "no weight 'o' in layer 2 %-> .*layers 0 to 1")
  local mistral = kv.model.load(root .. "mistral", { dtype = "f32" })
  local ada = kv.press("adakv", { of = { press = "snapkv", window_size = 8 } })
  ctx = mistral:prefill(ids, ada.needs)
  keep = ada:keep(ctx, 0.5)
  t.eq(keep:total(), ctx.layers * ctx.kv_heads * 20)
  local masked, evicted = ctx:logits({ 5, 6 }, { keep = keep }), ctx:evict(keep):logits { 5, 6 }
  t.ok((masked - evicted):abs():max() < 1e-4, "what is masked is what is evicted")
end)

t.case("criticaladakv: AdaKV's counts, CriticalKV's choice; first_stage_ratio 1 is AdaKV", function()
  local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 40, head_dim = 4 }
  local inner = given(made_up(2, 2, 40, 2))
  local ada, both = kv.press("adakv", { of = inner }), kv.press("criticaladakv", { of = inner })
  local a, b = ada:keep(ctx, 0.7), both:keep(ctx, 0.7)
  for l = 0, 1 do
    for h = 0, 1 do t.eq(b:count(l, h), a:count(l, h)) end
  end
  t.ok(a:hash() ~= b:hash(), "the second stage chooses others")
  t.eq(kv.press("criticaladakv", { of = inner, first_stage_ratio = 1 }):keep(ctx, 0.7):hash(), a:hash())
end)

t.case("criticalkv chooses its first part among the tokens that compete", function()
  local ctx = fake.new { layers = 1, heads = 2, kv_heads = 1, tokens = 40, head_dim = 4 }
  local scores = made_up(1, 1, 40, 3)
  for i = 1, 10 do scores[1][1][i] = 5 end -- the best ones stand outside
  local keep = kv.press("criticalkv", { of = given(scores), first_stage_ratio = 1 }):keep(ctx, 0.5, { evictable = { 10,
    40 } })
  local inside = {}
  for i = 11, 40 do inside[i - 10] = scores[1][1][i] end
  local expected = best(inside, 15)
  for i, token in ipairs(expected) do expected[i] = token + 10 end
  t.eq(keep:count(0, 0, 0, 10), 10)
  local mine = kept_tokens(keep, 0, 0)
  t.eq({ unpack(mine, 11) }, expected)
end)

-- ---- ChunkKV and Block ----

t.case("chunk: full pieces scored together have the bits of each alone, whatever the rule asks for", function()
  local view, orders = require "kvbench.press_view", require "kvbench.press_order"
  local ctx = fake.new { layers = 3, kv_heads = 2, heads = 4, tokens = 300, head_dim = 16 }
  for _, of in ipairs { "ea", "snapkv", "knorm", "keydiff", "tova", "lagkv", "cur", "observed_attention", "random",
    "leverage", "cap", "criticalkv", "non_causal_attention" } do
    local press, parts, calls = kv.press("chunk", { of = of, chunk_length = 64 }), {}, 0
    local score = press.of.rule.score
    press.of.rule.score = function(...)
      calls = calls + 1
      return score(...)
    end
    local together = press:score(ctx, 0.5)
    press.of.rule.score = score
    for from = 0, 299, 64 do
      local part = view.block(ctx, 1, 3, view.shared(ctx)):select(from, math.min(300, from + 64))
      parts[#parts + 1] = orders.checked_score(press.of, part, 0.5)
    end
    t.eq(together:eq(tensor.cat(parts, 3)):sum(), 3 * 2 * 300, of)
    if of == "ea" or of == "snapkv" then t.eq(calls, 2, of .. ": all full pieces, then the last one") end
  end
end)

t.case("chunkkv: whole chunks by the mean of the summed scores, the same in all heads", function()
  local ctx = fake.new { layers = 1, heads = 2, kv_heads = 2, tokens = 23, head_dim = 4 }
  local scores = made_up(1, 2, 23, 4)
  local press = kv.press("chunkkv", { of = given(scores), chunk_length = 5 })
  local means = {}
  for c = 0, 4 do
    local sum, n = 0, 0
    for i = 5 * c + 1, math.min(5 * c + 5, 23) do sum, n = sum + scores[1][1][i] + scores[1][2][i], n + 1 end
    means[c + 1] = sum / n
  end
  for ratio, chunks in pairs { [0.2] = 4, [0.5] = 2, [0.99] = 1 } do
    local expected = {}
    for _, c in ipairs(best(means, chunks)) do
      for i = 5 * c, math.min(5 * c + 4, 22) do expected[#expected + 1] = i end
    end
    local keep = press:keep(ctx, ratio)
    for h = 0, 1 do t.eq(kept_tokens(keep, 0, h), expected, ("ratio %g head %d"):format(ratio, h)) end
  end
  local short = kv.press("chunkkv", { of = given(scores), chunk_length = 50 }):keep(ctx, 0.5)
  t.eq(kept_tokens(short, 0, 1), best(scores[1][2], 11), "shorter than a chunk: the rule inside")
end)

t.case("block: a rule whose scores do not depend on company ends at the same set", function()
  local ctx = fake.new { layers = 2, heads = 2, kv_heads = 2, tokens = 45, head_dim = 4 }
  local knorm = kv.press("knorm"):keep(ctx, 0.6)
  for _, size in ipairs { 1, 7, 45, 1000 } do
    t.eq(kv.press("block", { of = "knorm", block_size = size }):keep(ctx, 0.6):hash(), knorm:hash(), "size " .. size)
  end
end)

t.case("block: what a rule sees is the survivors and one block, in token order", function()
  local ctx = fake.new { layers = 1, heads = 2, kv_heads = 1, tokens = 20, head_dim = 2 }
  for i = 1, 20 do ctx.keys[1][1][i] = i end
  local seen = {}
  local press = kv.press("block", { block_size = 4, of = { name = "odd_first", score = function(_, part)
    local keys = part.keys:narrow(4, 1, 1):reshape(1, 1, part.tokens)
    seen[#seen + 1] = keys:tolua()[1][1]
    t.eq({ part.parent_tokens, part.queries:size(3) }, { 20, part.tokens })
    return keys:neg()
  end } })
  t.eq(kept_tokens(press:keep(ctx, 0.5), 0, 0), { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 })
  t.eq(#seen, 3)
  t.eq(seen[3], { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 19, 20 })
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
