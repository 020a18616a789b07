-- SPDX-License-Identifier: Apache-2.0
-- Memory that runs out for a passage while continuations of others are in flight: the batch becomes smaller and says
-- so, and no answer is lost or changed. Played by kvb_memory_limit anywhere; on a GPU also by another process that takes
-- all that the device has left.
local kv = require "kvbench"
local paths = require "kvbench.paths"
local prefilled = require "kvbench.sweep.prefilled"
local t = require "kvbench.testing"
local C = require("kvbench.ffi").C
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")

-- What io.stderr is told while fn runs, and what fn returns.
local function told(fn)
  local real, lines = io.stderr, {}
  io.stderr = setmetatable({ write = function(_, ...) lines[#lines + 1] = table.concat { ... } end },
    { __index = function(_, name) return function(_, ...) return real[name](real, ...) end end })
  local ok, result = pcall(fn)
  io.stderr = real
  C.kvb_memory_limit(0)
  if not ok then error(result, 0) end
  return table.concat(lines), result
end

local BESIDE = "kvbench: out of memory on %S+ beside %d+ continuations in flight: going on with half of these at a time, "

-- The smallest limit on all memory that fn, which undoes what it does, gets along with.
local function least(fn)
  collectgarbage()
  local low = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
  local high = low + 2 ^ 30
  while high - low > 64 do
    local middle = math.floor((low + high) / 2)
    C.kvb_memory_limit(middle)
    local fits = pcall(fn)
    C.kvb_memory_limit(0)
    if fits then high = middle else low = middle end
  end
  return high
end

local model, data = tiny.model(), tiny.data(4, 3)

local function sweep()
  return kv.sweep { model = model, dataset = data, presses = { "knorm" }, ratios = { 0, .3, .6 }, max_new_tokens = 24,
    ignore_stop = true, group = 1, quiet = true, style = "paper" }
end

-- fn with model's prefill_many called through around(inner, ...).
local function wrapped(around, fn)
  local inner = getmetatable(model).__index(model, "prefill_many")
  rawset(model, "prefill_many", function(...) return around(inner, ...) end)
  local ok, err = pcall(fn)
  rawset(model, "prefill_many", nil)
  if not ok then error(err, 0) end
end

t.case("a passage that finds no room beside a batch in flight makes it smaller; every row is the same", function()
  local expected, calls, bitten = tiny.by_key(sweep()), 0, 0
  local batch
  local line, rows
  tiny.watching(model, "step", function(b) batch = b end, function()
    wrapped(function(inner, ...)
      calls = calls + 1
      if calls == 3 then
        local args, n = { ... }, select("#", ...)
        t.ok(C.kvb_batch_in_flight(batch:pointer()) > 4, "nothing is in flight")
        C.kvb_memory_limit(least(function()
          for _, ctx in ipairs(inner(unpack(args, 1, n))) do ctx:close() end
          collectgarbage()
        end) - 2048)
        bitten = bitten + 1
      end
      return inner(...)
    end, function()
      line, rows = told(function() return tiny.by_key(sweep()) end)
    end)
  end)
  t.eq(bitten, 1)
  t.eq(rows, expected)
  t.ok(line:find("^" .. BESIDE), line)
end)

t.case("no room for a passage alone is an error of one line", function()
  t.fails(function()
    wrapped(function(inner, ...)
      C.kvb_memory_limit(C.kvb_memory_bytes(C.KVB_MEM_ALL) + 64)
      return inner(...)
    end, function() told(sweep) end)
  end, "^out of memory: [^\n]+\n%-> [^\n]+$")
  C.kvb_memory_limit(0)
end)

model:close()

if not model.device:find "^cuda" then
  t.skip("a second process takes the device's memory", "not on a GPU: --device cuda")
  return
end

-- Takes all that the device has left, in ever smaller pieces, until its standard input ends.
local GREEDY = [[
  local tensor = require("kvbench").tensor
  local held, floats = {}, 2 ^ 28
  while floats >= 2 ^ 18 do
    local ok, piece = pcall(tensor.zeros, floats, { device = "%s" })
    if ok then held[#held + 1] = piece else floats = floats / 2 end
  end
  local flag = io.open("%s", "w")
  flag:write "taken"
  flag:close()
  io.read "*a"
]]

t.case("a second process takes the device's memory: the batch becomes smaller and answers the same", function()
  local function load()
    return kv.model.random({ layers = 8, hidden = 512, heads = 8, kv_heads = 4, head_dim = 64, ffn = 1024,
      vocab = 1000, max_positions = 8192, norm_eps = 1e-5 }, { dtype = "bf16" })
  end
  local wide = load()
  local function ids(n, salt)
    local out = {}
    for i = 1, n do out[i] = (i * 7919 + salt * 104729) % 1000 end
    return out
  end
  local long = {}
  for i = 1, 3 do long[i] = ids(4000, i) end
  local function answers(between)
    local out, ctx = {}, wide:prefill(ids(500, 9))
    local batch = wide:batch { stop_ids = {} }
    local function take()
      for result in function() return batch:next() end do out[result.tag] = table.concat(result.ids, " ") end
    end
    for i = 1, 1500 do
      batch:add { ctx = ctx, ids = ids(20, i), max_new_tokens = 40, ignore_stop = true, tag = i }
    end
    for _ = 1, 6 do batch:step() end
    take()
    t.ok(C.kvb_batch_in_flight(batch:pointer()) > 400)
    local contexts = between(function()
      return prefilled.with_room({ relieve = function() return batch:relieve(take) end }, wide.prefill_many, wide, long,
        { queries = true })
    end)
    repeat
      local pending = batch:step()
      take()
    until pending == 0
    batch:close()
    local after = wide:batch { stop_ids = {} }
    for i, each in ipairs(contexts) do
      after:add { ctx = each, ids = ids(5, i), max_new_tokens = 4, ignore_stop = true, tag = 1500 + i }
      each:close()
    end
    for _, result in ipairs(after:run()) do out[result.tag] = table.concat(result.ids, " ") end
    after:close()
    ctx:close()
    return out
  end
  local expected = answers(function(fn) return fn() end)
  wide:close() -- gives back what its process held, or there would be room enough
  wide = load()
  local got, line
  local flag, script = os.tmpname(), os.tmpname()
  os.remove(flag)
  local file = assert(io.open(script, "w"))
  file:write(GREEDY:format(wide.device, flag))
  file:close()
  line, got = told(function()
    return answers(function(fn)
      collectgarbage()
      local thief = io.popen(("\"$(readlink /proc/$PPID/exe)\" '%s'"):format(script), "w")
      local started = C.kvb_time()
      while C.kvb_path_kind(flag) == 0 and C.kvb_time() - started < 60 do os.execute "sleep 0.1" end
      t.ok(C.kvb_path_kind(flag) ~= 0, "the other process never took the memory")
      local ok, result = pcall(fn)
      thief:close()
      if not ok then error(result, 0) end
      return result
    end)
  end)
  os.remove(flag)
  os.remove(script)
  t.eq(got, expected)
  t.ok(line:find(BESIDE), line)
  wide:close()
end)
