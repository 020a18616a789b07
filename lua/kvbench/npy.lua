-- SPDX-License-Identifier: Apache-2.0
-- NumPy's .npy files, read: f4 or f8, little-endian, row-major (NEP 1, versions 1 to 3).
local ffi = require "ffi"
local core = require "kvbench.tensor.core"

local M = {}

--- The array of a file as an f32 tensor.
function M.read(path)
  local file, why = io.open(path, "rb")
  if not file then error(("npy: %s"):format(why), 0) end
  local text = file:read "*a"
  file:close()
  local function fail(what) error(("npy '%s': %s"):format(path, what), 0) end
  if text:sub(1, 6) ~= "\147NUMPY" or #text < 12 then fail "this is not a .npy file" end
  local wide = text:byte(7) > 1
  local length = text:byte(9) + 256 * text:byte(10)
  if wide then length = length + 65536 * (text:byte(11) + 256 * text:byte(12)) end
  local start = (wide and 12 or 10) + length
  local header = text:sub(wide and 13 or 11, start)
  local kind = header:match "'descr'%s*:%s*'<(f[48])'"
  if not kind then fail("its numbers are not little-endian f4 or f8: " .. header:gsub("%s+$", "")) end
  if not header:find "'fortran_order'%s*:%s*False" then fail "its order is Fortran's -> numpy.ascontiguousarray" end
  local shape, count = {}, 1
  for size in (header:match "'shape'%s*:%s*%(([^)]*)%)" or ""):gmatch "%d+" do
    shape[#shape + 1] = tonumber(size)
    count = count * tonumber(size)
  end
  local bytes = tonumber(kind:sub(2))
  if #text - start ~= count * bytes then
    fail(("%.0f bytes of numbers, its shape needs %.0f"):format(#text - start, count * bytes))
  end
  local out = core.new(shape, "f32", "cpu", true)
  local from, to = ffi.new(bytes == 4 and "float[?]" or "double[?]", math.max(1, count)), out:pointer()
  ffi.copy(from, text:sub(start + 1), count * bytes)
  -- by their bits: some NaNs, read as Lua numbers, are no numbers
  local word, exponent = ffi.cast("uint32_t *", from), bytes == 4 and 0x7f800000 or 0x7ff00000
  for i = 0, count - 1 do
    if bit.band(word[i * bytes / 4 + bytes / 4 - 1], exponent) == exponent then fail "it holds NaN or infinity" end
    to[i] = from[i]
  end
  return out:to(core.current())
end

return M
