-- SPDX-License-Identifier: Apache-2.0
-- Order is total and stable everywhere: the earlier position wins a tie, -0 equals 0, NaN is refused. Indices count
-- from 1.
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
---     tensor.from({ 3, 1, 2 }):argsort() --> { 2, 3, 1 }
function T:argsort(dim, descending)
  return on_last("argsort", self, dim, function(x)
    local out = core.output(x, core.sizes(x), "i32")
    core.run("argsort", x, out, descending and 1 or 0, 1)
    return out
  end)
end

--- How many elements along the dimension come before this one, the highest first: 0 = the highest. u32.
---     tensor.from({ 3, 1, 3, 2 }):rank() --> { 0, 3, 1, 2 }
function T:rank(dim)
  return on_last("rank", self, dim, function(x)
    local out = core.output(x, core.sizes(x), "u32")
    core.run("rank", x, out)
    return out
  end)
end

--- Sorted values and where they were. Ascending along the last dimension unless told.
---     tensor.from({ 3, 1, 2 }):sort(1, true) --> { 3, 2, 1 }
function T:sort(dim, descending)
  local index = self:argsort(dim, descending)
  return self:gather(dim or -1, index), index
end

--- The k largest along a dimension (the last unless told) in descending order, and where they were. largest = false:
--- the
--- k smallest in ascending order.
---     tensor.from({ 3, 1, 2 }):topk(2) --> { 3, 2 }
function T:topk(k, dim, largest)
  dim = dim or -1
  if type(k) ~= "number" or k % 1 ~= 0 or k < 0 or k > self:size(dim) then
    error(("topk: %s of the %d elements of dimension %d"):format(tostring(k), self:size(dim), dim), 0)
  end
  local index = self:argsort(dim, largest ~= false):narrow(dim, 1, k):contiguous()
  return self:gather(dim, index), index
end

--- The k-th smallest value along a dimension (the last unless told), and where it was.
function T:kthvalue(k, dim)
  local values, index = self:topk(k, dim, false)
  return values:select(dim or -1, k), index:select(dim or -1, k)
end

--- The lower median along a dimension; over everything, a number.
---     tensor.from({ 4, 1, 3, 2 }):median() --> 2
function T:median(dim)
  if not dim then
    local flat = self:reshape(-1)
    return (flat:kthvalue(math.floor((flat:numel() + 1) / 2))):item()
  end
  return (self:kthvalue(math.floor((self:size(dim) + 1) / 2), dim))
end

--- Index of the first NaN (one index per dimension, from 1), or nil: tensor.locate_nan(t).
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
