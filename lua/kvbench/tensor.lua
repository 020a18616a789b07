-- SPDX-License-Identifier: Apache-2.0
-- kv.tensor: torch-like arrays over the library's memory. torch's names; dimensions and indices count from 1, negative
-- ones from the end; reductions take the dimension first and drop it (without one they return a number); comparisons
-- are methods (t:lt(x)) that yield 1 and 0. f32 unless said. See docs/press.md for a tour.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
require "kvbench.tensor.views"
require "kvbench.tensor.math"
require "kvbench.tensor.order"
require "kvbench.tensor.linalg"
require "kvbench.tensor.show"
local text = require "kvbench.text"
local C = require("kvbench.ffi").C

local M = {
  is = core.is, new = core.new, from = core.from, where = function(...) return (core.where(...)) end, cat = core.cat,
  stack = core.stack, eye = core.eye, scope = core.scope, persist = core.persist, outside = core.outside,
  use = core.use, locate_nan = core.locate_nan, show = core.show,
}

local names
local function unknown(name)
  if not names then
    names = {}
    for method in pairs(core.methods) do names[#names + 1] = method end
  end
  error(("tensor: no method or field '%s' %s"):format(tostring(name), text.suggest(tostring(name), names)), 0)
end

local meta = {
  __index = function(t, key)
    if type(key) == "number" then return t:select(1, key) end
    return core.methods[key] or unknown(key)
  end,
  __newindex = function(t, key, value)
    if type(key) ~= "number" then unknown(key) end
    local part = t:select(1, key)
    if type(value) == "number" then part:fill_(value) else part:copy_(value) end
  end,
  __len = function(t) return t:size(1) end,
  __tostring = core.text,
}
for name, operator in pairs(core.operators) do meta[name] = operator end
ffi.metatype("kvb_tensor", meta)

-- (2, 3), (2, 3, "i32"), ({2, 3}) or ({2, 3}, "i32")
local function shape_and_dtype(...)
  local first = ...
  if type(first) == "table" then return first, (select(2, ...)) end
  local shape = { ... }
  local dtype = type(shape[#shape]) == "string" and table.remove(shape) or nil
  return shape, dtype
end

--- tensor.zeros(2, 3), tensor.zeros({2, 3}, "u8").
function M.zeros(...)
  local shape, dtype = shape_and_dtype(...)
  return core.new(shape, dtype)
end

function M.ones(...) return M.zeros(...):fill_(1) end

--- tensor.full({2, 3}, value[, dtype]).
function M.full(shape, value, dtype) return core.new(shape, dtype):fill_(value) end

--- first, first + step, ... below last. With one argument: 0 .. last - 1, as token positions are counted.
function M.arange(first, last, step)
  if last == nil then first, last = 0, first end
  step = step or 1
  local n = math.max(0, math.ceil((last - first) / step))
  local out = core.new({ n })
  local p = out:pointer()
  for i = 0, n - 1 do p[i] = first + i * step end
  return out
end

--- The 64-bit seed that a string or number stands for.
function M.seed(seed)
  if seed == nil then error("tensor: randomness needs a seed -> tensor.rand({2, 3}, 'my seed')", 0) end
  local s = tostring(seed)
  return C.kvb_hash64(s, #s, 0)
end

--- Uniform in [0, 1) from a seed (string or number). Element i (row-major) depends on the seed and first + i only, so
--- a part of a larger tensor can be drawn alone; first is 0 unless told.
function M.rand(shape, seed, first)
  local out = core.new(shape)
  core.run("uniform", out, M.seed(seed), first or 0)
  return out
end

--- Standard normal (Box-Muller over two uniform tensors); first as in rand.
function M.randn(shape, seed, first)
  local radius = ((1 - M.rand(shape, tostring(seed) .. "/r", first)):log() * -2):sqrt()
  return radius * (M.rand(shape, tostring(seed) .. "/a", first) * (2 * math.pi)):cos()
end

--- [queries, keys]: 0 where key k is visible to the query, else -inf. The queries are the last of the keys' positions.
function M.causal_mask(queries, keys)
  local key = M.arange(keys):view(1, keys)
  local query = M.arange(keys - queries, keys):view(queries, 1)
  return M.where(key:le(query), 0, -math.huge)
end

--- Bytes that live tensors hold.
function M.bytes() return tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)) end

return M
