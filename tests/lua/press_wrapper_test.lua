-- SPDX-License-Identifier: Apache-2.0
-- Wrappers: presses that take presses. Expected values come from loops in Lua over the same numbers.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local tensor = require "kvbench.tensor"
local helpers = dofile(require("kvbench.paths").at "tests/lua/press_helpers.lua")
local kept_tokens, best, given, made_up = helpers.kept_tokens, helpers.best, helpers.given, helpers.made_up

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
