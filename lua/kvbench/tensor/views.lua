-- SPDX-License-Identifier: Apache-2.0
-- The same elements seen otherwise: views, which share storage and keep it alive; writing into one changes what it
-- looks
-- at. Dimensions and indices count from 1, negative ones from the end.
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
---     tensor.zeros(2, 3):size() --> { 2, 3 }
---     tensor.zeros(2, 3):size(-1) --> 3
function T:size(dim)
  if dim then return tonumber(self.shape[core.dim("size", self, dim)]) end
  return core.sizes(self)
end

--- How many dimensions.
function T:dim() return self.ndim end
--- How many elements.
function T:numel() return core.count(self) end
--- The dtype's name: "f32", "i32", ...
function T:type() return core.kinds.dtype_name[self.dtype] end

--- Is it row-major in memory, without gaps?
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

--- Elements first..last of a dimension, both included; either may be negative or nil (an end). step: every step-th.
---     tensor.arange(6):slice(1, 2, -2) --> { 1, 2, 3, 4 }
---     tensor.arange(6):slice(1, nil, nil, 2) --> { 0, 2, 4 }
function T:slice(dim, first, last, step)
  local size = tonumber(self.shape[core.dim("slice", core.expect("slice", self), dim)])
  first, last = core.whole("slice", "first", first or 1), core.whole("slice", "last", last or -1)
  step = core.whole("slice", "step", step or 1, 1) -- backwards: flip
  if first < 0 then first = size + 1 + first end
  if last < 0 then last = size + 1 + last end
  local v = self:narrow(dim, first, math.max(0, last - first + 1))
  if step == 1 then return v end
  local d = core.dim("slice", self, dim)
  v.shape[d] = math.ceil(tonumber(v.shape[d]) / step)
  v.stride[d] = v.stride[d] * step
  return v
end

--- One index of a dimension, which disappears. t[i] is t:select(1, i).
---     tensor.arange(6):view(2, 3):select(2, -1) --> { 2, 5 }
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

--- Dimensions in a new order.
---     tensor.zeros(2, 3, 4):permute(3, 1, 2):size() --> { 4, 2, 3 }
function T:permute(...)
  local order, seen = numbers(...), {}
  local v = core.view(core.expect("permute", self))
  for i = 1, self.ndim do
    local d = core.dim("permute", self, order[i])
    if seen[d] or #order ~= self.ndim then fail("permute", self, "%s is not an order of its dimensions",
      core.show(order)) end
    seen[d] = true
    v.shape[i - 1], v.stride[i - 1] = self.shape[d], self.stride[d]
  end
  return v
end

--- Two dimensions exchanged; without arguments the last two.
---     tensor.from({ { 1, 2 }, { 3, 4 } }):transpose() --> { { 1, 3 }, { 2, 4 } }
function T:transpose(a, b)
  local da, db = core.dim("transpose", core.expect("transpose", self), a or -2), core.dim("transpose", self, b or -1)
  local v = core.view(self)
  v.shape[da], v.shape[db] = self.shape[db], self.shape[da]
  v.stride[da], v.stride[db] = self.stride[db], self.stride[da]
  return v
end

--- A dimension of size 1 added, so that the result's dimension `dim` is the new one.
---     tensor.zeros(2, 3):unsqueeze(-1):size() --> { 2, 3, 1 }
function T:unsqueeze(dim)
  local n = self.ndim + 1
  if n > 5 then fail("unsqueeze", self, "at most 5 dimensions are possible") end
  core.whole("unsqueeze", "dim", dim)
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

--- Dimensions of size 1 repeated without copying (stride 0); -1 keeps a size; new leading dimensions may be added.
function T:expand(...)
  local shape = core.wholes("expand", "size", -1, ...)
  local lead = #shape - self.ndim
  for i = 1, #shape do
    if shape[i] == -1 then shape[i] = i > lead and tonumber(self.shape[i - lead - 1]) or -1 end
  end
  local v, whole = core.view(core.expect("expand", self)), true
  for i = 1, #shape do whole = whole and shape[i] >= 0 end
  if not whole or lead < 0 or #shape > 5 or not core.stretch(v, shape) then
    fail("expand", self, "cannot be repeated to %s", core.show(shape))
  end
  return v
end

--- The diagonal of the last two dimensions, as the last dimension: elements (i, i + offset).
---     tensor.arange(4):view(2, 2):diagonal() --> { 0, 3 }
function T:diagonal(offset)
  local v = core.view(core.expect("diagonal", self))
  local rows, columns, o = v.ndim - 2, v.ndim - 1, core.whole("diagonal", "offset", offset or 0)
  if rows < 0 then fail("diagonal", self, "a matrix has 2 dimensions") end
  local step = v.stride[rows] + v.stride[columns]
  local m, n = tonumber(v.shape[rows]), tonumber(v.shape[columns])
  local length = math.max(0, o >= 0 and math.min(m, n - o) or math.min(m + o, n))
  if length > 0 then moved(v, o >= 0 and o * tonumber(v.stride[columns]) or -o * tonumber(v.stride[rows])) end
  v.shape[rows], v.stride[rows], v.ndim = length, step, v.ndim - 1
  return v
end

--- Every window of `size` neighbours along dim, `step` apart (1), as a new last dimension; dilation (1): the distance
--- of
--- neighbours in a window. Windows overlap in memory: read them, do not write.
---     tensor.arange(4):unfold(1, 2) --> { { 0, 1 }, { 1, 2 }, { 2, 3 } }
function T:unfold(dim, size, step, dilation)
  local d = core.dim("unfold", core.expect("unfold", self), dim)
  core.whole("unfold", "size", size, 1)
  step, dilation = core.whole("unfold", "step", step or 1, 1), core.whole("unfold", "dilation", dilation or 1, 1)
  local n, reach = tonumber(self.shape[d]), (size - 1) * dilation + 1
  if reach > n then
    fail("unfold", self, "windows of %d, %d apart, dilation %d, in dimension %d of size %d", size, step, dilation,
      d + 1, n)
  end
  if self.ndim == 5 then fail("unfold", self, "at most 5 dimensions are possible") end
  local v = core.view(self)
  v.shape[v.ndim], v.stride[v.ndim], v.ndim = size, v.stride[d] * dilation, v.ndim + 1
  v.shape[d], v.stride[d] = math.floor((n - reach) / step) + 1, v.stride[d] * step
  return v
end

--- Dimension `from` moved to place `to`.
---     tensor.zeros(2, 3, 4):movedim(1, -1):size() --> { 3, 4, 2 }
function T:movedim(from, to)
  local a, b, order = core.dim("movedim", core.expect("movedim", self), from), core.dim("movedim", self, to), {}
  for i = 0, self.ndim - 1 do if i ~= a then order[#order + 1] = i + 1 end end
  table.insert(order, b + 1, a + 1)
  return self:permute(order)
end
