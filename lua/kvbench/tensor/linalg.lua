-- SPDX-License-Identifier: Apache-2.0
-- Tensor methods of linear algebra, on the last two dimensions; leading ones are a batch. Meant for matrices of
-- head_dim
-- size: computed in double, one matrix after the other. Names and conventions of torch.linalg.
local core = require "kvbench.tensor.core"
local T = core.methods

local function shape_of(t, from_end, ...)
  local shape = { unpack(core.sizes(t), 1, t.ndim - from_end) }
  for i = 1, select("#", ...) do shape[#shape + 1] = (select(i, ...)) end
  return shape
end

local function matrix(op, t)
  local x = core.f32(op, t)
  if x.ndim < 2 then error(("%s: shape %s is not a matrix"):format(op, core.show(x)), 0) end
  return x
end

local function square(op, t)
  local x = matrix(op, t)
  if x:size(-1) ~= x:size(-2) then error(("%s: shape %s is not square"):format(op, core.show(x)), 0) end
  return x
end

-- Raises what info says about the first matrix that failed; `words` takes its number.
local function expect_success(op, info, words)
  local flat = info:reshape(-1)
  local bad = flat:ne(0)
  if bad:numel() == 0 or bad:max() == 0 then return end
  local at = bad:argmax()
  local which = flat:numel() > 1 and (" %d of %d"):format(at, flat:numel()) or ""
  error(("%s: matrix%s "):format(op, which) .. words:format(flat:at(at)), 0)
end

-- torch's rule: b is a vector per matrix if it has one dimension, or exactly the shape of a without its last one.
local function is_vector(a, b)
  if b.ndim == 1 then return true end
  if b.ndim ~= a.ndim - 1 then return false end
  for i = 0, b.ndim - 1 do if b.shape[i] ~= a.shape[i] then return false end end
  return true
end

-- a [.., n, n] and b [.., n, k] or [.., n] as views with the same leading dimensions, and whether b was a vector.
local function system(op, a, b)
  a, b = square(op, a), core.f32(op, b)
  local vector = is_vector(a, b)
  if vector then b = b:unsqueeze(-1) end
  if b:size(-2) ~= a:size(-1) then
    error(("%s: shapes %s and %s do not fit: %d unknowns, %d rows"):format(op, core.show(a), core.show(b), a:size(-1),
      b:size(-2)), 0)
  end
  local batch = core.broadcast_shape(op, a, b, 2)
  local n, lead = a:size(-1), #batch
  local shape_a, shape_b = { unpack(batch) }, { unpack(batch) }
  shape_a[lead + 1], shape_a[lead + 2], shape_b[lead + 1], shape_b[lead + 2] = n, n, n, b:size(-1)
  return a:expand(shape_a), b:expand(shape_b), vector, shape_b, batch
end

--- Lower triangular L with L L^T = self (symmetric, only the lower triangle is read), and info: an i32 tensor of the
--- leading shape, 0 or the order of the leading minor that is not positive; that L is NaN.
function T:cholesky_ex()
  local x = square("cholesky", self)
  local out, info = core.output(x, core.sizes(x)), core.output(x, shape_of(x, 2), "i32")
  core.run("cholesky", x, out, info)
  return out, info
end

--- Lower triangular L with L L^T = self; an error where self is not positive definite.
function T:cholesky()
  local out, info = self:cholesky_ex()
  expect_success("cholesky", info, "is not positive definite (leading minor %d) -> add jitter to its diagonal, or "
    .. "cholesky_ex")
  return out
end

--- x with self x = b, where self is lower triangular. options = {upper = false, transpose = false: solve self^T x = b}.
--- b: [.., n, k] or [.., n].
function T:solve_triangular(b, options)
  local o = options or {}
  local va, vb, vector, shape = system("solve_triangular", self, b)
  local out = core.output(va, shape)
  core.run("triangular", va, vb, out, o.upper and 1 or 0, o.transpose and 1 or 0)
  return vector and out:squeeze(-1) or out
end

--- x with (L L^T) x = self, given L of cholesky().
function T:cholesky_solve(lower)
  core.expect("cholesky_solve", lower)
  return lower:solve_triangular(lower:solve_triangular(self), { transpose = true })
end

--- x with self x = b, for any invertible matrix. b: [.., n, k] or [.., n].
function T:solve(b)
  local va, vb, vector, shape, batch = system("solve", self, b)
  local out, info = core.output(va, shape), core.output(va, batch, "i32")
  core.run("solve", va, vb, out, info)
  expect_success("solve", info, "is singular (pivot %d is 0) -> pinv, lstsq, or jitter on its diagonal")
  return vector and out:squeeze(-1) or out
end

--- The inverse.
function T:inverse()
  local n = square("inverse", self):size(-1)
  return self:solve(core.on(self, core.eye, n))
end

--- q, r with self = q r: q [.., m, k] with orthonormal columns, r [.., k, n] upper triangular, k = min(m, n).
function T:qr()
  local x = matrix("qr", self)
  local m, n = x:size(-2), x:size(-1)
  local k = math.min(m, n)
  local q, r = core.output(x, shape_of(x, 2, m, k)), core.output(x, shape_of(x, 2, k, n))
  core.run("qr", x, q, r)
  return q, r
end

--- Eigenvalues [.., n], ascending, and eigenvectors [.., n, n] (columns) of a symmetric matrix, of which the lower
--- triangle is read. The sign of a column: its largest element is positive.
function T:eigh()
  local x = square("eigh", self)
  local w, v = core.output(x, shape_of(x, 1)), core.output(x, core.sizes(x))
  core.run("eigh", x, w, v)
  return w, v
end

--- u [.., m, k], s [.., k] descending, v [.., n, k] with self = u diag(s) v^T; k = min(m, n).
function T:svd()
  local x = matrix("svd", self)
  local m, n = x:size(-2), x:size(-1)
  local k = math.min(m, n)
  local u, s, v = core.output(x, shape_of(x, 2, m, k)), core.output(x, shape_of(x, 2, k)),
    core.output(x, shape_of(x, 2, n, k))
  core.run("svd", x, u, s, v)
  return u, s, v
end

--- The pseudo-inverse [.., n, m]. Singular values up to rtol times the largest count as 0; rtol is
--- max(m, n) * 2^-23 unless told.
function T:pinv(rtol)
  local x = matrix("pinv", self)
  local u, s, v = x:svd()
  if s:size(-1) == 0 then return core.new(shape_of(x, 2, x:size(-1), x:size(-2)), nil, x.device_id) end
  local limit = s:max(-1):unsqueeze(-1) * (rtol or math.max(x:size(-1), x:size(-2)) * 2 ^ -23)
  local inverse = (core.where(s:gt(limit), 1 / s, 0))
  return (v * inverse:unsqueeze(-2)):matmul(u:transpose())
end

--- x of smallest length that minimises |self x - b|. b: [.., m, k] or [.., m].
function T:lstsq(b, rtol)
  local x = matrix("lstsq", self)
  local vector = is_vector(x, core.expect("lstsq", b))
  local out = x:pinv(rtol):matmul(vector and b:unsqueeze(-1) or b)
  return vector and out:squeeze(-1) or out
end
