-- SPDX-License-Identifier: Apache-2.0
-- What the engine leaves behind: contexts and models closed in any order, memory that runs out at any allocation,
-- cancelling (nothing is lost, the next try works), and what a wrong request is told.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"
local C = require("kvbench.ffi").C
local engine = dofile(paths.at "tests/lua/engine_common.lua")
local folder, draw, same_answer, random_keep = engine.folder, engine.draw, engine.same_answer, engine.random_keep

local model = kv.model.load(folder "llama", { dtype = "f32" })
local some = draw(rng.new "passage", 50, model.vocab)
local question = draw(rng.new "question", 6, model.vocab)

t.case("contexts closed while continuations are in flight live until they end", function()
  local ctx = model:prefill(some)
  local keep = random_keep(rng.new(14), ctx, .5)
  local expected = ctx:generate(question, { keep = keep, max_new_tokens = engine.most_new, ignore_stop = true })
  local batch = model:batch()
  batch:add { ctx = ctx, ids = question, keep = keep, max_new_tokens = engine.most_new, ignore_stop = true }
  batch:step()
  ctx:close()
  ctx:close()
  C.kvb_keep_free(ffi.gc(keep.handle, nil))
  keep.handle = nil
  t.eq(batch:run()[1].ids, expected.ids)
  batch:close()
  batch:close()
  t.fails(function() return ctx:bytes() end, "this context was closed %-> prefill the passage again")
end)

t.case("a model closed before its contexts lives as long as they do", function()
  local other = kv.model.load(folder "qwen2", { dtype = "f32" })
  local ctx = other:prefill(some)
  local before = ctx:bytes()
  other:close()
  t.fails(function() return ctx:generate(question) end, "model 'qwen2' was closed %-> load it again")
  t.eq(ctx:bytes(), before)
  ctx:close()
end)

local function live()
  for _ = 1, 4 do collectgarbage() end -- finalizers run one cycle after, and may free what frees more
  local out = {}
  for tag = 0, C.KVB_MEM_TAGS - 1 do out[tag + 1] = tonumber(C.kvb_memory_bytes(tag)) end
  return out
end

-- Not more than before, under any tag; fewer when the collector frees what an earlier case left behind.
local function no_more_than(before, what)
  for tag, bytes in ipairs(live()) do
    t.ok(bytes <= before[tag], ("%s: %d bytes under tag %d, %d before"):format(what, bytes, tag - 1, before[tag]))
  end
end

t.case("a hundred prefills, evictions and questions end at the bytes they began with", function()
  local function once()
    local ctx = model:prefill(some, { queries = true, hidden = true })
    local keep = kv.press("snapkv", { window_size = 16 }):keep(ctx, .5)
    local evicted = ctx:evict(keep)
    ctx:generate(question, { keep = keep, max_new_tokens = 3 })
    evicted:logits(question)
    evicted:close()
    ctx:close()
  end
  once()
  local before = live()
  for _ = 1, 100 do once() end
  no_more_than(before, "after 100 rounds")
end)

t.case("any allocation may fail: a clear error, nothing leaked, and the next try works", function()
  local function once(load_too)
    local m = load_too and kv.model.load(folder "qwen2", { dtype = "f32" }) or model
    local ctx = m:prefill(some, { queries = true, last_logits = true })
    local keep = random_keep(rng.new(15), ctx, .5)
    local evicted = ctx:evict(keep)
    local ids = ctx:generate(question, { keep = keep, max_new_tokens = 3, ignore_stop = true }).ids
    evicted:generate(question, { max_new_tokens = 2 })
    evicted:close()
    ctx:close()
    if load_too then m:close() end
    return ids
  end
  for _, load_too in ipairs { false, true } do
    local expected = once(load_too)
    local before, n, ok = live(), 0, nil
    repeat
      n = n + 1
      t.ok(n < 3000, "it never succeeds")
      C.kvb_memory_fail_nth(n)
      local result
      ok, result = pcall(once, load_too)
      C.kvb_memory_fail_nth(0)
      if ok then
        t.eq(result, expected, "allocation " .. n)
      else
        t.ok(tostring(result):find "out of memory", ("allocation %d: %s"):format(n, tostring(result)))
      end
      if n % 10 == 1 or ok then no_more_than(before, "after allocation " .. n) end
    until ok and n > 20
    t.eq(once(load_too), expected)
  end
end)

t.case("cancelling fails the step, and the batch goes on after a reset", function()
  local ctx = model:prefill(some)
  local expected = ctx:generate(question, { max_new_tokens = engine.most_new, ignore_stop = true })
  for _, after in ipairs { 0, 1, 3 } do
    local batch = model:batch()
    batch:add { ctx = ctx, ids = question, max_new_tokens = engine.most_new, ignore_stop = true }
    for _ = 1, after do batch:step() end
    C.kvb_cancel()
    t.fails(function() batch:step() end, "^interrupted")
    t.fails(function() batch:step() end, "^interrupted")
    t.fails(function() model:prefill(some) end, "^interrupted")
    C.kvb_cancel_reset()
    same_answer(batch:run()[1], expected)
    batch:close()
  end
  ctx:close()
end)

t.case("wrong requests are told what is wrong", function()
  local ctx = model:prefill(some)
  local other = kv.model.load(folder "llama_mha", { dtype = "f32" })
  local keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  local evicted = ctx:evict(keep)
  local long = draw(rng.new(16), 1025, model.vocab)
  local function says(fn, pattern)
    local text = t.fails(fn, pattern)
    t.ok(#text < 300 and not text:find "%.lua:%d", "not for a user: " .. text)
  end
  says(function() model:prefill {} end, "passage 1 has no tokens")
  says(function() model:prefill_many { some, {} } end, "passage 2 has no tokens")
  says(function() model:prefill_many {} end, "no passages")
  says(function() model:prefill { 5, 128 } end, "token id 128 at position 1 is outside the vocabulary of 128")
  says(function() model:prefill { -1 } end, "token id %-1")
  says(function() model:prefill(long) end, "1025 tokens, the model was made for 1024 positions")
  says(function() model:prefill "text" end, "has no tokenizer %-> give token ids")
  says(function() model:prefill(some, { everything = true }) end, "cannot observe 'everything'")
  says(function() ctx:generate {} end, "the question has no tokens")
  says(function() ctx:generate { 128 } end, "token id 128")
  says(function() ctx:generate(question, { max_new_tokens = 0 }) end, "max_new_tokens is 0, expected at least 1")
  says(function() ctx:generate(question, { max_new_tokens = -3 }) end, "max_new_tokens is %-3")
  says(function() ctx:generate(question, { max_new_tokens = 1000 }) end,
    "context 50 %+ question 6 %+ 1000 new tokens exceed the model's 1024")
  says(function() ctx:generate(question, { position = 1020 }) end, "exceed the model's 1024 positions")
  says(function() ctx:generate(question, { keep = keepset.all(2, 2, 49) }) end,
    "keep%-set is for %[2 layers, 2 KV heads, 49 tokens%], the context is %[2, 2, 50%]")
  says(function() ctx:generate(question, { keep = keepset.all(1, 2, 50) }) end, "keep%-set is for %[1 layers")
  says(function() ctx:evict(keepset.all(2, 4, 50)) end, "keep%-set is for %[2 layers, 4 KV heads")
  says(function() evicted:generate(question, { keep = keep }) end, "an evicted context takes no keep%-set")
  says(function() evicted:evict(keep) end, "already evicted")
  says(function() return evicted.keys end, "ctx:head%(layer, head%)")
  says(function() return ctx.hidden end, "hidden states were not observed")
  says(function() return ctx.prefill_logits end, "logits were not observed")
  says(function() ctx:head(2, 0) end, "no layer 2")
  says(function() ctx:select(40, 51) end, "the context has tokens 0 to 50")
  local foreign = other:prefill(some)
  says(function()
    local batch = model:batch()
    batch:add { ctx = foreign, ids = question }
  end, "belongs to another model")
  ctx:close()
  says(function() ctx:generate(question) end, "this context was closed")
  local batch = model:batch()
  batch:close()
  says(function() batch:step() end, "this batch was closed")
  other:close()
  says(function() other:prefill(some) end, "model 'llama_mha' was closed")
  -- after all that, the model still works
  t.eq(#evicted:generate(question, { max_new_tokens = 2, ignore_stop = true }).ids, 2)
end)

model:close()
