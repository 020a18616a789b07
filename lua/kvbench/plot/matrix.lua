-- SPDX-License-Identifier: Apache-2.0
-- Reading a heatmap's numbers: a Lua table of rows, or a 2-D host tensor with any strides.
local ffi = require "ffi"
local kvb = require "kvbench.ffi"

local M = {}

local function fail(where, text, ...) error(where .. ": " .. text:format(...), 0) end

local C = kvb.C
local pointers = {
  [tonumber(C.KVB_F32)] = "const float *", [tonumber(C.KVB_I32)] = "const int32_t *",
  [tonumber(C.KVB_U8)] = "const uint8_t *", [tonumber(C.KVB_U32)] = "const uint32_t *",
  [tonumber(C.KVB_I64)] = "const int64_t *",
}

local function from_tensor(t, where)
  if t.ndim ~= 2 then
    fail(where, "the tensor has %d dimensions, a heatmap needs 2 -> select or average the others", t.ndim)
  end
  if t.device_id ~= 0 then t = t:cpu() end
  if not pointers[t.dtype] then fail(where, "the tensor has 16-bit floats -> convert it to f32 first") end
  local data, out = ffi.cast(pointers[t.dtype], t.data), {}
  for r = 1, tonumber(t.shape[0]) do
    local row = {}
    for c = 1, tonumber(t.shape[1]) do row[c] = tonumber(data[(r - 1) * t.stride[0] + (c - 1) * t.stride[1]]) end
    out[r] = row
  end
  return out
end

local function from_table(m, where)
  local out = {}
  for r, row in ipairs(m) do
    if type(row) ~= "table" then fail(where, "row %d of the matrix is a %s, expected a list", r, type(row)) end
    if #row ~= #m[1] then fail(where, "row %d of the matrix has %d numbers, row 1 has %d", r, #row, #m[1]) end
    out[r] = {}
    for c, v in ipairs(row) do
      if type(v) ~= "number" then
        fail(where, "matrix[%d][%d] is %s, expected a number (NaN where there is none)", r, c, tostring(v))
      end
      out[r][c] = v
    end
  end
  return out
end

--- {values = {row, ...}, rows, columns, lo, hi}: lo and hi over the finite values.
function M.read(m, where)
  local values
  if type(m) == "cdata" and ffi.istype("kvb_tensor", m) then
    values = from_tensor(m, where)
  elseif type(m) == "table" then
    values = from_table(m, where)
  else
    fail(where, "matrix is a %s, expected a table of rows or a 2-D tensor", type(m))
  end
  if #values == 0 or #values[1] == 0 then fail(where, "the matrix is empty: there is nothing to draw") end
  local lo, hi = math.huge, -math.huge
  for r, row in ipairs(values) do
    for c, v in ipairs(row) do
      if v == math.huge or v == -math.huge then
        fail(where, "matrix[%d][%d] is infinite -> use 0/0 (NaN) for a value that is missing", r, c)
      end
      if v == v then lo, hi = math.min(lo, v), math.max(hi, v) end
    end
  end
  if lo > hi then
    fail(where, "every value of the %d x %d matrix is NaN: there is nothing to draw", #values, #values[1])
  end
  if math.max(-lo, hi) > 1e300 then fail(where, "values go from %g to %g; a colour scale ends at 1e300", lo, hi) end
  return { values = values, rows = #values, columns = #values[1], lo = lo, hi = hi }
end

return M
