-- SPDX-License-Identifier: Apache-2.0
return {
  op = "linear", tol = 2e-6, why = "f32 accumulation in another order",
  build = function(c, h)
    return h:input({ c.rows, c.into }, { dtype = c.dtype }), h:input { c.out, c.into }, c.bias and h:input { c.out }
      or nil,
      h:output { c.rows, c.out }
  end,
  cases = {
    { rows = 0, into = 8, out = 4 }, { rows = 1, into = 1, out = 1 }, { rows = 3, into = 577, out = 31, bias = true },
    { rows = 64, into = 576, out = 192, bias = true }, { rows = 200, into = 300, out = 500 }, { rows = 2, into = 16,
      out = 0 },
    { rows = 7, into = 64, out = 5, bias = true, strided = true }, { rows = 4, into = 30, out = 9, transposed = true },
    { rows = 33, into = 576, out = 64, bias = true, dtype = "bf16" },
  },
}
