-- SPDX-License-Identifier: Apache-2.0
-- Tensor methods that look at the same elements in another way. All return views that share storage and keep it alive;
-- reshape copies only where no view exists. Dimensions and indices count from 1, negative ones from the end.
local core = require "kvbench.tensor.core"
local T = core.methods

local function fail(op, t, ...)
  error(op .. ": " .. string.format(...) .. " (tensor of shape " .. core.show(t) .. ")", 0)
end

local function numbers(...)
  local first = ...
  return type(first) == "table" and first or { ... }
end

local function bytes_per(t) return tonumber(require("kvbench.ffi").C.kvb_dtype_bytes(t.dtype)) end

local function moved(v, elements)
  v.data = require("ffi").cast("char *", v.data) + elements * bytes_per(v)
  return v
end

--- Sizes as a Lua array, or one size.
function T:size(dim)
  if dim then return tonumber(self.shape[core.dim("size", self, dim)]) end
  return core.sizes(self)
end

function T:dim() return self.ndim end
function T:numel() return core.count(self) end
function T:type() return core.kinds.dtype_name[self.dtype] end

function T:is_contiguous()
  local step = 1
  for i = self.ndim - 1, 0, -1 do
    local size = tonumber(self.shape[i])
    if size ~= 1 and tonumber(self.stride[i]) ~= step then return core.count(self) == 0 end
    step = step * size
  end
  return true
end

--- `length` elements from index `start` of dimension `dim`.
function T:narrow(dim, start, length)
  local d = core.dim("narrow", core.expect("narrow", self), dim)
  local size = tonumber(self.shape[d])
  if type(start) == "number" and start < 0 then start = size + 1 + start end
  if type(start) ~= "number" or type(length) ~= "number" or start % 1 ~= 0 or length % 1 ~= 0 or start < 1 or length < 0
      or start - 1 + length > size then
    fail("narrow", self, "%s elements from %s do not lie inside dimension %d of size %d", tostring(length),
      tostring(start), d + 1, size)
  end
  local v = core.view(self)
  v.shape[d] = length
  return moved(v, (start - 1) * tonumber(v.stride[d]))
end

--- Elements first..last of a dimension, both included; either may be negative or nil (an end).
function T:slice(dim, first, last)
  local size = self:size(dim)
  first, last = first or 1, last or -1
  if first < 0 then first = size + 1 + first end
  if last < 0 then last = size + 1 + last end
  return self:narrow(dim, first, math.max(0, last - first + 1))
end

--- One index of a dimension, which disappears. t[i] is t:select(1, i).
function T:select(dim, index)
  local d = core.dim("select", core.expect("select", self), dim)
  local size = tonumber(self.shape[d])
  local i = type(index) == "number" and index < 0 and size + 1 + index or index
  if type(i) ~= "number" or i % 1 ~= 0 or i < 1 or i > size then
    fail("select", self, "index %s is outside dimension %d of size %d", tostring(index), d + 1, size)
  end
  local v = core.view(self)
  moved(v, (i - 1) * tonumber(v.stride[d]))
  for k = d, v.ndim - 2 do v.shape[k], v.stride[k] = v.shape[k + 1], v.stride[k + 1] end
  v.ndim = v.ndim - 1
  return v
end

--- Dimensions in a new order: t:permute(2, 1, 3).
function T:permute(...)
  local order, seen = numbers(...), {}
  local v = core.view(core.expect("permute", self))
  for i = 1, self.ndim do
    local d = core.dim("permute", self, order[i])
    if seen[d] or #order ~= self.ndim then fail("permute", self, "(%s) is not an order of its dimensions",
      table.concat(order, ", ")) end
    seen[d] = true
    v.shape[i - 1], v.stride[i - 1] = self.shape[d], self.stride[d]
  end
  return v
end

--- Two dimensions exchanged; without arguments the last two.
function T:transpose(a, b)
  local da, db = core.dim("transpose", core.expect("transpose", self), a or -2), core.dim("transpose", self, b or -1)
  local v = core.view(self)
  v.shape[da], v.shape[db] = self.shape[db], self.shape[da]
  v.stride[da], v.stride[db] = self.stride[db], self.stride[da]
  return v
end

--- A dimension of size 1 added, so that the result's dimension `dim` is the new one.
function T:unsqueeze(dim)
  local n = self.ndim + 1
  if n > 5 then fail("unsqueeze", self, "at most 5 dimensions are possible") end
  local d = dim < 0 and n + dim or dim - 1
  if d < 0 or d >= n then fail("unsqueeze", self, "position %s for a new dimension", tostring(dim)) end
  local v = core.view(core.expect("unsqueeze", self))
  for k = n - 1, d + 1, -1 do v.shape[k], v.stride[k] = v.shape[k - 1], v.stride[k - 1] end
  v.shape[d], v.stride[d], v.ndim = 1, 0, n
  return v
end

--- Removes dimension `dim` if its size is 1, or every such dimension.
function T:squeeze(dim)
  local v, n = core.view(core.expect("squeeze", self)), 0
  local only = dim and core.dim("squeeze", self, dim)
  for k = 0, self.ndim - 1 do
    if self.shape[k] ~= 1 or only and only ~= k then
      v.shape[n], v.stride[n], n = self.shape[k], self.stride[k], n + 1
    end
  end
  v.ndim = n
  return v
end

--- Dimensions of size 1 repeated without copying; -1 keeps a size; new leading dimensions may be added.
function T:expand(...)
  local shape = { unpack(numbers(...)) }
  local lead = #shape - self.ndim
  for i = 1, #shape do
    if shape[i] == -1 then shape[i] = i > lead and tonumber(self.shape[i - lead - 1]) or -1 end
  end
  local v = core.view(core.expect("expand", self))
  if lead < 0 or #shape > 5 or not core.stretch(v, shape) then fail("expand", self, "cannot be repeated to %s",
    core.show(shape)) end
  return v
end

-- Strides for a view of t as `shape`, or nil. From the last dimension on, old dimensions that are evenly spaced form a
-- group; the new sizes must fill each group exactly.
local function strides_for(t, shape)
  local out, new = {}, #shape
  if t.ndim == 0 or core.count(t) == 0 then return out end
  local base, old_count, new_count = tonumber(t.stride[t.ndim - 1]), 1, 1
  for old = t.ndim - 1, 0, -1 do
    old_count = old_count * tonumber(t.shape[old])
    local next_size, next_stride = old > 0 and t.shape[old - 1], old > 0 and tonumber(t.stride[old - 1])
    if old == 0 or next_size ~= 1 and next_stride ~= old_count * base then
      while new >= 1 and (new_count < old_count or shape[new] == 1) do
        out[new] = new_count * base
        new_count, new = new_count * shape[new], new - 1
      end
      if new_count ~= old_count then return nil end
      base, old_count, new_count = next_stride, 1, 1
    end
  end
  return new == 0 and out or nil
end

local function wanted_shape(op, t, ...)
  local shape, unknown, known = { unpack(numbers(...)) }, nil, 1
  for i = 1, #shape do
    if shape[i] == -1 and not unknown then unknown = i else known = known * shape[i] end
  end
  if unknown and known > 0 then shape[unknown] = core.count(t) / known end
  local count = 1
  for i = 1, #shape do count = count * shape[i] end
  if #shape > 5 or count ~= core.count(t) or (unknown and shape[unknown] % 1 ~= 0) then
    fail(op, t, "%d elements cannot become shape %s", core.count(t), core.show(numbers(...)))
  end
  return shape
end

local function as_view(t, shape)
  local strides = strides_for(t, shape)
  if not strides then return nil end
  local v = core.view(t)
  for i = 1, #shape do v.shape[i - 1], v.stride[i - 1] = shape[i], strides[i] or 1 end
  v.ndim = #shape
  return v
end

--- The same elements in another shape (-1 = what remains); an error where that needs a copy.
function T:view(...)
  local shape = wanted_shape("view", core.expect("view", self), ...)
  return as_view(self, shape) or fail("view", self, "shape %s needs a copy -> reshape", core.show(shape))
end

--- The same elements in another shape; a view where possible, else a copy.
function T:reshape(...)
  local shape = wanted_shape("reshape", core.expect("reshape", self), ...)
  return as_view(self, shape) or as_view(self:contiguous(), shape)
end

--- Row-major in memory: itself, or a copy.
function T:contiguous() return self:is_contiguous() and self or self:clone() end

--- The diagonal of the last two dimensions, as the last dimension of a view: elements (i, i + offset).
function T:diagonal(offset)
  local v = core.view(core.expect("diagonal", self))
  local rows, columns, o = v.ndim - 2, v.ndim - 1, offset or 0
  if rows < 0 then fail("diagonal", self, "a matrix has 2 dimensions") end
  local step = v.stride[rows] + v.stride[columns]
  local m, n = tonumber(v.shape[rows]), tonumber(v.shape[columns])
  local length = math.max(0, o >= 0 and math.min(m, n - o) or math.min(m + o, n))
  if length > 0 then moved(v, o >= 0 and o * tonumber(v.stride[columns]) or -o * tonumber(v.stride[rows])) end
  v.shape[rows], v.stride[rows], v.ndim = length, step, v.ndim - 1
  return v
end

--- A fresh contiguous copy.
function T:clone() return self:to(self:type()) end

--- A copy in another dtype ("f32", "u8", ...): to integers towards zero, clamped, NaN = 0.
function T:to(dtype)
  local out = core.new(core.sizes(core.expect("to", self)), dtype)
  core.run("copy", self, out)
  return out
end

--- Overwrites the elements with those of x (broadcast, converted). Returns itself.
function T:copy_(x)
  local v = core.alias(core.expect("copy_", x))
  if not core.stretch(v, core.sizes(core.expect("copy_", self))) then
    fail("copy_", self, "a tensor of shape %s does not fit", core.show(x))
  end
  core.run("copy", v, self)
  core.drop(v)
  return self
end

--- Overwrites every element with a number. Returns itself.
function T:fill_(value)
  local one = core.new({}, "f32")
  require("ffi").cast("float *", one.data)[0] = value
  return self:copy_(one)
end

--- Frees the view now instead of when Lua's collector finds it. Using it afterwards is an error, closing it again is
--- not.
function T:close()
  require("kvbench.ffi").C.kvb_tensor_release(self)
end

--- The n x n identity (or n x m).
function core.eye(n, m)
  local out = core.new { n, m or n }
  out:diagonal():fill_(1)
  return out
end
