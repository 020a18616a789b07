-- SPDX-License-Identifier: Apache-2.0
-- Writes tensors as a safetensors file, f32: what scripts compute once and rules read again.
local ffi = require "ffi"
local json = require "kvbench.json"

local M = {}

--- tensors: {name = tensor}; metadata: {key = text}. Written beside the path first, then renamed.
function M.write(path, tensors, metadata)
  local names, header, at = {}, { __metadata__ = metadata }, 0
  for name in pairs(tensors) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local bytes = 4 * tensors[name]:numel()
    header[name] = { dtype = "F32", shape = setmetatable(tensors[name]:size(), json.array),
      data_offsets = setmetatable({ at, at + bytes }, json.array) }
    at = at + bytes
  end
  local text = json.encode(header)
  text = text .. (" "):rep(-#text % 8)
  local file, why = io.open(path .. ".part", "wb")
  if not file then error(("safetensors: %s"):format(why), 0) end
  file:write(ffi.string(ffi.new("uint64_t[1]", #text), 8), text)
  for _, name in ipairs(names) do
    local t = tensors[name]:to "f32"
    file:write(ffi.string(t.data, 4 * t:numel()))
  end
  if not file:close() then error(("safetensors: '%s' could not be written: is the disk full?"):format(path), 0) end
  assert(os.rename(path .. ".part", path))
end

return M
