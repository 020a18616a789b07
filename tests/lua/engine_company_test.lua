-- SPDX-License-Identifier: Apache-2.0
-- The engine with many at once: hundreds of continuations, questions and passages that begin alike, row buckets, the
-- last position, and the scalar reference beside the CPU.
local t = require "kvbench.testing"
local kv = require "kvbench"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"
local C = require("kvbench.ffi").C
local engine = dofile(paths.at "tests/lua/engine_common.lua")
local folder, draw, same_bits, same_answer, distance, random_keep, run =
  engine.folder, engine.draw, engine.same_bits, engine.same_answer, engine.distance, engine.random_keep, engine.run

local model = kv.model.load(folder "llama", { dtype = "f32" })
local some = draw(rng.new "passage", 50, model.vocab)
local question = draw(rng.new "question", 6, model.vocab)

t.case("600 continuations in flight", function()
  local ctx, r, list = model:prefill(some), rng.new(12), {}
  for i = 1, 600 do list[i] = { ctx = ctx, ids = draw(r, 1 + i % 3, model.vocab), max_new_tokens = 3,
    ignore_stop = true, tag = i } end
  local all = run(model, list)
  t.eq(#all, 600)
  for i = 1, 600, 37 do same_answer(all[i], run(model, { list[i] })[i], "request " .. i) end
  ctx:close()
end)

t.case("questions that share their first tokens share the work and keep their answers, bit for bit", function()
  local r, before = rng.new(21), tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE))
  local contexts = model:prefill_many { draw(r, 130, model.vocab), some }
  local plain, shared = {}, {}
  for c, ctx in ipairs(contexts) do
    for k = 0, 2 do
      local keep = k > 0 and random_keep(rng.new(c * 7 + k), ctx, .3 * k) or nil
      local stem = draw(rng.new(c), 9, model.vocab)
      for q = 1, 8 do
        local ids = {}
        for i = 1, 9 do ids[i] = stem[i] end
        for _, id in ipairs(draw(rng.new(100 * c + q), q, model.vocab)) do ids[#ids + 1] = id end
        local request = { ctx = ctx, keep = keep, ids = ids, max_new_tokens = 1 + q % 4, ignore_stop = true,
          tag = #plain + 1 }
        plain[#plain + 1] = request
        shared[#shared + 1] = setmetatable({ trunk = q == 8 and 4 or 9 }, { __index = request })
      end
    end
  end
  local a, counted = run(model, plain)
  local b, fewer = run(model, shared)
  for i = 1, #plain do same_answer(a[i], b[i], "request " .. i) end
  -- of 2 x 3 x 7 questions, 9 tokens each are run 6 times only; the eighth's trunk of 4 serves nobody else
  t.eq(counted.rows - fewer.rows, 2 * 3 * 6 * 9)
  for _, ctx in ipairs(contexts) do ctx:close() end
  t.eq(tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)), before)
end)

t.case("trunks by the hundred leave room for those who continue them", function()
  local held = tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE))
  local ctx, list = model:prefill(some), {}
  local stem = draw(rng.new(4), 6, model.vocab)
  for c = 1, 60 do -- a keep-set object each: each has a trunk of its own
    local keep = random_keep(rng.new(c), ctx, .5)
    for q = 1, 2 do
      local ids = { unpack(stem) }
      ids[#ids + 1] = draw(rng.new(100 + q), 1, model.vocab)[1]
      list[#list + 1] = { ctx = ctx, keep = keep, ids = ids, trunk = 6, max_new_tokens = 8, ignore_stop = true,
        tag = #list + 1 }
    end
  end
  local before, batch = tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)), model:batch {}
  batch:add(list[1])
  batch:step()
  local one = tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)) - before -- a sequence's keys and values
  batch:close()
  local all = run(model, list)
  for n, most in pairs { [8] = 120 * 9 / 6, [4] = 120 * 9 / 3 } do -- a quarter for trunks: six and three are in flight
    local got, counted = run(model, list, { max_bytes = n * one })
    for i = 1, #list do same_answer(got[i], all[i], "request " .. i) end
    t.ok(counted.steps <= most, ("room for %d sequences: %d steps, at most %d expected"):format(n, counted.steps, most))
  end
  same_answer(run(model, list, { max_bytes = one })[120], all[120], "room for one")
  for i = 1, #list, 17 do
    same_answer(run(model, { setmetatable({ trunk = 0 }, { __index = list[i] }) })[i], all[i], "without a trunk")
  end
  ctx:close()
  t.eq(tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)), held)
end)

t.case("going on from a context gives the bits of starting anew, observations included", function()
  local r = rng.new(31)
  local stem = draw(r, 70, model.vocab)
  local texts = {}
  for i, more in ipairs { 1, 5, 63, 64, 130 } do
    texts[i] = {}
    for j = 1, 70 do texts[i][j] = stem[j] end
    for _, id in ipairs(draw(r, more, model.vocab)) do texts[i][#texts[i] + 1] = id end
  end
  for _, needs in ipairs { {}, { queries = true }, { window_queries = 20 }, { window_queries = 100 }, { hidden = true },
    { logits = true }, { last_logits = true } } do
    local base = model:prefill(stem, needs)
    local anew, after = model:prefill_many(texts, needs), model:prefill_many(texts, needs, { from = base })
    base:close()
    for i = 1, #texts do
      for _, what in ipairs { "keys", "values", (needs.queries or needs.window_queries) and "queries",
        needs.hidden and "hidden", (needs.logits or needs.last_logits) and "prefill_logits" } do
        if what then same_bits(after[i][what], anew[i][what], what) end
      end
      same_bits(after[i]:logits(question), anew[i]:logits(question), "logits")
    end
    for i = 1, #texts do anew[i]:close() after[i]:close() end
  end
  local plain, windowed = model:prefill(stem), model:prefill(stem, { window_queries = 5 })
  local function from(base, text, needs) return function() model:prefill_many({ text }, needs, { from = base }) end end
  t.fails(from(plain, texts[1], { queries = true }), "did not observe")
  t.fails(from(windowed, texts[1], { window_queries = 40 }), "did not observe")
  t.fails(from(plain, stem), "70 tokens shared by contexts of 70 and 70")
  t.fails(from(plain, draw(rng.new(77), 90, model.vocab)), "does not begin with the same 70 tokens")
  t.fails(from(plain:evict(random_keep(rng.new(4), plain, .5)), texts[1]), "evicted context")
end)

t.case("a shared beginning leaves a question a token of its own", function()
  local ctx, batch = model:prefill(some), model:batch {}
  for _, trunk in ipairs { #question, #question + 5, -1 } do
    t.fails(function() batch:add { ctx = ctx, ids = question, trunk = trunk, max_new_tokens = 1 } end,
      ("trunk is %%-?%d, expected 0 to %d"):format(math.abs(trunk), #question - 1))
  end
  batch:close()
  ctx:close()
end)

t.case("row buckets are few and ascending, and padding is counted", function()
  t.eq(model.buckets[#model.buckets], model.device:find "cuda" and 8192 or 512)
  for i = 2, #model.buckets do t.ok(model.buckets[i] > model.buckets[i - 1]) end
  local ctx = model:prefill(some)
  local _, count = run(model, { { ctx = ctx, ids = question, max_new_tokens = 2, ignore_stop = true, tag = 1 } })
  t.eq(count.rows, #question + 1)
  t.eq(count.steps, 2)
  t.eq(count.padded, 2 * model.buckets[1])
  ctx:close()
end)

t.case("the CPU agrees with the scalar reference", function()
  for _, family in ipairs(engine.families) do
    local fast, slow = kv.model.load(folder(family), { dtype = "f32" }), kv.model.load(folder(family),
      { device = "ref", dtype = "f32" })
    local a, b = fast:prefill(some, { logits = true }), slow:prefill(some, { logits = true })
    t.ok(distance(a.prefill_logits, b.prefill_logits) < 1e-5, family .. ": prefill")
    local keep = random_keep(rng.new(13), a, .6)
    t.ok(distance(a:logits(question, { keep = keep }), b:logits(question, { keep = keep })) < 1e-5,
      family .. ": after eviction")
    t.ok(distance(a:evict(keep):logits(question), b:evict(keep):logits(question)) < 1e-5, family .. ": evicted")
    fast:close()
    slow:close()
  end
end)

t.case("the largest passage and the last position fit", function()
  local ids = draw(rng.new(17), 1020, model.vocab)
  local ctx = model:prefill(ids)
  t.eq(#ctx:generate({ 9 }, { max_new_tokens = 3, ignore_stop = true }).ids, 3)
  t.fails(function() ctx:generate({ 9 }, { max_new_tokens = 4 }) end, "exceed the model's 1024 positions")
  ctx:close()
end)

model:close()
