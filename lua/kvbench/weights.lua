-- SPDX-License-Identifier: Apache-2.0
-- A weight file in Lua: .gguf, .safetensors, or a .safetensors.index.json with its shards. Tensors by name, metadata by
-- key.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}
local Weights = {}

-- Reading .handle of a closed file must be an error here: C would be given NULL.
Weights.__index = function(self, key)
  if key == "handle" then error("weight file '" .. self.path .. "' was closed -> open it again", 0) end
  return Weights[key]
end

--- Opens (memory-maps) a file. The object closes it when collected, or with :close().
-- Fields: handle (kvb_weights *), path, kind ("gguf" or "safetensors"), bytes, count (tensors).
function M.open(path)
  local out = ffi.new("kvb_weights *[1]")
  check(C.kvb_weights_open(path, out))
  local handle = ffi.gc(out[0], C.kvb_weights_free)
  return setmetatable({
    handle = handle, path = path, kind = ffi.string(C.kvb_weights_kind(handle)),
    bytes = tonumber(C.kvb_weights_bytes(handle)), count = C.kvb_weights_count(handle),
  }, Weights)
end

--- Unmaps the file now; more calls do nothing.
function Weights:close()
  local handle = rawget(self, "handle")
  if not handle then return end
  self.handle = nil
  C.kvb_weights_free(ffi.gc(handle, nil))
end

--- {name, type, shape = {outermost first}, elements, bytes, index} of a tensor by 0-based index or by name; nil when
-- there is no such name.
function Weights:info(which)
  local index = which
  if type(which) == "string" then
    index = C.kvb_weights_find(self.handle, which)
    if index < 0 then return nil end
  end
  local info = ffi.new("kvb_weight_info")
  check(C.kvb_weights_info(self.handle, index, info))
  local shape, elements = {}, 1
  for i = 1, info.ndim do
    shape[i] = tonumber(info.shape[i - 1])
    elements = elements * shape[i]
  end
  return { name = ffi.string(info.name), type = ffi.string(info.type), shape = shape, elements = elements,
    bytes = tonumber(info.bytes), index = index }
end

--- Names of all tensors in file order.
function Weights:names()
  local names = {}
  for i = 0, self.count - 1 do names[i + 1] = self:info(i).name end
  return names
end

local function needed(self, name)
  return self:info(name) or error(("%s '%s': there is no tensor '%s'"):format(self.kind, self.path, name), 0)
end

--- A tensor's values as float[elements] (0-based cdata, row-major) and its info; quantised types are dequantised.
function Weights:floats(name)
  local info = needed(self, name)
  local values = ffi.new("float[?]", info.elements)
  check(C.kvb_weights_read(self.handle, info.index, values, info.elements))
  return values, info
end

--- An integer or boolean tensor's values as a Lua array of numbers, and its info.
function Weights:integers(name)
  local info = needed(self, name)
  local values = ffi.new("int64_t[?]", info.elements)
  check(C.kvb_weights_read_int(self.handle, info.index, values, info.elements))
  local list = {}
  for i = 1, info.elements do list[i] = tonumber(values[i - 1]) end
  return list, info
end

--- Hash of every byte of the file(s), 16 hex digits.
function Weights:hash() return ("%s"):format(bit.tohex(C.kvb_weights_hash(self.handle), 16)) end

--- How many elements a metadata key has: 0 absent, 1 a scalar.
function Weights:meta_count(key) return tonumber(C.kvb_weights_meta_count(self.handle, key)) end

--- One metadata element (0-based index, default 0): a string or a number (booleans are 0 or 1); nil when absent.
function Weights:meta(key, index)
  index = index or 0
  if index >= self:meta_count(key) then return nil end
  if C.kvb_weights_meta_is_string(self.handle, key) == 0 then return C.kvb_weights_meta_number(self.handle, key,
    index) end
  local bytes = ffi.new("int64_t[1]")
  local text = C.kvb_weights_meta_string(self.handle, key, index, bytes)
  return ffi.string(text, bytes[0])
end

--- All metadata keys in file order.
function Weights:meta_keys()
  local keys = {}
  for i = 0, C.kvb_weights_meta_keys(self.handle) - 1 do keys[i + 1] = ffi.string(C.kvb_weights_meta_key(self.handle,
    i)) end
  return keys
end

return M
