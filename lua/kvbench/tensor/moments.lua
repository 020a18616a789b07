-- SPDX-License-Identifier: Apache-2.0
-- What scores of many heads are made of, each in one operation that stores nothing larger than its result: statistics
-- of queries, quadratic forms of keys, attention received.
local core = require "kvbench.tensor.core"
local T = core.methods

local function fail(op, t, ...)
  error(op .. ": " .. string.format(...) .. " (tensor of shape " .. core.show(t) .. ")", 0)
end

-- `shape` and further sizes.
local function with(shape, ...)
  local out = { unpack(shape) }
  for i = 1, select("#", ...) do out[#out + 1] = (select(i, ...)) end
  return out
end

-- An alias of t whose leading dimensions are repeated to `batch`; the sizes that follow are its own.
local function spread(op, t, batch, ...)
  local v = core.alias(t)
  if not core.stretch(v, with(batch, ...)) then
    fail(op, t, "does not go with leading dimensions %s", core.show(batch))
  end
  return v
end

-- Rows whose elements lie side by side: what the operations want.
local function in_rows(t) return (t:size(-1) < 2 or t.stride[t.ndim - 1] == 1) and t or t:contiguous() end

--- Mean [.., d] and covariance [.., d, d] (divided by n) of the n rows of self [.., n, d].
---     (tensor.from({ { 1, 2 }, { 3, 6 } }):moments()) --> { 2, 4 }
---     select(2, tensor.from({ { 1, 2 }, { 3, 6 } }):moments()) --> { { 1, 2 }, { 2, 4 } }
function T:moments()
  local x = core.f32("moments", self)
  if x.ndim < 2 then fail("moments", x, "rows of numbers have 2 dimensions") end
  x = in_rows(x)
  local batch, d = core.sizes(x), x:size(-1)
  batch[#batch], batch[#batch - 1] = nil, nil
  local mean, covariance = core.output(x, with(batch, d)), core.output(x, with(batch, d, d))
  core.run("moments", x, mean, covariance)
  return mean, covariance
end

--- square * x' matrix x + linear * x . vector of every row x of self [.., n, d]: [.., n]. matrix [.., d, d] and vector
--- [.., d] (one for all rows); leading dimensions broadcast. square and linear are numbers, 1 unless told.
---     tensor.from({ { 1, 2 } }):quadratic(tensor.eye(2), tensor.from({ 10, 0 })) --> { 15 }
function T:quadratic(matrix, vector, square, linear)
  local op = "quadratic"
  local x, c, b = core.f32(op, self), core.f32(op, matrix), core.f32(op, vector)
  square, linear = core.number(op, "square", square or 1), core.number(op, "linear", linear or 1)
  if x.ndim < 2 then fail(op, x, "rows of numbers have 2 dimensions") end
  local n, d = x:size(-2), x:size(-1)
  if c.ndim < 2 or c:size(-1) ~= d or c:size(-2) ~= d or b.ndim < 1 or b:size(-1) ~= d then
    fail(op, x, "a matrix %s and a vector %s do not go with rows of %d", core.show(c), core.show(b), d)
  end
  x, b = in_rows(x), in_rows(b)
  local batch = core.broadcast_shape(op, x, c, 2)
  local vx, vc = spread(op, x, batch, n, d), spread(op, c, batch, d, d)
  local vb = spread(op, b, batch, d)
  local out = core.output(x, with(batch, n))
  core.run("quadratic", vx, vc, vb, out, square, linear)
  core.drop(vx, vc, vb)
  return out
end

--- Attention that keys [.., n, d] receive from self, queries [.., group, rows, d] already divided by sqrt d, summed
--- over group and rows, times scale (1): [.., n]. Row r of `rows` sees the first n - rows + r keys (r from 1): the
--- queries are those of the last keys. Leading dimensions must agree.
---     tensor.zeros(1, 2, 3):attended(tensor.zeros(4, 3)) --> { 7 / 12, 7 / 12, 7 / 12, 1 / 4 }
function T:attended(keys, scale)
  local op = "attended"
  local q, k = core.f32(op, self), core.f32(op, keys)
  scale = core.number(op, "scale", scale or 1)
  if q.ndim < 3 or k.ndim ~= q.ndim - 1 then
    fail(op, q, "queries [.., group, rows, d] do not go with keys of shape %s", core.show(k))
  end
  local shape = core.sizes(k)
  shape[#shape] = nil
  local out = core.output(k, shape)
  core.run(op, q, k, out, scale)
  return out
end
