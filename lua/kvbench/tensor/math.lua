-- SPDX-License-Identifier: Apache-2.0
-- Tensor methods that compute: element-wise with broadcasting, reductions over one dimension, products, pooling.
-- Results are f32 and contiguous; integer operands are converted. NaN and infinities behave as in IEEE arithmetic and
-- torch.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local T = core.methods

local one_float = ffi.typeof "float[1]"
local kvb_tensor = ffi.typeof "kvb_tensor"

-- A number as a view that repeats it; `cell` must live as long as the view.
local function constant(value)
  local cell = one_float(value)
  local v = kvb_tensor()
  v.data, v.dtype = cell, kinds.dtype.f32
  return v, cell
end

local function operand(op, x)
  if type(x) == "number" then return constant(x) end
  return core.alias(core.f32(op, x))
end

--- a and b: tensors or numbers (at least one tensor).
local function binary(op, a, b)
  local va, keep_a = operand(op, a)
  local vb, keep_b = operand(op, b)
  local shape = core.broadcast_shape(op, va, vb)
  local out = core.new(shape)
  core.stretch(va, shape)
  core.stretch(vb, shape)
  core.run("binary", va, vb, out, kinds.binary[op])
  core.drop(va, vb)
  return out, keep_a, keep_b
end

for op in pairs(kinds.binary) do
  T[op] = function(self, other) return (binary(op, self, other)) end
end

for op in pairs(kinds.unary) do
  T[op] = function(self, low, high)
    local x = core.f32(op, self)
    local out = core.new(core.sizes(x))
    core.run("unary", x, out, kinds.unary[op], low or -math.huge, high or math.huge)
    return out
  end
end

--- condition ~= 0 ? a : b, element by element with broadcasting. The side not taken cannot leak NaN or inf.
function core.where(condition, a, b)
  local vc, keep_c = operand("where", condition)
  local va, keep_a = operand("where", a)
  local vb, keep_b = operand("where", b)
  local fake = kvb_tensor()
  local first = core.broadcast_shape("where", vc, va)
  core.stretch(fake, first)
  local shape = core.broadcast_shape("where", fake, vb)
  for _, v in ipairs { vc, va, vb } do core.stretch(v, shape) end
  local out = core.new(shape)
  core.run("where", vc, va, vb, out)
  core.drop(vc, va, vb)
  return out, keep_c, keep_a, keep_b
end

--- t:where(a, b): t is the condition.
function T:where(a, b) return (core.where(self, a, b)) end

-- Over `dim` -> a tensor without it; over everything (dim nil) -> a number.
local function reduce(op, t, dim, p, dtype)
  local x = core.f32(op, t)
  if dim == nil then
    if x.ndim ~= 1 then x = x:reshape(-1) end
    return reduce(op, x, 1, p, dtype):item()
  end
  local d = core.dim(op, x, dim)
  local shape = core.sizes(x)
  table.remove(shape, d + 1)
  local out = core.new(shape, dtype)
  core.run("reduce", x, out, d, kinds.reduce[op], p or 0)
  return out
end

for _, op in ipairs { "sum", "mean", "min", "max", "logsumexp" } do
  T[op] = function(self, dim) return reduce(op, self, dim) end
end

--- Sum of squared deviations over n - correction; correction is 1 unless told, as in torch.
function T:var(dim, correction) return reduce("var", self, dim, correction or 1) end

function T:std(dim, correction)
  local v = self:var(dim, correction)
  return type(v) == "number" and math.sqrt(v) or v:sqrt()
end

--- (sum |x|^p)^(1/p); p is 2 unless told; math.huge is the largest |x|.
function T:norm(dim, p) return reduce("norm", self, dim, p or 2) end

--- Index (from 1) of the first largest or smallest element along a dimension, i32; a number over everything.
function T:argmax(dim) return reduce("argmax", self, dim, 1, "i32") end
function T:argmin(dim) return reduce("argmin", self, dim, 1, "i32") end

local function along(op, t, dim)
  local x = core.f32(op, t)
  local d = core.dim(op, x, dim)
  local out = core.new(core.sizes(x))
  core.run(op, x, out, d)
  return out
end

function T:softmax(dim) return along("softmax", self, dim) end
function T:cumsum(dim) return along("cumsum", self, dim) end

local function with(shape, ...)
  for i = 1, select("#", ...) do shape[#shape + 1] = (select(i, ...)) end
  return shape
end

--- Matrix product over the last two dimensions; leading ones broadcast. [.., m, k] x [.., k, n] -> [.., m, n].
function T:matmul(other)
  local a, b = core.f32("matmul", self), core.f32("matmul", other)
  if a.ndim < 2 or b.ndim < 2 then
    error(("matmul: shapes %s and %s: both need at least 2 dimensions -> t:unsqueeze(dim), or vecdot"):format(
      core.show(a), core.show(b)), 0)
  end
  local m, k, n = a:size(-2), a:size(-1), b:size(-1)
  if b:size(-2) ~= k then
    error(("matmul: shapes %s and %s do not fit: %d columns and %d rows"):format(core.show(a), core.show(b), k,
      b:size(-2)), 0)
  end
  local batch = core.broadcast_shape("matmul", a, b, 2)
  local va, vb = core.alias(a), core.alias(b)
  core.stretch(va, with({ unpack(batch) }, m, k))
  core.stretch(vb, with({ unpack(batch) }, k, n))
  local out = core.new(with(batch, m, n))
  core.run("matmul", va, vb, out)
  core.drop(va, vb)
  return out
end

--- Inner product over the last dimension, with broadcasting: sum(a * b).
function T:vecdot(other)
  local a, b = core.f32("vecdot", self), core.f32("vecdot", other)
  local shape = core.broadcast_shape("vecdot", a, b)
  local va, vb = core.alias(a), core.alias(b)
  core.stretch(va, shape)
  core.stretch(vb, shape)
  table.remove(shape)
  local out = core.new(shape)
  core.run("vecdot", va, vb, out)
  core.drop(va, vb)
  return out
end

local function pool(op, kind, t, kernel, padding, options)
  local x = core.f32(op, t)
  local o, step = options or {}, options and options.stride or 1
  padding = padding or 0
  local shape = core.sizes(x)
  if #shape == 0 then error(op .. ": a tensor without dimensions has nothing to pool", 0) end
  shape[#shape] = math.max(0, math.floor((shape[#shape] + 2 * padding - kernel) / step) + 1)
  local out = core.new(shape)
  core.run("pool1d", x, out, kind, kernel, step, padding, o.count_include_pad == false and 0 or 1)
  return out
end

--- Pooling over the last dimension with stride 1 unless told: options = {stride = 1, count_include_pad = true}
--- (torch's names).
function T:avg_pool1d(kernel, padding, options) return pool("avg_pool1d", kinds.pool.avg, self, kernel, padding,
  options) end
function T:max_pool1d(kernel, padding, options) return pool("max_pool1d", kinds.pool.max, self, kernel, padding,
  options) end

-- Splits dimension `dim` (2 unless told: [layers, heads, ...]) into groups of `group` neighbours.
local function grouped(op, t, group, dim)
  local d = core.dim(op, t, dim or 2)
  local shape = core.sizes(t)
  local size = shape[d + 1]
  if type(group) ~= "number" or group < 1 or group % 1 ~= 0 or size % group ~= 0 then
    error(("%s: dimension %d of shape %s cannot be split into groups of %s"):format(op, d + 1, core.show(t),
      tostring(group)), 0)
  end
  shape[d + 1] = size / group
  table.insert(shape, d + 2, group)
  return t:reshape(shape), d + 2
end

--- Mean over the `group` query heads that share a KV head: [layers, heads, ...] -> [layers, heads / group, ...].
function T:group_mean(group, dim)
  local split, within = grouped("group_mean", self, group, dim)
  return split:mean(within)
end

--- [layers, heads, ...] -> [layers, heads / group, group, ...], a view.
function T:split_heads(group, dim) return (grouped("split_heads", self, group, dim)) end

--- Operators: + - * / ^ and unary minus, with tensors (broadcasting) and numbers.
core.operators = {
  __add = function(a, b) return (binary("add", a, b)) end,
  __sub = function(a, b) return (binary("sub", a, b)) end,
  __mul = function(a, b) return (binary("mul", a, b)) end,
  __div = function(a, b) return (binary("div", a, b)) end,
  __pow = function(a, b) return (binary("pow", a, b)) end,
  __unm = function(a) return a:neg() end,
  __lt = function() error("tensors: < and > cannot compare element by element in Lua -> a:lt(b), a:gt(b)", 0) end,
  __le = function() error("tensors: <= and >= cannot compare element by element in Lua -> a:le(b), a:ge(b)", 0) end,
}
