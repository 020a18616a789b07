-- SPDX-License-Identifier: Apache-2.0
-- Picking elements by index and putting them back. Indices count from 1 and are i32 tensors (others are converted) or
-- Lua
-- lists, in which -1 is the last. t[i], t[{ ... }] and index() give views wherever the elements are evenly spaced.
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local T = core.methods

local four_bytes = { f32 = true, i32 = true, u32 = true }

-- An alias that says f32 whatever its four bytes are: for ops that only move elements.
local function as_bits(t)
  local v = core.alias(t)
  v.dtype = kinds.dtype.f32
  return v
end

-- x as an i32 tensor on the device of `like`; `size` resolves negative indices of a Lua list.
local function indices(op, x, like, size)
  if type(x) == "table" then
    local list = {}
    for i, v in ipairs(x) do list[i] = type(v) == "number" and v < 0 and size + 1 + v or v end
    return core.from(list, "i32"):to(core.device_name(like.device_id))
  end
  return core.expect(op, x).dtype == kinds.dtype.i32 and x or x:to("i32")
end

-- t cut to the sizes of `like` in every dimension but d (torch lets an index be smaller).
local function cut(op, t, like, d)
  if t.ndim ~= like.ndim then
    error(("%s: shapes %s and %s differ in their number of dimensions"):format(op, core.show(t), core.show(like)), 0)
  end
  for i = 0, t.ndim - 1 do
    if i ~= d and t.shape[i] > like.shape[i] then t = t:narrow(i + 1, 1, tonumber(like.shape[i])) end
  end
  return t
end

local function gathered(op, t, index, d)
  local x = core.expect(op, t)
  if not four_bytes[x:type()] then return gathered(op, x:to("f32"), index, d):to(x:type()) end
  local out = core.output(x, core.sizes(index), x:type())
  local from, to = as_bits(x), as_bits(out)
  core.run("gather", from, index, to, d, 1)
  core.drop(from, to)
  return out
end

--- out[.., i, ..] = self[.., index[.., i, ..], ..] along dim; index has self's dimensions, and out the index's shape.
---     tensor.from({ { 1, 2 }, { 3, 4 } }):gather(2, tensor.from({ { 2 }, { 1 } })) --> { { 2 }, { 3 } }
function T:gather(dim, index)
  local d = core.dim("gather", core.expect("gather", self), dim)
  index = indices("gather", index, self)
  return gathered("gather", cut("gather", self, index, d), index, d)
end

--- Whole slices along dim; index: a Lua list or a tensor of one dimension.
---     tensor.from({ { 1, 2, 3 }, { 4, 5, 6 } }):index_select(2, { -1, 1 }) --> { { 3, 1 }, { 6, 4 } }
function T:index_select(dim, index)
  local d = core.dim("index_select", core.expect("index_select", self), dim)
  local list = indices("index_select", index, self, self:size(dim))
  if list.ndim ~= 1 then error("index_select: the indices must be one list, got shape " .. core.show(list), 0) end
  local shape, along = core.sizes(self), {}
  for i = 1, #shape do along[i] = 1 end
  shape[d + 1], along[d + 1] = list:size(1), list:size(1)
  return gathered("index_select", self, list:view(along):expand(shape), d)
end

--- The reverse of gather, written into self: self[.., index[.., i, ..], ..] = x[.., i, ..] along dim, in row-major
--- order
--- of x, so that the last one stays. x: a tensor or a number. reduce = "add" or "max" combines with what is there.
--- Returns self.
---     tensor.zeros(4):scatter_(1, tensor.from({ 4, 2, 4 }), tensor.from({ 1, 5, 7 })) --> { 0, 5, 0, 7 }
function T:scatter_(dim, index, x, reduce)
  local d = core.dim("scatter_", core.expect("scatter_", self), dim)
  local kind = kinds.scatter[reduce or "set"]
  if not kind then error(("scatter_: reduce is '%s' -> add or max, or nothing"):format(tostring(reduce)), 0) end
  if self.dtype ~= kinds.dtype.f32 then error("scatter_: self is " .. self:type() .. " -> t:to('f32')", 0) end
  index = indices("scatter_", index, self, self:size(dim))
  local values = type(x) == "number" and core.output(self, {}):fill_(x):expand(core.sizes(index))
    or core.f32("scatter_", x)
  if core.shares(self, values) then values = values:clone() end
  values = cut("scatter_", cut("scatter_", values, index, d), index, -1)
  core.run("scatter", values, index, cut("scatter_", self, index, d), d, 1, kind)
  return self
end

--- As scatter_, into a copy.
function T:scatter(dim, index, x, reduce) return self:clone():scatter_(dim, index, x, reduce) end

--- A copy of self with x added at the places that index names, along dim. Repeated places add up in order.
---     tensor.zeros(3):scatter_add(1, tensor.from({ 1, 3, 1 }), tensor.ones(3)) --> { 2, 0, 1 }
function T:scatter_add(dim, index, x) return self:clone():scatter_(dim, index, x, "add") end

local EXACT = 2 ^ 24 -- whole numbers that f32 holds

-- How many elements of a mask (1 and 0, one dimension) are 1; exact for any size.
local function ones(mask)
  local n = 0
  for at = 1, mask:numel(), EXACT do n = n + mask:narrow(1, at, math.min(EXACT, mask:numel() - at + 1)):sum() end
  return n
end

--- Indices of the elements that are not 0, in row-major order: i32 [n, dimensions].
---     tensor.from({ { 0, 5 }, { 7, 0 } }):nonzero() --> { { 1, 2 }, { 2, 1 } }
function T:nonzero()
  local flat = self:ne(0):reshape(-1)
  if flat:numel() > EXACT / 2 then
    error(("nonzero: shape %s has more than 2^23 elements -> masked_select, or one layer at a time"):format(
      core.show(self)), 0)
  end
  local rest, columns = flat:argsort(1, true):narrow(1, 1, ones(flat)) - 1, {}
  for d = self.ndim, 1, -1 do
    local size = self:size(d)
    local above = (rest / size):floor()
    columns[d] = rest - above * size + 1
    rest = above
  end
  return self.ndim > 0 and core.stack(columns, 2):to("i32") or core.output(self, { ones(flat), 0 }, "i32")
end

--- The elements where mask (self's shape) is not 0, in row-major order.
---     tensor.from({ 4, 5, 6 }):masked_select(tensor.from({ 1, 0, 1 })) --> { 4, 6 }
function T:masked_select(mask)
  local m = core.expect("masked_select", mask):ne(0):expand(core.sizes(self)):reshape(-1)
  return self:reshape(-1):index_select(1, m:argsort(1, true):narrow(1, 1, ones(m)))
end

--- A part, one word per dimension: a number picks an index (its dimension disappears), {first, last} a range with both
--- ends, {first, last, step} every step-th, {} or true everything; -1 is the last. A view. Also t[{ ... }], to read
--- and to
--- assign.
---     tensor.arange(12):view(3, 4):index(-1, { 2, 3 }) --> { 9, 10 }
---     tensor.arange(6)[{ { 1, -1, 2 } }] --> { 0, 2, 4 }
function T:index(...)
  local v, d = core.expect("index", self), 1
  if select("#", ...) > v.ndim then
    error(("index: %d words for the dimensions of shape %s"):format(select("#", ...), core.show(self)), 0)
  end
  for i = 1, select("#", ...) do
    local word = select(i, ...)
    if type(word) == "number" then
      v = v:select(d, word)
    elseif word == true or type(word) == "table" then
      if word ~= true and #word > 0 then v = v:slice(d, word[1], word[2], word[3]) end
      d = d + 1
    else
      error(("index: word %d is a %s -> a number, {first, last} or {}"):format(i, type(word)), 0)
    end
  end
  return v
end
