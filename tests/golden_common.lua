-- SPDX-License-Identifier: Apache-2.0
-- What the golden runners share: reading stored keep-sets.
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local tensor = require "kvbench.tensor"

local M = {}

--- The KeepSet stored as a 0/1 tensor [layers, kv_heads, tokens] of a weight file.
function M.read_keep(file, name)
  local bits, info = file:integers(name)
  local t = tensor.zeros(info.shape, "u8")
  local bytes = ffi.cast("uint8_t *", t.data)
  for i = 1, #bits do bytes[i - 1] = bits[i] end
  return keepset.from_bits(t)
end

return M
