-- SPDX-License-Identifier: Apache-2.0
-- Tensor methods that order, pick and join. Order is total and stable everywhere: the earlier position wins a tie, -0
-- equals 0, NaN is refused. Indices count from 1.
local core = require "kvbench.tensor.core"
local T = core.methods

-- op on the last dimension, with `dim` moved there and back.
local function on_last(op, t, dim, fn)
  local x = core.f32(op, t)
  local d = core.dim(op, x, dim or -1)
  if d == x.ndim - 1 then return fn(x) end
  return fn(x:transpose(d + 1, -1)):transpose(d + 1, -1):contiguous()
end

--- Positions in sorted order along a dimension (the last unless told), i32; ascending unless told.
function T:argsort(dim, descending)
  return on_last("argsort", self, dim, function(x)
    local out = core.new(core.sizes(x), "i32")
    core.run("argsort", x, out, descending and 1 or 0, 1)
    return out
  end)
end

--- How many elements along the dimension come before this one, the highest first: 0 = the highest. u32.
function T:rank(dim)
  return on_last("rank", self, dim, function(x)
    local out = core.new(core.sizes(x), "u32")
    core.run("rank", x, out)
    return out
  end)
end

--- out[.., i, ..] = self[.., index[.., i, ..], ..] along dim; index: i32 with self's shape but for dim.
function T:gather(dim, index)
  local x = core.f32("gather", self)
  local d = core.dim("gather", x, dim)
  local out = core.new(core.sizes(core.expect("gather", index)))
  core.run("gather", x, index, out, d, 1)
  return out
end

--- Picks whole slices along dim; indices: a Lua array or a 1-D i32 tensor.
function T:index_select(dim, indices)
  local x = core.f32("index_select", self)
  local d = core.dim("index_select", x, dim)
  local list = type(indices) == "table" and core.from(indices, "i32") or core.expect("index_select", indices)
  if list.ndim ~= 1 then error("index_select: the indices must be one list, got shape " .. core.show(list), 0) end
  local shape, along = core.sizes(x), {}
  for i = 1, #shape do along[i] = 1 end
  shape[d + 1], along[d + 1] = list:size(1), list:size(1)
  local out = core.new(shape)
  core.run("gather", x, list:view(along):expand(shape), out, d, 1)
  return out
end

--- Sorted values and where they were. Ascending along the last dimension unless told.
function T:sort(dim, descending)
  local index = self:argsort(dim, descending)
  return self:gather(dim or -1, index), index
end

--- The k largest along a dimension (the last unless told), in descending order, and where they were.
function T:topk(k, dim)
  dim = dim or -1
  if type(k) ~= "number" or k % 1 ~= 0 or k < 0 or k > self:size(dim) then
    error(("topk: %s of the %d elements of dimension %d"):format(tostring(k), self:size(dim), dim), 0)
  end
  local index = self:argsort(dim, true):narrow(dim, 1, k):contiguous()
  return self:gather(dim, index), index
end

local function array(op, list)
  if type(list) ~= "table" or #list == 0 then error(op .. ": expected a non-empty list of tensors", 0) end
  for i = 1, #list do core.expect(op, list[i]) end
  return list
end

--- Tensors joined along an existing dimension; the first one's dtype.
function core.cat(list, dim)
  local first = array("cat", list)[1]
  local d = core.dim("cat", first, dim)
  local shape, total = core.sizes(first), 0
  for i = 1, #list do
    local t = list[i]
    for k = 0, math.max(first.ndim, t.ndim) - 1 do
      if t.ndim ~= first.ndim or k ~= d and t.shape[k] ~= first.shape[k] then
        error(("cat: shapes %s and %s do not fit along dimension %d"):format(core.show(first), core.show(t), d + 1), 0)
      end
    end
    total = total + t:size(d + 1)
  end
  shape[d + 1] = total
  local out, at = core.new(shape, first:type()), 1
  for i = 1, #list do
    local n = list[i]:size(d + 1)
    out:narrow(d + 1, at, n):copy_(list[i])
    at = at + n
  end
  return out
end

--- Tensors of one shape joined along a new dimension.
function core.stack(list, dim)
  local parts = {}
  for i, t in ipairs(array("stack", list)) do parts[i] = t:unsqueeze(dim or 1) end
  return core.cat(parts, dim or 1)
end

--- The last dimension extended by `front` and `back` elements of `value` (0 unless told).
function T:pad(front, back, value)
  local shape = core.sizes(core.expect("pad", self))
  local n = shape[#shape]
  if not n or front < 0 or back < 0 then error(("pad: %s and %s elements around shape %s"):format(front, back,
    core.show(self)), 0) end
  shape[#shape] = front + n + back
  local out = core.new(shape, self:type())
  if (value or 0) ~= 0 then out:fill_(value) end
  out:narrow(-1, front + 1, n):copy_(self)
  return out
end

--- Index of the first NaN (one index per dimension, from 1), or nil.
function core.locate_nan(t)
  local bad = core.f32("locate_nan", t):ne(t):reshape(-1)
  if bad:numel() == 0 or bad:max() == 0 then return nil end
  local rest, at = bad:argmax() - 1, {}
  for d = t.ndim, 1, -1 do
    at[d] = rest % t:size(d) + 1
    rest = math.floor(rest / t:size(d))
  end
  return at
end
