-- SPDX-License-Identifier: Apache-2.0
-- Presses that change keys or values and so bring a cache of their own. Their numbers are judged by the stored
-- references (tests/golden); here is what must hold besides.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local paths = require "kvbench.paths"
local tensor = require "kvbench.tensor"
local C = require("kvbench.ffi").C

local model = kv.model.load(paths.at "tests/golden/models/llama", { dtype = "f32" })
local ids, question = {}, { 7, 100, 31 }
for i = 1, 60 do ids[i] = 3 + i * 37 % 120 end
local all = { queries = true }

local function bits(x)
  local host = x:cpu():contiguous()
  return ffi.string(host.data, x:numel() * 4)
end

t.case("a variant with the same keys and values has the same bits, and shares nothing", function()
  local ctx = model:prefill(ids, all)
  local same = ctx:variant { keys = ctx.keys, values = ctx.values }
  t.ok(bits(same:logits(question)) == bits(ctx:logits(question)), "copied from tensors")
  local copy = ctx:variant {}
  local expected = bits(ctx:logits(question))
  t.eq(copy.queries:size(), ctx.queries:size(), "observations are the original's")
  ctx:close()
  t.ok(bits(copy:logits(question)) == expected, "the original is closed")
  t.eq(copy:bytes(), same:bytes())
end)

t.case("changed values change answers, and only in the variant", function()
  local ctx = model:prefill(ids)
  local before = bits(ctx:logits(question))
  local zero = ctx:variant { values = tensor.zeros(ctx.layers, ctx.kv_heads, ctx.tokens, ctx.head_dim) }
  t.ok(bits(zero:logits(question)) ~= before)
  t.ok(bits(ctx:logits(question)) == before)
  t.eq(zero.values:abs():max(), 0)
  t.ok(bits(zero.keys) == bits(ctx.keys))
end)

t.case("a variant of the wrong shape, or of an evicted context", function()
  local ctx = model:prefill(ids)
  t.fails(function() ctx:variant { keys = ctx.keys:narrow(3, 1, 10) } end,
    "variant: keys is f32 %[2, 2, 10, 16%], expected f32 %[2, 2, 60, 16%]")
  local evicted = ctx:evict(kv.press("knorm"):keep(ctx, 0.5))
  t.fails(function() evicted:variant {} end, "heads keep different numbers of tokens.*change keys and values first")
  ctx:close()
  t.fails(function() ctx:variant {} end, "closed")
end)

local presses = {
  kv.press("key_rerotation", { of = "knorm" }), kv.press("key_rerotation", { of = "adakv" }),
  kv.press("merging", { of = { press = "snapkv", window_size = 8 } }), kv.press("think", { window_size = 8 }),
  kv.press("finch", { window_size = 8 }), kv.press("key_rerotation", { of = "merging" }),
  kv.press("composed", { of = { "knorm", { press = "think", key_channel_compression_ratio = 0.5 } } }),
}

for _, press in ipairs(presses) do
  t.case(press:label() .. ": what is masked is what is evicted", function()
    local ctx = model:prefill(ids, press.needs)
    local keep = press:keep(ctx, 0.6)
    local masked, evicted = ctx:logits(question, { keep = keep }), ctx:evict(keep):logits(question)
    t.ok((masked - evicted):abs():max() <= 1e-4 * masked:abs():max())
    t.ok(bits(masked) ~= bits(ctx:logits(question)))
    t.eq(press:keep(ctx, 0):evicted(), 0)
    t.ok(bits(ctx:logits(question, { keep = press:keep(ctx, 0) })) == bits(ctx:logits(question)),
      "ratio 0 is the full cache")
  end)
end

t.case("variants in one batch: many questions and ratios, the answers of each alone", function()
  local needs = kv.press.needs(presses)
  local ctx, batch, alone = model:prefill(ids, needs), model:batch(), {}
  for p, press in ipairs(presses) do
    for i, keep in ipairs(press:keeps(ctx, { 0.2, 0.7 })) do
      for q = 1, 3 do
        local asked, tag = { q * 11, 50 + q }, ("%d/%d/%d"):format(p, i, q)
        alone[tag] = ctx:generate(asked, { keep = keep, max_new_tokens = 5, ignore_stop = true }).ids
        batch:add { ctx = ctx, keep = keep, ids = asked, max_new_tokens = 5, ignore_stop = true, tag = tag }
      end
    end
  end
  for _, result in ipairs(batch:run()) do t.eq(result.ids, alone[result.tag], result.tag) end
end)

t.case("key_rerotation: keeping the first tokens moves nothing but the question", function()
  local first = { name = "first", score = function(_, c)
    return tensor.arange(c.tokens):neg():expand(c.layers, c.kv_heads, c.tokens)
  end }
  local ctx = model:prefill(ids)
  local keep = kv.press("key_rerotation", { of = first }):keep(ctx, 0.5)
  t.eq(keep.position, 30)
  local moved = keep.cache.keys:narrow(3, 1, 30)
  t.ok((moved - ctx.keys:narrow(3, 1, 30)):abs():max() < 1e-6)
  local short = {}
  for i = 1, 30 do short[i] = ids[i] end
  local expected = model:prefill(short):logits(question)
  t.ok((ctx:logits(question, { keep = keep }) - expected):abs():max() <= 1e-4 * expected:abs():max(),
    "the first half alone")
end)

t.case("think: the share of channels that is pruned, whatever the tokens", function()
  local ctx = model:prefill(ids, all)
  local keep = kv.press("think", { key_channel_compression_ratio = "ratio/2", window_size = 8 }):keep(ctx, 0.5)
  t.eq(keep:evicted(), 0)
  local zeros = keep.cache.keys:eq(0):sum(-1)
  t.eq({ zeros:min(), zeros:max() }, { ctx.head_dim / 4, ctx.head_dim / 4 })
  t.fails(function() kv.press("think", { key_channel_compression_ratio = "half" }) end, "'half' is no share")
  t.fails(function() kv.press("think", { key_channel_compression_ratio = 2 }):keep(ctx, 0.5) end, "expected a share in")
end)

t.case("finch: chunks must hold the window", function()
  local ctx = model:prefill(ids, all)
  t.fails(function() kv.press("finch", { window_size = 10, chunk_length = 20 }):keep(ctx, 0.5) end,
    "chunk_length of 20 leaves no room for the window of 10 %-> at least 21")
end)

t.case("hashes tell caches apart, and copies carry them", function()
  local ctx = model:prefill(ids, all)
  local knorm, moved = kv.press("knorm"):keep(ctx, 0.5), kv.press("key_rerotation", { of = "knorm" }):keep(ctx, 0.5)
  t.eq(knorm:jaccard(moved), 1)
  t.ok(knorm:hash() ~= moved:hash())
  t.eq(moved:copy():hash(), moved:hash())
  local think = kv.press("think", { window_size = 8 })
  t.ok(think:keep(ctx, 0.5):hash() ~= think:keep(ctx, 0.7):hash())
end)

t.case("kvcompose: one budget for the model, equally many in the heads of a layer", function()
  local ctx = model:prefill(ids)
  local keep = kv.press("kvcompose"):keep(ctx, 0.75)
  t.eq(keep:total(), 2 * math.floor(2 * 60 * 0.25))
  for l = 0, 1 do t.eq(keep:count(l, 0), keep:count(l, 1)) end
  t.eq(kv.press("kvcompose", { structured = false }):keep(ctx, 0.75):total(), 60)
  t.fails(function() kv.press("kvcompose", { agg_task = "sum" }) end, "agg_task = 'sum' %-> mean, max")
end)

t.case("a hundred variants end at the bytes they began with", function()
  local ctx = model:prefill(ids, all)
  local press = presses[3]
  local function round() press:keep(ctx, 0.5).cache:close() end
  round()
  collectgarbage() collectgarbage()
  local before = C.kvb_memory_bytes(C.KVB_MEM_CACHE)
  for _ = 1, 100 do round() end
  collectgarbage() collectgarbage()
  t.ok(C.kvb_memory_bytes(C.KVB_MEM_CACHE) <= before)
end)
