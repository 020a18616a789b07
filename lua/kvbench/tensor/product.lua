-- SPDX-License-Identifier: Apache-2.0
-- Products, windows over the last dimension (pooling, convolution), and the query heads that share a KV head.
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local T = core.methods

local function with(shape, ...)
  for i = 1, select("#", ...) do shape[#shape + 1] = (select(i, ...)) end
  return shape
end

--- Matrix product over the last two dimensions; leading ones broadcast. [.., m, k] x [.., k, n] -> [.., m, n]. A
--- tensor of
--- one dimension is a row on the left and a column on the right, and that dimension disappears, as in torch.
---     tensor.from({ { 1, 2 }, { 3, 4 } }):matmul(tensor.from({ { 0, 1 }, { 1, 0 } })) --> { { 2, 1 }, { 4, 3 } }
---     tensor.from({ { 1, 2 }, { 3, 4 } }):matmul(tensor.from({ 1, 1 })) --> { 3, 7 }
function T:matmul(other)
  local a, b = core.f32("matmul", self), core.f32("matmul", other)
  if a.ndim == 0 or b.ndim == 0 then
    error(("matmul: shapes %s and %s: both need a dimension -> a * b"):format(core.show(a), core.show(b)), 0)
  end
  local depth, rows = a:size(-1), b:size(b.ndim == 1 and 1 or -2)
  if depth ~= rows then
    error(("matmul: shapes %s and %s do not fit: %d columns and %d rows"):format(core.show(a), core.show(b), depth,
      rows), 0)
  end
  if a.ndim == 1 then return a:unsqueeze(1):matmul(b):squeeze(b.ndim == 1 and 1 or -2) end
  if b.ndim == 1 then return a:matmul(b:unsqueeze(2)):squeeze(-1) end
  local m, k, n = a:size(-2), depth, b:size(-1)
  local batch = core.broadcast_shape("matmul", a, b, 2)
  local va, vb = core.alias(a), core.alias(b)
  core.stretch(va, with({ unpack(batch) }, m, k))
  core.stretch(vb, with({ unpack(batch) }, k, n))
  local out = core.output(a, with(batch, m, n))
  core.run("matmul", va, vb, out)
  core.drop(va, vb)
  return out
end

--- matmul of two batches of matrices: [b, m, k] x [b, k, n] -> [b, m, n], nothing broadcast.
function T:bmm(other)
  core.expect("bmm", other)
  if self.ndim ~= 3 or other.ndim ~= 3 or self.shape[0] ~= other.shape[0] then
    error(("bmm: shapes %s and %s are not two batches of the same size -> matmul"):format(core.show(self),
      core.show(other)), 0)
  end
  return self:matmul(other)
end

--- Inner product over the last dimension, with broadcasting: sum(a * b).
---     tensor.from({ { 1, 2 }, { 3, 4 } }):vecdot(tensor.from({ 1, -1 })) --> { -1, -1 }
function T:vecdot(other)
  local a, b = core.f32("vecdot", self), core.f32("vecdot", other)
  local shape = core.broadcast_shape("vecdot", a, b)
  local va, vb = core.alias(a), core.alias(b)
  core.stretch(va, shape)
  core.stretch(vb, shape)
  table.remove(shape)
  local out = core.output(a, shape)
  core.run("vecdot", va, vb, out)
  core.drop(va, vb)
  return out
end

--- Every product of an element of self [n] and one of other [m]: [n, m].
function T:outer(other) return self:reshape(-1, 1) * core.expect("outer", other):reshape(1, -1) end

--- The trace: the sum of the diagonal of the last two dimensions (a number for one matrix).
function T:trace()
  local d = self:diagonal()
  return d.ndim == 1 and d:sum() or d:sum(-1)
end

local function pool(op, kind, t, kernel, padding, options)
  local x = core.f32(op, t)
  local o = options or {}
  local step = core.whole(op, "stride", o.stride or 1, 1)
  kernel, padding = core.whole(op, "kernel", kernel, 1), core.whole(op, "padding", padding or 0, 0)
  local shape = core.sizes(x)
  if #shape == 0 then error(op .. ": a tensor without dimensions has nothing to pool", 0) end
  shape[#shape] = math.max(0, math.floor((shape[#shape] + 2 * padding - kernel) / step) + 1)
  local out = core.output(x, shape)
  core.run("pool1d", x, out, kind, kernel, step, padding, o.count_include_pad == false and 0 or 1)
  return out
end

--- Averages of `kernel` neighbours along the last dimension, with `padding` zeros (0) on both sides. options =
--- {stride = 1,
--- count_include_pad = true}: torch's names, but the stride is 1 unless told.
---     tensor.from({ 1, 2, 3, 4 }):avg_pool1d(2) --> { 1.5, 2.5, 3.5 }
function T:avg_pool1d(kernel, padding, options)
  return pool("avg_pool1d", kinds.pool.avg, self, kernel, padding, options)
end

--- The largest of `kernel` neighbours along the last dimension; padding counts as -inf. options = {stride = 1}.
---     tensor.from({ 1, 4, 3, 2 }):max_pool1d(3, 1) --> { 4, 4, 4, 3 }
function T:max_pool1d(kernel, padding, options)
  return pool("max_pool1d", kinds.pool.max, self, kernel, padding, options)
end

--- Convolution along the last dimension (torch's conv1d: the kernel is not turned round). weight [k]: the same kernel
--- for
--- every row of self [.., n]. weight [out, in / groups, k]: self [in, n] or [batch, in, n] becomes [.., out, n'].
--- options = {stride = 1, padding = 0, dilation = 1, groups = 1, bias = nil}.
---     tensor.from({ 1, 2, 4, 8 }):conv1d(tensor.from({ -1, 1 })) --> { 1, 2, 4 }
function T:conv1d(weight, options)
  local o = options or {}
  local x, w = core.f32("conv1d", self), core.f32("conv1d", weight)
  local groups = core.whole("conv1d", "groups", o.groups or 1, 1)
  local padding = core.whole("conv1d", "padding", o.padding or 0, 0)
  if padding > 0 then x = x:pad(padding, padding) end
  local windows = x:unfold(-1, w:size(-1), o.stride, o.dilation) -- [.., n', k]
  if w.ndim == 1 then
    local out = windows:vecdot(w)
    return o.bias and out + o.bias or out
  end
  local channels = w.ndim == 3 and x.ndim >= 2 and x.ndim <= 3 and x:size(-2)
  if not channels or channels ~= w:size(2) * groups or w:size(1) % groups ~= 0 then
    error(("conv1d: input %s, weight %s, %d groups: expected [.., in, n] and [out, in / groups, k]"):format(
      core.show(self), core.show(weight), groups), 0)
  end
  local batch, per_group, n, k = x.ndim == 3 and x:size(1) or 1, w:size(2), windows:size(-2), w:size(3)
  local columns = windows:reshape(batch, groups, per_group, n, k):permute(1, 2, 4, 3, 5)
    :reshape(batch, groups, n, per_group * k)
  local kernels = w:reshape(groups, w:size(1) / groups, per_group * k):transpose()
  local out = columns:matmul(kernels):transpose():reshape(batch, w:size(1), n)
  if o.bias then out = out + o.bias:view(-1, 1) end
  return x.ndim == 2 and out[1] or out
end

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
