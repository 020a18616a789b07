-- SPDX-License-Identifier: Apache-2.0
return {
  op = "argmax_margin", tol = 0,
  build = function(c, h) return h:input { c.rows, c.n }, h:output({ c.rows }, "i32"), h:output { c.rows } end,
  cases = {
    { rows = 0, n = 5 }, { rows = 1, n = 1 }, { rows = 3, n = 2 }, { rows = 5, n = 577 }, { rows = 40, n = 49152 },
    { rows = 6, n = 100, fill = "ties" }, { rows = 7, n = 64, strided = true }, { rows = 4, n = 33, transposed = true },
    { rows = 1, n = 0, error = "no elements" },
  },
}
