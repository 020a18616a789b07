-- SPDX-License-Identifier: Apache-2.0
return {
  op = "rank", tol = 0,
  build = function(c, h) return h:input(c.shape), h:output(c.shape, "u32") end,
  cases = {
    { shape = { 0 } }, { shape = { 3, 0 } }, { shape = { 1 } }, { shape = { 2 } }, { shape = { 577 } },
      { shape = { 30, 3, 250 } }, { shape = { 5, 3000 } },
    { shape = { 7, 100 }, fill = "ties" }, { shape = { 3, 2000 }, fill = "ties" }, { shape = { 4, 300 },
      fill = "infinite" }, { shape = { 4, 300 }, fill = "tiny" },
    { shape = { 4, 300 }, fill = "huge" }, { shape = { 7, 50 }, strided = true, fill = "ties" }, { shape = { 9, 40 },
      transposed = true },
    { shape = { 40, 50 }, fill = "special", error = "NaN at position" },
  },
}
