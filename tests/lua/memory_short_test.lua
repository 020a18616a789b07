-- SPDX-License-Identifier: Apache-2.0
-- Memory that runs out, on the host or (--device cuda) on a GPU: a smaller batch with the same answers, and a line that
-- says so. kvb_memory_limit stands for the smaller machine.
local kv = require "kvbench"
local prefilled = require "kvbench.sweep.prefilled"
local rng = require "kvbench.rng"
local t = require "kvbench.testing"
local C = require("kvbench.ffi").C

local function draw(seed, n)
  local r, ids = rng.new(seed), {}
  for i = 1, n do ids[i] = r:int(0, 319) end
  return ids
end

local model = kv.model.random({ layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn = 96, vocab = 320,
  max_positions = 1024, norm_eps = 1e-5 }, { dtype = "f32" })
local ctx = model:prefill(draw(1, 60))
local REQUESTS, QUESTION = 40, 20

-- What io.stderr is told while fn runs.
local function told(fn)
  local real, lines = io.stderr, {}
  io.stderr = setmetatable({ write = function(_, ...) lines[#lines + 1] = table.concat { ... } end },
    { __index = function(_, name) return function(_, ...) return real[name](real, ...) end end })
  local ok, result = pcall(fn)
  io.stderr = real
  if not ok then error(result, 0) end
  return table.concat(lines), result
end

-- Answers by tag, and the most that were in flight. room: bytes beyond those in use when the batch is there.
local function answers(room, opts)
  local batch, most, out = model:batch(opts or { max_bytes = 2 ^ 40 }), 0, {}
  for i = 1, REQUESTS do
    batch:add { ctx = ctx, ids = draw(i, QUESTION + i % 3), max_new_tokens = 100 + i % 7 * 10, ignore_stop = true }
  end
  collectgarbage()
  if room then C.kvb_memory_limit(C.kvb_memory_bytes(C.KVB_MEM_ALL) + room) end
  local ok, err = pcall(function()
    repeat
      local pending = batch:step()
      most = math.max(most, C.kvb_batch_in_flight(batch:pointer()))
      for result in function() return batch:next() end do
        local margins = {}
        for i, m in ipairs(result.margins) do margins[i] = ("%a"):format(m) end
        out[result.tag] = table.concat(result.ids, " ") .. " | " .. table.concat(margins, " ")
      end
    until pending == 0
  end)
  C.kvb_memory_limit(0)
  local shrunk, steps = C.kvb_batch_shrunk(batch:pointer(), nil), select(3, batch:rows())
  batch:close()
  if not ok then error(err, 0) end
  return out, most, shrunk, steps
end

local expected, most, _, steps = answers()

t.case("a batch that memory runs out for becomes smaller, says so, and answers the same", function()
  local slot = 2 * 2 * 2 * 16 * 4 * 192 -- keys and values of the longest, f32; the shortest have two thirds
  for _, slots in ipairs { 3, 8 } do
    local fewer
    local line, got = told(function()
      local out, n, shrunk = answers(slots * slot + slot / 2)
      fewer = n
      t.ok(shrunk >= 1, "nobody noticed")
      return out
    end)
    t.eq(got, expected)
    t.ok(fewer >= 1 and fewer < most and fewer <= 2 * slots,
      ("%d in flight, %d with room for %d"):format(fewer, most, slots))
    t.ok(line:find "^kvbench: out of memory on %S+ with %d+ continuations in flight: going on with these at a time",
      line)
  end
end)

t.case("no room for a single one is an error of one line, and the batch can be used afterwards", function()
  t.fails(function() answers(100) end, "^out of memory")
  t.eq((answers()), expected)
end)

t.case("without refill the same answers, in more steps", function()
  local out, _, _, more = answers(nil, { max_bytes = 2 ^ 40, refill = false })
  t.eq(out, expected)
  t.ok(more >= steps)
  local few = 4 * 2 * 2 * 2 * 16 * 4 * 192
  local _, _, _, refilled = answers(nil, { max_bytes = few })
  out, _, _, more = answers(nil, { max_bytes = few, refill = false })
  t.eq(out, expected)
  t.ok(more > refilled, ("%d steps, %d with refill"):format(more, refilled))
end)

t.case("passages that do not fit at once are prefilled in smaller groups", function()
  local asked, copied, closed = {}, 0, 0
  local reader = { device = "cpu" }
  function reader.prefill_many(_, texts, needs, opts)
    t.eq(needs, "needs")
    asked[#asked + 1] = #texts
    if #texts > 2 then error("out of memory: could not allocate 9 bytes\n-> fewer passages", 0) end
    if opts then copied = copied + opts.from.tokens * #texts end
    return { unpack(texts) }
  end
  function reader.prepare(_, text) return { ids = text } end
  function reader.prefill(_, ids) return { tokens = #ids, close = function() closed = closed + 1 end } end

  local function units(regime, record)
    local list = {}
    for i = 1, 5 do
      list[i] = { regime = regime, record = record or i, prompt = { context = draw("group", 20) } }
      list[i].prompt.context[20] = i
    end
    return list
  end
  local function each(regime, list)
    local seen, state = {}, { needs = "needs" }
    local line = told(function()
      prefilled.each({ model = reader, group = 5, prefix_cache = true }, state, list, function(unit)
        t.ok(unit.ctx == unit.prompt.context or unit.ctx.ids == unit.prompt.context)
        seen[#seen + 1] = unit
      end)
    end)
    t.eq(seen, list, regime .. ": all of them, in order")
    t.ok(line:find "^kvbench: out of memory on cpu for 5 passages at once: going on with 3\n", line)
    return state
  end
  each("agnostic", units "agnostic")
  t.eq(asked, { 5, 3, 2, 1, 2 })
  asked = {}
  local state = each("aware_one", units("aware_one", 1))
  t.eq(asked, { 5, 3, 2, 1, 2 })
  t.eq(closed, 4) -- what is shared goes back also where memory ran out
  t.eq({ state.shared_tokens, copied }, { 19 + 19, 4 * 19 })
  reader.prefill_many = function() error("out of memory: no", 0) end
  t.fails(function() each("agnostic", units "agnostic") end, "^out of memory: no")
end)

ctx:close()
model:close()
