-- SPDX-License-Identifier: Apache-2.0
-- Another shape, a copy, another dtype. reshape copies only where no view exists; view never does.
local core = require "kvbench.tensor.core"
local T = core.methods

local function fail(op, t, ...)
  error(op .. ": " .. string.format(...) .. " (tensor of shape " .. core.show(t) .. ")", 0)
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
  local shape, unknown, known = core.wholes(op, "size", -1, ...), nil, 1
  for i = 1, #shape do
    if shape[i] == -1 and not unknown then unknown = i else known = known * shape[i] end
  end
  if unknown and known > 0 then shape[unknown] = core.count(t) / known end
  local count = 1
  for i = 1, #shape do count = count * shape[i] end
  if #shape > 5 or count ~= core.count(t) or (unknown and shape[unknown] % 1 ~= 0) then
    fail(op, t, "%d elements cannot become shape %s", core.count(t), core.show(core.wholes(op, "size", -1, ...)))
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
---     tensor.arange(6):view(2, -1) --> { { 0, 1, 2 }, { 3, 4, 5 } }
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

--- Dimensions first..last made one (everything unless told); a view where possible.
---     tensor.zeros(2, 3, 4):flatten(1, 2):size() --> { 6, 4 }
function T:flatten(first, last)
  if core.expect("flatten", self).ndim == 0 then return self:reshape(1) end
  local a, b, shape = core.dim("flatten", self, first or 1), core.dim("flatten", self, last or -1), {}
  for i = 0, self.ndim - 1 do
    if i > a and i <= b then
      shape[#shape] = shape[#shape] * tonumber(self.shape[i])
    else
      shape[#shape + 1] = tonumber(self.shape[i])
    end
  end
  return self:reshape(shape)
end

--- Dimension dim split into these sizes (one may be -1).
---     tensor.zeros(6, 4):unflatten(1, { 2, -1 }):size() --> { 2, 3, 4 }
function T:unflatten(dim, sizes)
  if type(sizes) ~= "table" then fail("unflatten", self, "the sizes are a %s, expected a list", type(sizes)) end
  sizes = core.wholes("unflatten", "size", -1, sizes)
  local d, shape, known, open = core.dim("unflatten", core.expect("unflatten", self), dim), {}, 1, nil
  for i = 0, self.ndim - 1 do
    for _, size in ipairs(i == d and sizes or { tonumber(self.shape[i]) }) do
      shape[#shape + 1] = size
      if i == d then
        if size == -1 then open = #shape else known = known * size end
      end
    end
  end
  if open and known > 0 then shape[open] = tonumber(self.shape[d]) / known end
  return self:reshape(shape)
end

--- A fresh contiguous copy.
function T:clone() return self:to(self:type()) end

--- A copy in another dtype ("f32", "u8", ...: to integers towards zero, clamped, NaN = 0), on another device ("cpu",
--- "cuda", "cuda:N"), or both: t:to("cuda", "f16"). Of a device alone: self where it is there already.
---     tensor.from({ -1.7, 300 }):to("u8") --> { 0, 255 }
function T:to(what, dtype)
  local device = core.device_id(core.expect("to", self) and what)
  if device and not dtype and device == self.device_id then return self end
  local out = core.new(core.sizes(self), device and (dtype or self:type()) or what, device or self.device_id, true)
  core.run("copy", self, out)
  return out
end

--- On the host: self, or a copy. t.device is the name of the device it is on.
---     tensor.zeros(2):cpu().device --> "cpu"
function T:cpu() return self:to "cpu" end

--- On a GPU (its number; 0 unless told): self, or a copy.
function T:cuda(number) return self:to(("cuda:%d"):format(core.whole("cuda", "number", number or 0, 0))) end

--- Overwrites the elements with those of x (broadcast, converted, from any device). Returns itself.
function T:copy_(x)
  if core.shares(core.expect("copy_", self), core.expect("copy_", x)) then x = x:clone() end
  local v = core.alias(x)
  if not core.stretch(v, core.sizes(core.expect("copy_", self))) then
    fail("copy_", self, "a tensor of shape %s does not fit", core.show(x))
  end
  core.run("copy", v, self)
  core.drop(v)
  return self
end

--- Overwrites every element with a number. Returns itself.
function T:fill_(value)
  local v = core.constant(core.number("fill_", "value", value))
  core.stretch(v, core.sizes(core.expect("fill_", self)))
  core.run("copy", v, self)
  return self
end

--- fill_(0).
function T:zero_() return self:fill_(0) end

--- Frees the view now instead of when Lua's collector finds it. Using it afterwards is an error, closing it again is
--- not.
function T:close()
  require("kvbench.ffi").C.kvb_tensor_release(self)
end

--- Do both look at the same storage, in different ways? (Writing one while reading the other needs a copy.)
function core.shares(a, b)
  if a.storage == nil or a.storage ~= b.storage then return false end
  if a.data ~= b.data or a.ndim ~= b.ndim then return true end
  for i = 0, a.ndim - 1 do if a.shape[i] ~= b.shape[i] or a.stride[i] ~= b.stride[i] then return true end end
  return false
end
