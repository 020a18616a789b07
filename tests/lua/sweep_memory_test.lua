-- SPDX-License-Identifier: Apache-2.0
-- What a stored sweep holds is bounded by the passages in flight: three times the passages, the same memory but for
-- what the dataset itself and the names of finished passages take.
local t = require "kvbench.testing"
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local paths = require "kvbench.paths"
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
local model = tiny.model()

local function lua_bytes()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

-- Bytes that stay on the Lua side, and most that a kind of memory held meanwhile, for n passages.
local function sweep(n)
  local data, folder = tiny.data(n, 3), os.tmpname()
  os.remove(folder)
  local before, most = lua_bytes(), 0 -- the records themselves are there already
  local run = kv.sweep { model = model, dataset = data, presses = { "knorm" }, ratios = { 0, .5, .9 },
    max_new_tokens = 2,
    quiet = true, out = folder, group = 4, observe = { "attention" }, metrics = { "selectivity", { name = "memory",
      columns = function()
        most = math.max(most, tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)))
        return {}
      end } } }
  local left = lua_bytes() - before
  t.eq(run:count(), n * 9)
  run = nil -- luacheck: ignore
  os.execute("rm -rf '" .. folder .. "'")
  return left, most
end

t.case("a stored sweep holds the passages in flight, not the dataset", function()
  sweep(36) -- what is loaded and compiled once
  local small, small_cache = sweep(12)
  local large, large_cache = sweep(36)
  t.ok((large - small) / 24 < 20000, ("%d bytes of Lua a passage stay"):format((large - small) / 24))
  t.ok(large_cache < 1.5 * small_cache, ("caches: %d bytes of 12 passages, %d of 36"):format(small_cache, large_cache))
end)
