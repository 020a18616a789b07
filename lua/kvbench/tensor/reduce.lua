-- SPDX-License-Identifier: Apache-2.0
-- Reductions: over one dimension, which disappears (keepdim = true keeps it with size 1), over a list of dimensions, or
-- over everything, which gives a number. Then softmax and running sums, which keep the shape. Sums are taken in double.
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local T = core.methods

-- The dimensions of `dims` moved to the end and made one. Returns that view or copy, and the 0-based dimensions as a
-- set.
local function fold(op, x, dims)
  local order, folded, last = {}, {}, {}
  for _, dim in ipairs(dims) do
    local d = core.dim(op, x, dim)
    if folded[d] then error(("%s: dimension %d is named twice"):format(op, d + 1), 0) end
    folded[d] = true
    last[#last + 1] = d + 1
  end
  for d = 1, x.ndim do if not folded[d - 1] then order[#order + 1] = d end end
  local shape = {}
  for i, d in ipairs(order) do shape[i] = x:size(d) end
  local count = 1
  for _, d in ipairs(last) do
    order[#order + 1] = d
    count = count * x:size(d)
  end
  shape[#shape + 1] = count
  return x:permute(order):reshape(shape), folded
end

local function reduce(op, t, dim, p, keepdim, dtype)
  local x = core.f32(op, t)
  if dim == nil then
    if x.ndim ~= 1 then x = x:reshape(-1) end
    return reduce(op, x, 1, p, false, dtype):item()
  end
  local sizes, folded = core.sizes(x), nil
  if type(dim) == "table" then
    x, folded = fold(op, x, dim)
    dim = -1
  end
  local d = core.dim(op, x, dim)
  local shape = core.sizes(x)
  table.remove(shape, d + 1)
  local out = core.output(x, shape, dtype)
  core.run("reduce", x, out, d, kinds.reduce[op], p or 0)
  if not keepdim then return out end
  if not folded then return out:unsqueeze(d + 1) end
  for i = 1, #sizes do if folded[i - 1] then sizes[i] = 1 end end
  return out:view(sizes)
end

--- The sum over dim: a dimension, a list of them, or nil for everything (a number).
---     tensor.from({ { 1, 2 }, { 3, 4 } }):sum(2) --> { 3, 7 }
---     tensor.from({ { 1, 2 }, { 3, 4 } }):sum(2, true) --> { { 3 }, { 7 } }
---     tensor.from({ { 1, 2 }, { 3, 4 } }):sum() --> 10
function T:sum(dim, keepdim) return reduce("sum", self, dim, nil, keepdim) end
--- The mean; NaN of no elements.
function T:mean(dim, keepdim) return reduce("mean", self, dim, nil, keepdim) end
--- The product.
function T:prod(dim, keepdim) return reduce("prod", self, dim, nil, keepdim) end
--- The smallest value (torch's amin; where it is: argmin). NaN wins.
function T:min(dim, keepdim) return reduce("min", self, dim, nil, keepdim) end
--- The largest value (torch's amax; where it is: argmax). NaN wins.
function T:max(dim, keepdim) return reduce("max", self, dim, nil, keepdim) end
--- log(sum(e^x)) without overflow.
function T:logsumexp(dim, keepdim) return reduce("logsumexp", self, dim, nil, keepdim) end
--- Variance: squared deviations over n - correction; correction is 1 unless told, as in torch.
---     tensor.from({ 1, 2, 6 }):var() --> 7
function T:var(dim, correction, keepdim)
  return reduce("var", self, dim, core.number("var", "correction", correction or 1), keepdim)
end

--- Standard deviation: the square root of var.
function T:std(dim, correction, keepdim)
  local v = self:var(dim, correction, keepdim)
  return type(v) == "number" and math.sqrt(v) or v:sqrt()
end

--- (sum |x|^p)^(1/p); p is 2 unless told; math.huge is the largest |x|. The dimension comes first here.
---     tensor.from({ { 3, 4 }, { 6, 8 } }):norm(-1) --> { 5, 10 }
---     tensor.from({ { 3, 4 }, { 6, 8 } }):norm(1, 1) --> { 9, 12 }
function T:norm(dim, p, keepdim)
  return reduce("norm", self, dim, core.number("norm", "p", p or 2), keepdim)
end

--- Index (from 1) of the first largest element along a dimension, i32; a number over everything.
---     tensor.from({ { 1, 9, 9 }, { 5, 4, 3 } }):argmax(2) --> { 2, 1 }
function T:argmax(dim, keepdim) return reduce("argmax", self, dim, 1, keepdim, "i32") end
--- Index (from 1) of the first smallest element.
function T:argmin(dim, keepdim) return reduce("argmin", self, dim, 1, keepdim, "i32") end

--- How many elements are not 0 (NaN is not).
function T:count_nonzero(dim) return self:ne(0):sum(dim) end

--- 1 where every element is not 0; over everything, true or false. Of no elements: 1.
---     tensor.from({ { 1, 0 }, { 2, 3 } }):all(2) --> { 0, 1 }
function T:all(dim, keepdim)
  local zeros = self:eq(0):sum(dim, keepdim)
  if type(zeros) == "number" then return zeros == 0 end
  return zeros:eq(0)
end

--- 1 where some element is not 0; over everything, true or false. Of no elements: 0.
function T:any(dim, keepdim)
  local others = self:ne(0):sum(dim, keepdim)
  if type(others) == "number" then return others > 0 end
  return others:gt(0)
end

local function along(op, t, dim)
  local x = core.f32(op, t)
  local d = core.dim(op, x, dim)
  local out = core.output(x, core.sizes(x))
  core.run(op, x, out, d)
  return out
end

--- e^x / sum(e^x) along dim. -inf elements get 0; a row of nothing else is NaN, as in torch.
---     tensor.from({ 0, math.log(3) }):softmax(1) --> { 0.25, 0.75 }
function T:softmax(dim) return along("softmax", self, dim) end

--- log(softmax(x)) without rounding small probabilities to 0.
---     tensor.from({ 0, -1000 }):log_softmax(1) --> { 0, -1000 }
function T:log_softmax(dim) return self - self:logsumexp(dim, true) end

--- Running sum along dim.
---     tensor.from({ 1, 2, 3 }):cumsum(1) --> { 1, 3, 6 }
function T:cumsum(dim) return along("cumsum", self, dim) end
