-- SPDX-License-Identifier: Apache-2.0
-- Properties of the engine, to the bit, on tiny stored models and every instruction set this CPU has: what must not
-- change an answer (order, company, keep-sets that are equal, the row buckets) and what must agree within a tolerance
-- (eviction and its mask). Many at once: engine_company_test.lua; failures: engine_failure_test.lua.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"
local C = require("kvbench.ffi").C
local engine = dofile(paths.at "tests/lua/engine_common.lua")
local folder, draw, random_keep, requests = engine.folder, engine.draw, engine.random_keep, engine.requests
local run, one_by_one, distance = engine.run, engine.one_by_one, engine.distance
local bits, same_bits, same_answer = engine.bits, engine.same_bits, engine.same_answer

local TIERS = { "scalar", "avx2", "avx512" }
local FAMILIES = engine.families

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
    for name, other in pairs { all = all, reversed = run(model, list, nil, order),
      shuffled = run(model, list, nil, shuffled),
      ["one at a time"] = run(model, list, { max_bytes = 1 }), ["few at a time"] = run(model, list,
        { max_bytes = 300000 }) } do
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
    for i = 1, 3 do list[i] = { ctx = ctx, ids = draw(r, 300, model.vocab), max_new_tokens = 2, ignore_stop = true,
      logits = true, tag = i } end
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
    -- the first position of an empty past is the same wherever it stands: only differences count
    local one = model:prefill { 7 }
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
      return run(model, { { ctx = ctx, ids = ids, max_new_tokens = 8, ignore_stop = ignore, tag = 1 } },
        { stop_ids = { 126, stop } })[1]
    end
    local first = 1
    while free.ids[first] ~= stop do first = first + 1 end
    t.eq(#stopped(false).ids, first)
    t.eq(stopped(false).stop, "token")
    t.eq(stopped(false).ids[first], stop)
    t.eq(stopped(true).ids, free.ids)
    t.eq(stopped(true).stop, "length")
    local both = run(model, { { ctx = ctx, ids = ids, max_new_tokens = 8, ignore_stop = true, logits = true,
      tag = 1 } })[1]
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
      lines[#lines + 1] = family .. " " .. table.concat(ctx:generate(question,
        { keep = keep, max_new_tokens = 12, ignore_stop = true }).ids, " ")
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

-- ---- every instruction set this CPU can be lowered to ----

local binary = io.popen("readlink -f /proc/$PPID/exe"):read "*l"
local mine, tier = greedy_ids(), ffi.string(C.kvb_cpu_tier())
for _, lower in ipairs(TIERS) do
  if lower == tier then break end
  t.case("the instruction set " .. lower .. " gives the same tokens", function()
    local child = io.popen(("KVB_CPU_TIER=%s '%s' '%s' --greedy 2>&1"):format(lower, binary,
      paths.at "tests/lua/engine_test.lua"))
    local text = child:read "*a"
    child:close()
    t.eq(text, "tier " .. lower .. "\n" .. mine .. "\n")
  end)
end

