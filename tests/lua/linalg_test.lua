-- SPDX-License-Identifier: Apache-2.0
-- Linear algebra: against torch's numbers (tests/golden/make_tensor.py), and by what defines each result where it is
-- not
-- unique (repeated eigenvalues, missing rank).
local t = require "kvbench.testing"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local tensor = require "kvbench.tensor"
local from = tensor.from

local file = assert(io.open(paths.at "tests/golden/tensor.json"))
local golden = json.decode(file:read "*a")
file:close()

local function near(mine, expected, tol, message)
  local other = tensor.is(expected) and expected or from(expected)
  t.eq(mine:size(), other:size(), message)
  local off = (mine - other):abs():max()
  t.ok(off <= (tol or 2e-6), ("%s: off by %g"):format(message or "", off))
end

local function given(name)
  local parts = {}
  for i, values in ipairs(golden[name].given) do parts[i] = from(values) end
  return golden[name], unpack(parts)
end

local function orthonormal(q, message)
  near(q:transpose():matmul(q), tensor.eye(q:size(-1)):expand(q:transpose():matmul(q):size()), 2e-6, message)
end

t.case("cholesky, solve, inverse, triangular systems as torch computes them", function()
  local g, a, b = given "cholesky_solve"
  near(a:cholesky(), golden.cholesky.lower)
  near(b:cholesky_solve(a:cholesky()), g.x)
  near(a:solve(b), g.x)
  near(a:solve(b:select(3, 2)), from(g.x):select(3, 2))
  g, a, b = given "solve"
  near(a:solve(b), g.x, 2e-5)
  near(a:inverse(), g.inverse, 2e-5)
  near(a[1]:solve(b), tensor.stack { a[1]:solve(b[1]), a[1]:solve(b[2]) }, 0)
  g, a, b = given "triangular"
  near(a:solve_triangular(b), g.lower, 1e-4)
  near(a:solve_triangular(b, { upper = true }), g.upper, 1e-4)
  near(a:solve_triangular(b, { transpose = true }), g.transposed, 1e-4)
end)

t.case("qr, svd, pinv and eigh as torch computes them", function()
  for _, name in ipairs { "tall", "wide", "square" } do
    local g, a = given("qr_" .. name)
    local q, r = a:qr()
    near(q, g.q, nil, name)
    near(r, g.r, nil, name)
    g, a = given("svd_" .. name)
    local u, s, v = a:svd()
    near(s, g.s, nil, name)
    near((u * s:unsqueeze(-2)):matmul(v:transpose()), g.product, nil, name)
    orthonormal(u, name)
    orthonormal(v, name)
    g, a = given("pinv_" .. name)
    near(a:pinv(), g.pinv, 1e-5, name)
  end
  local g, a = given "eigh"
  local w, v = a:eigh()
  near(w, g.w, 2e-6)
  near((v * w:unsqueeze(-2)):matmul(v:transpose()), a, 4e-6)
  orthonormal(v)
  local rhs
  g, a, rhs = given "lstsq"
  near(a:lstsq(rhs), g.x, 2e-6)
  near(a:lstsq(rhs:select(2, 1)), from(g.x):select(2, 1), 2e-6)
end)

t.case("repeated eigenvalues and missing rank: any basis, but a basis", function()
  local q = (tensor.randn({ 6, 6 }, "basis"):qr())
  local twice = (q * from { 1, 1, 1, 4, 4, 9 }):matmul(q:transpose())
  local w, v = twice:eigh()
  near(w, { 1, 1, 1, 4, 4, 9 }, 4e-6)
  orthonormal(v)
  near((v * w):matmul(v:transpose()), twice, 6e-6)
  for _, size in ipairs { { 7, 4 }, { 4, 7 } } do
    local low = tensor.randn({ size[1], 2 }, "u"):matmul(tensor.randn({ 2, size[2] }, "v"))
    local u, s, right = low:svd()
    orthonormal(u)
    orthonormal(right)
    near((u * s):matmul(right:transpose()), low, 4e-6)
    near(low:matmul(low:pinv(1e-5)):matmul(low), low, 1e-5)
  end
  local u, s, right = tensor.zeros(5, 3):svd()
  near(s, { 0, 0, 0 }, 0)
  orthonormal(u)
  orthonormal(right)
  near(tensor.eye(3):eigh(), { 1, 1, 1 }, 0)
end)

t.case("signs are fixed: the largest element of a column is positive", function()
  local _, v = from({ { 2, -1 }, { -1, 2 } }):eigh()
  local r = math.sqrt(0.5)
  near(v, { { r, r }, { r, -r } }, 1e-6)
  local u, s, right = from({ { -3, 0 }, { 0, 2 } }):svd()
  near(s, { 3, 2 }, 0)
  near(u, { { -1, 0 }, { 0, 1 } }, 0)
  near(right, { { 1, 0 }, { 0, 1 } }, 0)
end)

t.case("what cannot be done is said with the matrix's number", function()
  local batch = tensor.stack { tensor.eye(2), from { { 1, 2 }, { 2, 1 } } }
  t.fails(function() batch:cholesky() end, "cholesky: matrix 2 of 2 is not positive definite %(leading minor 2%) %->")
  local lower, info = batch:cholesky_ex()
  t.eq(info:tolua(), { 0, 2 })
  t.ok(lower:at(2, 1, 1) ~= lower:at(2, 1, 1), "a failed factor is NaN")
  near(lower[1], tensor.eye(2), 0)
  t.fails(function() from({ { 1, 2 }, { 2, 4 } }):inverse() end, "solve: matrix is singular %(pivot 2 is 0%) %->")
  t.fails(function() tensor.zeros(2, 3):inverse() end, "inverse: shape %[2, 3%] is not square")
  t.fails(function() tensor.zeros(3):qr() end, "qr: shape %[3%] is not a matrix")
  t.fails(function() tensor.eye(3):solve(tensor.ones(4, 1)) end, "do not fit: 3 unknowns, 4 rows")
  local w = from({ { 1, 0 }, { 0 / 0, 1 } }):eigh()
  t.ok(w:at(1) ~= w:at(1), "NaN in, NaN out")
end)
