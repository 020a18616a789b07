-- SPDX-License-Identifier: Apache-2.0
-- Eviction while answers are written. Tokens and margins are judged by the stored references (tests/golden); here is
-- what must hold besides: many questions at once, budgets, accumulated attention, what is refused.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local attention = require "kvbench.attention"
local paths = require "kvbench.paths"
local tensor = require "kvbench.tensor"
local C = require("kvbench.ffi").C

local model = kv.model.load(paths.at "tests/golden/models/llama", { dtype = "f32" })
local ids = {}
for i = 1, 60 do ids[i] = 3 + i * 37 % 120 end
local all = { queries = true }

local function ask(ctx, keep, question, n)
  return ctx:generate(question, { keep = keep, max_new_tokens = n or 20, ignore_stop = true })
end

local presses = {
  kv.press("decoding", { of = "knorm", compression_interval = 3, target_size = 20 }),
  kv.press("decoding", { of = "adakv", compression_interval = 2 }),
  kv.press("decoding", { of = { press = "snapkv", window_size = 6 }, compression_interval = 4 }),
  kv.press("decoding", { of = "heavy_hitters", compression_interval = 1 }),
  kv.press("decoding", { of = { press = "adakv", of = "heavy_hitters" }, compression_interval = 3 }),
  kv.press("decoding", { of = { press = "criticalkv", of = "tova" }, compression_interval = 5 }),
  kv.press("ratio_decoding", { of = "keydiff", compression_interval = 4 }),
  kv.press("prefill_decoding", { prefilling_press = "ea", decoding_press = { press = "decoding", of = "ea",
    compression_interval = 3 } }),
  kv.press("prefill_decoding", { prefilling_press = { press = "key_rerotation", of = "knorm" }, decoding_press = {
    press = "decoding", of = "heavy_hitters", compression_interval = 2, target_size = 15 } }),
  kv.press("cam", { of = "keydiff", compression_interval = 3, merge_budget = 4 }),
  kv.press("dms", { of = "knorm", threshold = -6, sliding_window_size = 9, decoding = true }),
}

t.case("many questions in flight, under many decoding presses, answer as each alone", function()
  local ctx, batch, alone = model:prefill(ids, kv.press.needs(presses)), model:batch(), {}
  for p, press in ipairs(presses) do
    for i, keep in ipairs(press:keeps(ctx, { 0.5, 0.8 })) do
      for q = 1, 3 do
        local question, tag = { q * 11, 50 + q, 9 }, ("%d/%d/%d"):format(p, i, q)
        alone[tag] = ask(ctx, keep, question)
        batch:add { ctx = ctx, keep = keep, ids = question, max_new_tokens = 20, ignore_stop = true, tag = tag }
      end
    end
  end
  local full = ask(ctx, nil, { 11, 51, 9 })
  batch:add { ctx = ctx, ids = { 11, 51, 9 }, max_new_tokens = 20, ignore_stop = true, tag = "full" }
  ctx:close() -- the continuations keep what they need
  local n = 0
  for _, result in ipairs(batch:run()) do
    local expected = alone[result.tag] or full
    t.eq(result.ids, expected.ids, result.tag)
    t.eq(result.margins, expected.margins, result.tag)
    n = n + 1
  end
  t.eq(n, #presses * 6 + 1)
end)

-- The masks that a press decides on, pause by pause: count tokens per head.
local function watch(press, ratio, question, n)
  local decoding = require "kvbench.press_decoding"
  local original, seen = decoding.compress, {}
  decoding.compress = function(state, own, capacity)
    local keep, own_keep, pause = original(state, own, capacity)
    local len = own.keys:size(3)
    local counts = {}
    for l = 0, keep.layers - 1 do
      for h = 0, keep.kv_heads - 1 do counts[#counts + 1] = keep:count(l, h) + own_keep:count(l, h, 0, len) end
    end
    seen[#seen + 1] = { own = len, counts = counts, keep = keep, own_keep = own_keep, mass = state.mass }
    return keep, own_keep, pause
  end
  local ctx = model:prefill(ids, all)
  local ok, result = pcall(ask, ctx, press:keep(ctx, ratio), question, n)
  decoding.compress = original
  if not ok then error(result, 0) end
  return seen, result
end

t.case("decoding: cuts after every interval, to the budget, never growing beyond budget + interval", function()
  local seen = watch(presses[1], 0.5, { 7, 100, 31, 5 }, 14)
  t.eq(#seen, 4) -- 14 steps (the question is one), the last token of the answer is never fed
  for i, cut in ipairs(seen) do
    t.eq(cut.own, 4 + 3 * i - 1)
    for _, count in ipairs(cut.counts) do t.eq(count, 20) end
  end
  for i = 2, #seen do -- what is gone stays gone
    t.eq(seen[i].keep:overlap(seen[i - 1].keep), seen[i].keep:total())
  end
end)

t.case("decoding: a budget from the ratio, a growing one, and AdaKV's shared one", function()
  local seen = watch(kv.press("decoding", { of = "knorm", compression_interval = 4 }), 0.75, { 7 }, 10)
  t.eq(seen[1].counts, { 15, 15, 15, 15 })
  seen = watch(kv.press("ratio_decoding", { of = "knorm", compression_interval = 4 }), 0.5, { 7 }, 14)
  for _, cut in ipairs(seen) do t.eq(cut.counts[1], math.floor((60 + cut.own) / 2)) end
  seen = watch(kv.press("decoding", { of = { press = "adakv", of = "keydiff" }, compression_interval = 3,
    target_size = 16 }), 0.5, { 7 }, 14)
  local uneven = false
  for _, cut in ipairs(seen) do
    t.eq({ cut.counts[1] + cut.counts[2], cut.counts[3] + cut.counts[4] }, { 32, 32 })
    uneven = uneven or cut.counts[1] ~= 16
  end
  t.ok(uneven, "heads hold different numbers")
end)

t.case("a question no smaller than the budget is cut at once, as in the reference", function()
  local question = {}
  for i = 1, 12 do question[i] = 5 + i end
  local seen = watch(kv.press("decoding", { of = "knorm", target_size = 10 }), 0.5, question, 5)
  t.eq({ #seen, seen[1].own }, { 1, 12 })
end)

t.case("nothing to cut: the bits of the full cache", function()
  local ctx = model:prefill(ids)
  local press = kv.press("decoding", { of = "knorm", compression_interval = 2, target_size = 1000 })
  local a, b = ask(ctx, press:keep(ctx, 0.5), { 7, 8 }), ask(ctx, nil, { 7, 8 })
  t.eq(a.ids, b.ids)
  t.eq(a.margins, b.margins)
end)

-- ---- H2O ----

-- Attention of every query of ids to every key it sees, by the tensors of a prefill: sums over queries
-- [layers][kv_heads][n].
local function attention_sums(ctx, n)
  local cos, sin = ctx:rope(0, n)
  local q = ctx.queries:narrow(3, 1, n):rope(cos, sin):split_heads(ctx.group_size)
  local logits = q:matmul(ctx.keys:narrow(3, 1, n):unsqueeze(3):transpose()) / math.sqrt(ctx.head_dim)
  return (logits + tensor.causal_mask(n, n):to(ctx.device)):softmax(-1):sum(4):mean(3)
end

t.case("accumulated attention equals the sums over the whole attention matrix", function()
  local ctx = model:prefill(ids, all)
  t.ok((attention.received(ctx, 60, 1 / ctx.group_size) - attention_sums(ctx, 60)):abs():max() < 1e-4)
  local parts = attention.received(ctx, 17, 1 / ctx.group_size) + attention_sums(ctx, 43):pad(0, 17)
  t.ok((parts - attention_sums(ctx, 60)):abs():max() < 1e-4, "stretches add up")
end)

t.case("heavy_hitters goes on counting while it decodes", function()
  -- nothing is evicted, so the sums must be those of one prefill of context, question and answer
  local press = kv.press("decoding", { of = "heavy_hitters", compression_interval = 3, target_size = 500 })
  local seen, result = watch(press, 0.5, { 7, 100 }, 9)
  local both = {}
  for i = 1, 60 do both[i] = ids[i] end
  both[61], both[62] = 7, 100
  for i = 1, 8 do both[62 + i] = result.ids[i] end
  local expected = attention_sums(model:prefill(both, all), 60 + seen[#seen].own)
  t.ok((seen[#seen].mass - expected):abs():max() < 1e-3)
end)

t.case("heavy_hitters: half of the budget is the most recent tokens", function()
  local ctx = model:prefill(ids, all)
  local keep = kv.press("heavy_hitters"):keep(ctx, 0.8)
  t.eq({ keep:count(0, 0), keep:count(0, 0, 55, 60) }, { 11, 5 }) -- 60 (1 - .8) is 11.99.. in double
  t.eq(kv.press("heavy_hitters", { recent_ratio = 1 }):keep(ctx, 0.5):count(1, 1, 30, 60), 30)
end)

-- ---- masks of a sequence's own tokens ----

local function answer_with_own_mask(own_keep_of)
  local ctx = model:prefill(ids)
  local out = ffi.new "kvb_batch *[1]"
  local lib = require "kvbench.ffi"
  lib.check(C.kvb_batch_new(model:pointer(), nil, 0, 0, out))
  local batch = ffi.gc(out[0], C.kvb_batch_free)
  local question = ffi.new("int32_t[3]", 7, 8, 9)
  local r, paused, pending = ffi.new "kvb_request", ffi.new "kvb_paused", ffi.new "int32_t[1]"
  r.ctx, r.ids, r.n, r.position, r.max_new, r.flags, r.pause_after, r.tag = ctx:pointer(), question, 3, -1, 8,
    C.KVB_IGNORE_STOP, own_keep_of and 1 or 0, 5
  lib.check(C.kvb_batch_add(batch, r))
  repeat
    lib.check(C.kvb_batch_step(batch, pending))
    while C.kvb_batch_paused(batch, paused) == 1 do
      t.eq({ tonumber(paused.tag), paused.own_tokens, paused.position, paused.question }, { 5, 3, 60, 3 })
      local own = own_keep_of(paused.capacity)
      lib.check(C.kvb_batch_resume(batch, 5, nil, nil, own and own.handle, 0))
      t.eq(C.kvb_batch_resume(batch, 5, nil, nil, nil, 0), C.KVB_E_ARG, "it does not stand still any more")
    end
  until pending[0] == 0
  local result = ffi.new "kvb_result"
  t.eq(C.kvb_batch_next(batch, result), 1)
  local tokens, margins = {}, {}
  for i = 1, result.n do tokens[i], margins[i] = result.ids[i - 1], result.margins[i - 1] end
  return tokens, margins
end

t.case("own masks: none and all ones give the same bits; an evicted own key changes them", function()
  local tokens, margins = answer_with_own_mask(nil)
  for _, own in ipairs { function() return nil end, function(n) return keepset.all(2, 2, n) end } do
    local a, b = answer_with_own_mask(own)
    t.eq(a, tokens)
    t.eq(b, margins)
  end
  local _, changed = answer_with_own_mask(function(n) return keepset.all(2, 2, n):set(nil, nil, 1, 2, false) end)
  t.eq(changed[1], margins[1], "the first token came before")
  t.ok(changed[2] ~= margins[2])
end)

t.case("cam: evicted values go into what follows, and only there", function()
  local cam = kv.press("cam", { of = { name = "first", score = function(_, c)
    return tensor.from({ 1, 9, 8, 2, 7 }):expand(c.layers, c.kv_heads, 5)
  end }, merge_budget = 2, sampling = false, target_size = 3 })
  local values = tensor.from { { { { 1 }, { 10 }, { 100 }, { 1000 }, { 10000 } } } }
  local part = { layers = 1, layer_first = 0, heads = 1, kv_heads = 1, tokens = 5, head_dim = 1, values = values,
    keys = values,
    ids = { 1, 2, 3, 4, 5 } }
  local function merged(received, steps) return cam.rule.merge(cam, part, tensor.from { { received } }, 3, steps,
    "x") end
  local bits, out = merged({ .5, .5, .5, .5, .5 }, 2)
  t.eq(bits:tolua()[1][1], { 0, 1, 1, 0, 1 })
  -- token 0 goes in halves to 1 and 2, token 3 whole to 4, the only one that follows
  t.eq(out:reshape(5):tolua(), { 1, 10.5, 100.5, 1000, 11000 })
  local _, one = merged({ .5, .5, .5, .5, .5 }, 1) -- one step, one merge: the better of the evicted
  t.eq(one:reshape(5):tolua(), { 1, 10, 100, 1000, 11000 })
  local _, none = merged({ .1, .5, .5, .2, .5 }, 2) -- received less than half of what follows did
  t.eq(none:reshape(5):tolua(), { 1, 10, 100, 1000, 10000 })
end)

t.case("the CPU agrees with the scalar reference while it evicts", function()
  local slow = kv.model.load(paths.at "tests/golden/models/llama", { device = "ref", dtype = "f32" })
  for _, press in ipairs { presses[1], presses[4] } do
    local answers = {}
    for i, m in ipairs { model, slow } do
      local ctx = m:prefill(ids, press.needs)
      answers[i] = ask(ctx, press:keep(ctx, 0.6), { 7, 8, 9 }, 12)
    end
    t.eq(answers[1].ids, answers[2].ids)
    for i = 1, 12 do t.near(answers[1].margins[i], answers[2].margins[i], 1e-3) end
  end
end)

-- ---- refusals ----

t.case("what cannot decode is refused with a reason", function()
  t.fails(function() kv.press("adakv", { of = "decoding" }) end, "'decoding' decides by itself")
  t.fails(function() kv.press("decoding", { of = "decoding" }) end, "'decoding' is a decoding press itself")
  t.fails(function() kv.press("decoding", { of = "chunkkv" }) end, "'chunkkv' decides by itself what is kept")
  t.fails(function() kv.press("decoding", { of = "key_rerotation" }) end, "changes keys or values")
  t.fails(function() kv.press("decoding", { of = "observed_attention" }) end, "heavy_hitters, which accumulates")
  t.fails(function() kv.press("decoding", { of = { press = "ea", n_sink = 4 }, target_size = 4 }) end,
    "a budget of 4 tokens is under the 4 sinks that 'ea' always keeps %-> at least 5")
  t.fails(function() kv.press("cam", { of = "adakv" }) end, "press 'cam': 'adakv' decides by itself")
  t.fails(function() kv.press("cam", { of = { press = "streaming_llm" }, target_size = 3 }) end, "under the 4 sinks")
  t.fails(function() kv.press("decoding", { compression_interval = 0 }) end, "at least 1")
  t.fails(function() kv.press("prefill_decoding", { decoding_press = "knorm" }) end,
    "'knorm' does not evict while decoding")
  t.fails(function() kv.press("prefill_decoding", { prefilling_press = "decoding" }) end, "is a decoding press")
  t.fails(function() kv.press("composed", { of = { "knorm", "observed_attention" } }) end, "put it first")
  local ctx = model:prefill(ids, all)
  local keep = kv.press("decoding", { of = "ea" }):keep(ctx, 0.95)
  t.fails(function() ask(ctx, keep, { 7 }) end, "a budget of 3 tokens is under the 4 sinks")
  local press = presses[1]
  t.fails(function() ctx:evict(press:keep(ctx, 0.5)) end, "evicts while an answer is written")
  t.eq(kv.press("prefill_decoding"):keep(ctx, 0.5).notes, { "neither a prefilling_press nor a decoding_press: nothing "
    .. "is evicted" })
end)

t.case("hashes: a decoding press's set is not the full set", function()
  local ctx = model:prefill(ids)
  local a = kv.press("decoding", { of = "knorm" }):keep(ctx, 0.5)
  t.ok(a:hash() ~= keepset.all(2, 2, 60):hash())
  t.ok(a:hash() ~= kv.press("decoding", { of = "knorm" }):keep(ctx, 0.6):hash())
end)

t.case("any allocation may fail while it decodes: an error, and the next try works", function()
  local ctx, press = model:prefill(ids, all), presses[4]
  local keep = press:keep(ctx, 0.5)
  local expected = ask(ctx, keep, { 7, 8 }, 4)
  local n, ok, failures = 0, nil, 0
  repeat
    n = n + 7
    local result
    C.kvb_memory_fail_nth(n)
    ok, result = pcall(ask, ctx, keep, { 7, 8 }, 4)
    C.kvb_memory_fail_nth(0)
    if ok then t.eq(result.ids, expected.ids) else
      failures = failures + 1
      t.ok(tostring(result):find "out of memory", result)
    end
  until n > 700
  t.ok(failures > 3, "some must come through")
end)

t.case("an error inside a press stops the step, and again at the next", function()
  local ctx = model:prefill(ids)
  local press = kv.press("decoding", { compression_interval = 1, target_size = 9, of = { name = "broken",
    score = function() error("no score today", 0) end } })
  local batch = model:batch()
  batch:add { ctx = ctx, keep = press:keep(ctx, 0.5), ids = { 7 }, max_new_tokens = 5 }
  for _ = 1, 2 do
    t.fails(function() -- a GPU runs a step behind: the sequence stands still once its step is back
      batch:step()
      batch:step()
    end, "no score today")
  end
  batch:close()
end)

t.case("a hundred answers end at the bytes they began with; a batch closed midway too", function()
  local ctx, press = model:prefill(ids, all), presses[4]
  local keep = press:keep(ctx, 0.5)
  ask(ctx, keep, { 7, 8 })
  collectgarbage() collectgarbage()
  local before, tensors = C.kvb_memory_bytes(C.KVB_MEM_CACHE), tensor.bytes()
  for _ = 1, 100 do ask(ctx, keep, { 7, 8 }, 4) end
  local batch = model:batch()
  batch:add { ctx = ctx, keep = keep, ids = { 7, 8 }, max_new_tokens = 10 }
  batch:step()
  batch:close()
  collectgarbage() collectgarbage()
  t.ok(C.kvb_memory_bytes(C.KVB_MEM_CACHE) <= before, "cache bytes")
  t.ok(tensor.bytes() <= tensors, ("tensor bytes: %d, then %d"):format(tensors, tensor.bytes()))
end)

t.case("tokens that may not be evicted stay while decoding, and count against the budget", function()
  for _, press in ipairs {
    kv.press("decoding", { of = "knorm", compression_interval = 3 }),
    kv.press("decoding", { of = { press = "adakv", of = "keydiff" }, compression_interval = 3 }),
    kv.press("ratio_decoding", { of = "tova", compression_interval = 2 }),
  } do
    local ctx = model:prefill(ids, all)
    local keep = press:keep(ctx, 0.8, { evictable = { 10, 50 } }) -- 20 stay, and 7 of the other 40 (floor in double)
    local batch = model:batch()
    batch:add { ctx = ctx, keep = keep, ids = { 7, 9 }, max_new_tokens = 12, ignore_stop = true }
    local decoding, seen = require "kvbench.press_decoding", 0
    local original = decoding.compress
    decoding.compress = function(state, own, capacity)
      local left, mine, pause, changed = original(state, own, capacity)
      seen = seen + 1
      for l = 0, 1 do
        for h = 0, 1 do
          t.eq(left:count(l, h, 0, 10) + left:count(l, h, 50, 60), 20, press:label())
        end
      end
      t.ok(left:count(0, 0, 10, 50) < 40, "others go")
      return left, mine, pause, changed
    end
    local ok, results = pcall(batch.run, batch)
    decoding.compress = original
    if not ok then error(results, 0) end
    local left = results[1].decoding
    t.eq(left.cuts, seen)
    t.ok(seen > 2 and #left.kept == ctx.layers and #left.kept[1] == ctx.kv_heads)
    if press.name == "decoding" then t.eq(left.kept[1][1] + left.kept[1][2], 2 * 27, press:label()) end
    t.ok(left.context_kept[1][1] >= 20 and left.context_kept[1][1] <= left.kept[1][1])
  end
  local ctx = model:prefill(ids)
  local tight = kv.press("decoding", { of = "knorm", target_size = 20 })
  t.fails(function() ask(ctx, tight:keep(ctx, 0.5, { evictable = { 10, 50 } }), { 7 }) end,
    "a budget of 20 tokens is under the 20 that may not be evicted %-> at least 21")
end)
