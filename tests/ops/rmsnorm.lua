-- SPDX-License-Identifier: Apache-2.0
return {
  op = "rmsnorm", tol = 1e-6, why = "the sum of squares and the scale are f32: two roundings more",
  build = function(c, h)
    return h:input({ c.rows, c.dim }), h:input({ c.dim }, { fill = "positive" }), h:output({ c.rows, c.dim },
      c.dtype), 1e-5
  end,
  cases = {
    { rows = 0, dim = 8 }, { rows = 1, dim = 1 }, { rows = 3, dim = 577 }, { rows = 300, dim = 4096 }, { rows = 17,
      dim = 576 },
    { rows = 7, dim = 64, strided = true }, { rows = 5, dim = 33, transposed = true },
    { rows = 2, dim = 64, fill = "tiny", tol = 2e-6, why = "squares underflow: eps alone is left, rounded to f32" },
    { rows = 33, dim = 576, dtype = "bf16", tol = 8e-3,
      why = "output in bf16: 8 bits, a half-way case may round the other way" },
  },
}
