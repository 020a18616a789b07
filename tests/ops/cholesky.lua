-- SPDX-License-Identifier: Apache-2.0
-- x x^T + 0.1, so that it is positive; the upper triangle is another matrix's: it must not be read.
local tensor = require "kvbench.tensor"
local function positive(x)
  local n = x:size(-1)
  local i, j = tensor.arange(n):view(n, 1), tensor.arange(n):view(1, n)
  return tensor.where(i:ge(j), x:matmul(x:transpose()) / math.max(n, 1) + i:eq(j) * 0.1, x)
end
return {
  op = "cholesky", tol = 1e-6, why = "the order of the sums",
  build = function(c, h)
    local batch = { unpack(c.shape, 1, #c.shape - 2) }
    return h:input(c.shape, { map = not c.indefinite and positive or nil }), h:output(c.shape), h:output(batch, "i32")
  end,
  cases = {
    { shape = { 0, 0 } }, { shape = { 3, 0, 0 } }, { shape = { 0, 4, 4 } }, { shape = { 1, 1 } }, { shape = { 2, 2 } },
    { shape = { 7, 33, 33 } }, { shape = { 4, 3, 64, 64 } }, { shape = { 2, 128, 128 } }, { shape = { 5, 9, 9 },
      strided = true }, { shape = { 5, 9, 9 }, transposed = true },
    { shape = { 20, 6, 6 }, indefinite = true, special = true }, { shape = { 60, 3, 3 }, fill = "special",
      special = true, indefinite = true },
    { shape = { 3, 4 }, indefinite = true, error = "x is f32 %[3, 4%], expected f32 %[3, 3%]" }, { shape = { 4 },
      indefinite = true, error = "x has 1 dimensions, a matrix has 2" },
  },
}
