-- SPDX-License-Identifier: Apache-2.0
-- Properties of the engine, to the bit, on tiny stored models: what must not change an answer (order, company, memory, keep-sets
-- that are equal, the row buckets), what must agree within a tolerance (eviction and its mask, this CPU and the reference),
-- what a failure may leave behind (nothing), and what a wrong request is told.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"
local C = require("kvbench.ffi").C

local TIERS = { "scalar", "avx2", "avx512" }
local FAMILIES = { "llama", "llama_mha", "qwen2", "qwen3", "mistral" }
local NEW = 6
local function folder(family) return paths.at("tests/golden/models/" .. family) end

local function draw(r, n, vocab)
  local ids = {}
  for i = 1, n do ids[i] = r:int(3, vocab - 1) end
  return ids
end

-- ---- comparing bits ----

local function bits(x)
  local host = x:cpu():contiguous()
  return ffi.string(host.data, x:numel() * 4)
end

local function same_bits(a, b, what)
  t.ok(bits(a) == bits(b), (what or "logits") .. " differ in their bits")
end

local function same_answer(a, b, what)
  t.eq(a.ids, b.ids, what)
  t.eq(a.margins, b.margins, what)
  t.eq(a.stop, b.stop, what)
  if a.logits or b.logits then same_bits(a.logits, b.logits, what) end
end

-- The largest difference relative to the largest value.
local function distance(a, b)
  a, b = a:cpu():contiguous(), b:cpu():contiguous()
  local x, y = ffi.cast("float *", a.data), ffi.cast("float *", b.data)
  local worst, largest = 0, 1e-30
  for i = 0, a:size(1) * a:size(2) - 1 do
    local d = math.abs(x[i] - y[i])
    if not (d <= worst) then worst = d end
    largest = math.max(largest, math.abs(y[i]))
  end
  return worst / largest
end

-- ---- things to ask ----

-- Evicts about this share of every head, but never all of it; share 1 leaves one token a head.
local function random_keep(r, ctx, share)
  local keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  if share <= 0 then return keep end
  for l = 0, ctx.layers - 1 do
    for h = 0, ctx.kv_heads - 1 do
      local survivor = r:int(0, ctx.tokens - 1)
      for token = 0, ctx.tokens - 1 do
        if token ~= survivor and r:uniform() < share then keep:set(l, h, token, token + 1, false) end
      end
    end
  end
  return keep
end

-- One head keeps a single token, all others everything.
local function one_token(ctx, layer, head, token)
  local keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  return keep:set(layer, head, 0, ctx.tokens, false):set(layer, head, token, token + 1, true)
end

-- Requests over several contexts: with and without keep-sets, 1 to 20 question tokens, different lengths of answers.
local function requests(model, contexts, n, seed)
  local r, list = rng.new(seed), {}
  for i = 1, n do
    local ctx = contexts[r:int(1, #contexts)]
    ctx.sets = ctx.sets or { random_keep(r, ctx, .3), random_keep(r, ctx, .9), one_token(ctx, 0, 0, 0) }
    list[i] = { ctx = ctx, ids = draw(r, r:int(1, 20), model.vocab), keep = ctx.sets[r:int(0, 3)], max_new_tokens = r:int(1, NEW),
      ignore_stop = r:uniform() < .5, logits = r:uniform() < .5, tag = i }
  end
  return list
end

local function run(model, list, opts, order)
  local batch, out = model:batch(opts), {}
  for i = 1, #list do batch:add(list[order and order[i] or i]) end
  for _, result in ipairs(batch:run()) do out[result.tag] = result end
  local rows, padded, steps = batch:rows()
  batch:close()
  return out, { rows = rows, padded = padded, steps = steps }
end

local function one_by_one(model, list)
  local out = {}
  for i = 1, #list do out[i] = run(model, { list[i] })[list[i].tag] end
  return out
end

-- ---- the properties of one model ----

local function passages(model, seed)
  local r = rng.new(seed)
  return { draw(r, 70, model.vocab), draw(r, 1, model.vocab), draw(r, 64, model.vocab), draw(r, 129, model.vocab) }
end

local function properties(label, model)
  local texts = passages(model, label)
  local contexts = model:prefill_many(texts, { logits = true, hidden = true, queries = true })
  local function case(name, fn) t.case(label .. ": " .. name, fn) end

  case("prefilling many passages gives the bits of prefilling each alone", function()
    for i, ids in ipairs(texts) do
      local alone = model:prefill(ids, { logits = true, hidden = true, queries = true })
      same_bits(alone.prefill_logits, contexts[i].prefill_logits, "logits of passage " .. i)
      for _, name in ipairs { "keys", "values", "hidden", "queries" } do
        local a, b = alone[name]:cpu():contiguous(), contexts[i][name]:cpu():contiguous()
        local n = 4
        for d = 1, a.ndim do n = n * a:size(d) end
        t.ok(ffi.string(a.data, n) == ffi.string(b.data, n), name .. " of passage " .. i .. " differ")
      end
      alone:close()
    end
  end)

  case("an answer depends neither on order nor on company nor on memory", function()
    local list = requests(model, contexts, 60, label .. "/60")
    local alone = one_by_one(model, list)
    local order, shuffled = {}, {}
    for i = 1, #list do order[i], shuffled[i] = #list + 1 - i, i end
    rng.new(3):shuffle(shuffled)
    local all, count = run(model, list)
    t.ok(count.rows > 512 and count.steps > 1, "the questions do not fill more than one step")
    for name, other in pairs { all = all, reversed = run(model, list, nil, order), shuffled = run(model, list, nil, shuffled),
      ["one at a time"] = run(model, list, { max_bytes = 1 }), ["few at a time"] = run(model, list, { max_bytes = 300000 }) } do
      for i = 1, #list do same_answer(other[i], alone[i], name .. ", request " .. i) end
    end
    local seven = {}
    for i = 1, 7 do seven[i] = list[i] end
    for i, result in ipairs(run(model, seven)) do same_answer(result, alone[i], "seven in flight, request " .. i) end
  end)

  case("a keep-set that keeps everything is no keep-set; equal sets give equal bits", function()
    local ctx, ids = contexts[1], draw(rng.new(4), 9, model.vocab)
    local full = ctx:logits(ids)
    same_bits(ctx:logits(ids, { keep = kv.press("knorm"):keep(ctx, 0) }), full, "ratio 0")
    same_bits(ctx:logits(ids, { keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens) }), full, "all kept")
    local keep = kv.press("knorm"):keep(ctx, .5)
    local twin = keepset.from_bits(keep:bits())
    t.eq(keep:hash(), twin:hash())
    t.ok(keep.handle ~= twin.handle)
    same_bits(ctx:logits(ids, { keep = keep }), ctx:logits(ids, { keep = twin }), "equal sets")
    local mine = kv.press { name = "mine", score = function(_, c) return -c.keys:norm(-1) end }
    same_bits(ctx:logits(ids, { keep = mine:keep(ctx, .5) }), ctx:logits(ids, { keep = keep }), "two presses")
    t.ok(bits(full) ~= bits(ctx:logits(ids, { keep = keep })), "eviction changed nothing: the test sees nothing")
  end)

  case("a question split over steps has the bits of one that is not", function()
    local ctx, r = contexts[1], rng.new(5)
    local list = {}
    for i = 1, 3 do list[i] = { ctx = ctx, ids = draw(r, 300, model.vocab), max_new_tokens = 2, ignore_stop = true, logits = true, tag = i } end
    local together, count = run(model, list)
    t.eq(count.rows, 3 * 301)
    for i = 1, 3 do same_answer(together[i], run(model, { list[i] })[i], "question " .. i) end
  end)

  case("appending at once equals appending token by token", function()
    local ctx, ids = contexts[1], draw(rng.new(6), 40, model.vocab)
    local keep = ctx.sets and ctx.sets[2] or random_keep(rng.new(7), ctx, .6)
    local logits = ctx:logits(ids, { keep = keep })
    for _, n in ipairs { 1, 2, 16, 17, 39, 40 } do -- causal: what comes later does not matter
      local head = {}
      for i = 1, n do head[i] = ids[i] end
      same_bits(ctx:logits(head, { keep = keep }), logits:narrow(1, 1, n), "the first " .. n)
    end
    -- decoding appends its own tokens one by one: teacher-forced, they have the same logits
    local answer = ctx:generate(ids, { keep = keep, max_new_tokens = 8, ignore_stop = true })
    local all = { unpack(ids) }
    for i = 1, 7 do all[#all + 1] = answer.ids[i] end
    local forced = ctx:logits(all, { keep = keep })
    for i = 1, 8 do
      local row = forced:select(1, #ids - 1 + i):cpu():contiguous()
      local best, second, at = -math.huge, -math.huge, nil
      local x = ffi.cast("float *", row.data)
      for id = 0, model.vocab - 1 do
        if x[id] > best then best, second, at = x[id], best, id elseif x[id] > second then second = x[id] end
      end
      t.eq(at, answer.ids[i], "token " .. i)
      t.eq(answer.margins[i], tonumber(ffi.new("float", best - second)), "margin " .. i)
    end
  end)

  case("asking after a passage agrees with prefilling both", function()
    local head, tail = texts[1], draw(rng.new(8), 30, model.vocab)
    local all = { unpack(head) }
    for _, id in ipairs(tail) do all[#all + 1] = id end
    local whole = model:prefill(all, { logits = true })
    local d = distance(contexts[1]:logits(tail), whole.prefill_logits:narrow(1, #head + 1, #tail))
    t.ok(d < (model.dtype == "f32" and 1e-5 or 3e-2), ("differ by %.3g"):format(d))
    whole:close()
  end)

  case("an evicted context agrees with its mask", function()
    local ctx, r = contexts[4], rng.new(9)
    local ids = draw(r, 12, model.vocab)
    for _, share in ipairs { .1, .5, .9, 1 } do
      local keep = random_keep(r, ctx, share)
      if share == .5 then keep:set(1, 0, 0, ctx.tokens, false):set(1, 0, 77, 78, true) end
      local evicted = ctx:evict(keep)
      t.ok(evicted.ragged and not ctx.ragged)
      t.eq(evicted.tokens, ctx.tokens)
      local d = distance(evicted:logits(ids), ctx:logits(ids, { keep = keep }))
      t.ok(d < (model.dtype == "f32" and 1e-4 or 5e-2), ("share %g: differ by %.3g"):format(share, d))
      if share >= .9 then t.ok(evicted:bytes() < ctx:bytes(), "no bytes were freed") end
      for l = 0, ctx.layers - 1 do
        for h = 0, ctx.kv_heads - 1 do
          local keys, values, positions = evicted:head(l, h)
          local all_keys, all_values, all_positions = ctx:head(l, h)
          t.eq(#positions, keep:count(l, h))
          t.eq(#all_positions, ctx.tokens)
          for i, p in ipairs(positions) do
            t.ok(keep:kept(l, h, p) and p > (positions[i - 1] or -1))
            t.eq(keys[i][1]:item(), all_keys[p + 1][1]:item())
            t.eq(values[i][model.head_dim]:item(), all_values[p + 1][model.head_dim]:item())
          end
        end
      end
      evicted:close()
    end
    local whole = ctx:evict(keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens))
    t.eq(whole:bytes(), ctx:bytes())
    same_bits(whole:logits(ids), ctx:logits(ids), "nothing evicted")
    whole:close()
  end)

  case("positions, stop tokens and lengths", function()
    local ctx, ids = contexts[1], draw(rng.new(10), 5, model.vocab)
    same_bits(ctx:logits(ids, { position = ctx.tokens }), ctx:logits(ids), "the default position")
    t.ok(distance(ctx:logits(ids, { position = ctx.tokens + 9 }), ctx:logits(ids)) > 1e-6, "the position does nothing")
    local one = model:prefill { 7 } -- the first position of an empty past is the same wherever it stands: only differences count
    t.ok(distance(one:logits(ids, { position = 1 }), one:logits(ids)) == 0)
    one:close()
    local free = ctx:generate(ids, { max_new_tokens = 8, ignore_stop = true })
    t.eq(#free.ids, 8)
    t.eq(free.stop, "length")
    for _, n in ipairs { 1, 3 } do
      local short = ctx:generate(ids, { max_new_tokens = n, ignore_stop = true })
      t.eq(#short.ids, n)
      for i = 1, n do t.eq(short.ids[i], free.ids[i]) end
    end
    local stop = free.ids[3]
    local function stopped(ignore)
      return run(model, { { ctx = ctx, ids = ids, max_new_tokens = 8, ignore_stop = ignore, tag = 1 } }, { stop_ids = { 126, stop } })[1]
    end
    local first = 1
    while free.ids[first] ~= stop do first = first + 1 end
    t.eq(#stopped(false).ids, first)
    t.eq(stopped(false).stop, "token")
    t.eq(stopped(false).ids[first], stop)
    t.eq(stopped(true).ids, free.ids)
    t.eq(stopped(true).stop, "length")
    local both = run(model, { { ctx = ctx, ids = ids, max_new_tokens = 8, ignore_stop = true, logits = true, tag = 1 } })[1]
    t.eq(both.ids, free.ids)
    same_bits(both.logits, ctx:logits(ids), "logits beside an answer")
  end)

  for _, ctx in ipairs(contexts) do ctx:close() end
end

-- ---- in a child process of the last cases below: the same properties on a lower instruction set ----

-- What a lower instruction set must reproduce: tokens, not bits.
local function greedy_ids()
  local lines = {}
  for _, family in ipairs(FAMILIES) do
    local m = kv.model.load(folder(family), { dtype = "f32" })
    local r = rng.new "passage"
    local ctx, question = m:prefill(draw(r, 50, m.vocab)), draw(r, 6, m.vocab)
    for _, share in ipairs { 0, .8 } do
      local keep = random_keep(rng.new(18), ctx, share)
      lines[#lines + 1] = family .. " " .. table.concat(ctx:generate(question, { keep = keep, max_new_tokens = 12, ignore_stop = true }).ids, " ")
    end
    m:close()
  end
  return table.concat(lines, "\n")
end

if arg and arg[1] == "--greedy" then
  local m = kv.model.load(folder "llama", { dtype = "f32" })
  properties("llama f32 " .. ffi.string(C.kvb_cpu_tier()), m)
  m:close()
  io.stdout:write("tier ", ffi.string(C.kvb_cpu_tier()), "\n", greedy_ids(), "\n")
  os.exit(t.failed)
end

local engines = {}
for _, family in ipairs(FAMILIES) do engines[#engines + 1] = { family, "f32" } end
if ffi.string(C.kvb_cpu_tier()) == "amx-bf16" then
  engines[#engines + 1] = { "llama", "bf16" }
  engines[#engines + 1] = { "qwen3", "bf16" }
else
  t.skip("bf16", "this CPU has no bf16 matrix units")
end
for _, e in ipairs(engines) do
  local model = kv.model.load(folder(e[1]), { dtype = e[2] })
  properties(e[1] .. " " .. e[2], model)
  model:close()
end

-- ---- one model from here on ----

local model = kv.model.load(folder "llama", { dtype = "f32" })
local some = draw(rng.new "passage", 50, model.vocab)
local question = draw(rng.new "question", 6, model.vocab)

t.case("600 continuations in flight", function()
  local ctx, r, list = model:prefill(some), rng.new(12), {}
  for i = 1, 600 do list[i] = { ctx = ctx, ids = draw(r, 1 + i % 3, model.vocab), max_new_tokens = 3, ignore_stop = true, tag = i } end
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
        local request = { ctx = ctx, keep = keep, ids = ids, max_new_tokens = 1 + q % 4, ignore_stop = true, tag = #plain + 1 }
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
  for _, family in ipairs(FAMILIES) do
    local fast, slow = kv.model.load(folder(family), { dtype = "f32" }), kv.model.load(folder(family), { device = "ref", dtype = "f32" })
    local a, b = fast:prefill(some, { logits = true }), slow:prefill(some, { logits = true })
    t.ok(distance(a.prefill_logits, b.prefill_logits) < 1e-5, family .. ": prefill")
    local keep = random_keep(rng.new(13), a, .6)
    t.ok(distance(a:logits(question, { keep = keep }), b:logits(question, { keep = keep })) < 1e-5, family .. ": after eviction")
    t.ok(distance(a:evict(keep):logits(question), b:evict(keep):logits(question)) < 1e-5, family .. ": evicted")
    fast:close()
    slow:close()
  end
end)

t.case("contexts closed while continuations are in flight live until they end", function()
  local ctx = model:prefill(some)
  local keep = random_keep(rng.new(14), ctx, .5)
  local expected = ctx:generate(question, { keep = keep, max_new_tokens = NEW, ignore_stop = true })
  local batch = model:batch()
  batch:add { ctx = ctx, ids = question, keep = keep, max_new_tokens = NEW, ignore_stop = true }
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
  local expected = ctx:generate(question, { max_new_tokens = NEW, ignore_stop = true })
  for _, after in ipairs { 0, 1, 3 } do
    local batch = model:batch()
    batch:add { ctx = ctx, ids = question, max_new_tokens = NEW, ignore_stop = true }
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
  says(function() ctx:generate(question, { max_new_tokens = 1000 }) end, "context 50 %+ question 6 %+ 1000 new tokens exceed the model's 1024")
  says(function() ctx:generate(question, { position = 1020 }) end, "exceed the model's 1024 positions")
  says(function() ctx:generate(question, { keep = keepset.all(2, 2, 49) }) end, "keep%-set is for %[2 layers, 2 KV heads, 49 tokens%], the context is %[2, 2, 50%]")
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

t.case("the largest passage and the last position fit", function()
  local ids = draw(rng.new(17), 1020, model.vocab)
  local ctx = model:prefill(ids)
  t.eq(#ctx:generate({ 9 }, { max_new_tokens = 3, ignore_stop = true }).ids, 3)
  t.fails(function() ctx:generate({ 9 }, { max_new_tokens = 4 }) end, "exceed the model's 1024 positions")
  ctx:close()
end)

-- ---- every instruction set this CPU can be lowered to ----

local binary = io.popen("readlink -f /proc/$PPID/exe"):read "*l"
local mine, tier = greedy_ids(), ffi.string(C.kvb_cpu_tier())
for _, lower in ipairs(TIERS) do
  if lower == tier then break end
  t.case("the instruction set " .. lower .. " gives the same tokens", function()
    local child = io.popen(("KVB_CPU_TIER=%s '%s' '%s' --greedy 2>&1"):format(lower, binary, paths.at "tests/lua/engine_test.lua"))
    local text = child:read "*a"
    child:close()
    t.eq(text, "tier " .. lower .. "\n" .. mine .. "\n")
  end)
end

model:close()
