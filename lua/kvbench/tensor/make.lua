-- SPDX-License-Identifier: Apache-2.0
-- New tensors. A shape is a Lua list or the sizes themselves; dtypes are f32 (unless told), f16, bf16, i32, u8, u32,
-- i64.
local core = require "kvbench.tensor.core"

-- (2, 3), (2, 3, "i32"), ({2, 3}) or ({2, 3}, "i32"); then options: {device = "cuda"}.
local function shape_dtype_device(...)
  local given = { ... }
  local options = #given > 1 and type(given[#given]) == "table" and table.remove(given) or {}
  if type(given[1]) == "table" then return given[1], given[2], options.device end
  local dtype = type(given[#given]) == "string" and table.remove(given) or nil
  return given, dtype, options.device
end

-- Filled on the host, then brought to the current device.
local function filled(n, fn)
  local out = core.new({ n }, "f32", "cpu")
  local p = out:pointer()
  for i = 0, n - 1 do p[i] = fn(i) end
  return out:to(core.current())
end

--- tensor.zeros(2, 3), tensor.zeros({2, 3}, "u8"), tensor.zeros(2, 3, {device = "cuda"}). Without a device: on the
--- current one, which is "cpu" until tensor.use or tensor.on says otherwise.
---     tensor.zeros(2, 3, "i32"):type() --> "i32"
function core.zeros(...)
  return core.new(shape_dtype_device(...))
end

--- As zeros, of ones.
function core.ones(...) return core.zeros(...):fill_(1) end

--- Every element the same number.
---     tensor.full({ 2 }, -7.5) --> { -7.5, -7.5 }
function core.full(shape, value, dtype) return core.new(shape, dtype):fill_(value) end

--- first, first + step, ... below last. With one argument: 0 .. last - 1, as token positions are counted.
---     tensor.arange(4) --> { 0, 1, 2, 3 }
---     tensor.arange(1, 2, 0.25) --> { 1, 1.25, 1.5, 1.75 }
function core.arange(first, last, step)
  if last == nil then first, last = 0, first end
  step = core.number("arange", "step", step or 1)
  core.number("arange", "first", first)
  core.number("arange", "last", last)
  if step == 0 then error("arange: step is 0", 0) end
  local n = math.max(0, math.ceil((last - first) / step))
  return filled(n, function(i) return first + i * step end)
end

--- n numbers from first to last, both included, evenly spaced.
---     tensor.linspace(0, 1, 5) --> { 0, 0.25, 0.5, 0.75, 1 }
function core.linspace(first, last, n)
  core.number("linspace", "first", first)
  core.number("linspace", "last", last)
  core.whole("linspace", "n", n, 0)
  return filled(n, function(i)
    return i == n - 1 and i > 0 and last or first + (last - first) * i / math.max(1, n - 1)
  end)
end

--- The n x n identity (or n x m).
---     tensor.eye(2) --> { { 1, 0 }, { 0, 1 } }
function core.eye(n, m)
  local out = core.new { n, m or n }
  out:diagonal():fill_(1)
  return out
end

--- tensor.causal_mask(queries, keys): [queries, keys], 0 where key k is visible to the query, else -inf. The queries
--- are the
--- last of the keys' positions.
---     tensor.causal_mask(2, 3) --> { { 0, 0, -math.huge }, { 0, 0, 0 } }
function core.causal_mask(queries, keys)
  core.whole("causal_mask", "queries", queries, 0)
  core.whole("causal_mask", "keys", keys, 0)
  local key = core.arange(keys):view(1, keys)
  local query = core.arange(keys - queries, keys):view(queries, 1)
  return (core.where(key:le(query), 0, -math.huge))
end
