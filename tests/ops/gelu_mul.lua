-- SPDX-License-Identifier: Apache-2.0
return {
  op = "gelu_mul", tol = 1e-6, why = "exp, the cube and the quotient in f32",
  build = function(c, h) return h:input { c.rows, 2 * c.dim }, h:output({ c.rows, c.dim }, c.dtype) end,
  cases = {
    { rows = 0, dim = 8 }, { rows = 1, dim = 1 }, { rows = 3, dim = 577 }, { rows = 150, dim = 1536 },
    { rows = 7, dim = 64, strided = true }, { rows = 5, dim = 33, transposed = true }, { rows = 9, dim = 100,
      fill = "wide" },
    { rows = 20, dim = 1536, dtype = "bf16", tol = 8e-3,
      why = "output in bf16: a half-way case may round the other way" },
  },
}
