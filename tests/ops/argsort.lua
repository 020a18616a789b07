-- SPDX-License-Identifier: Apache-2.0
return {
  op = "argsort", tol = 0,
  build = function(c, h) return h:input(c.shape), h:output(c.shape, "i32"), c.down and 1 or 0, c.base or 0 end,
  cases = {
    { shape = { 0 } }, { shape = { 1 } }, { shape = { 577 } }, { shape = { 577 }, down = true, base = 1 },
      { shape = { 30, 3, 250 }, down = true },
    { shape = { 7, 100 }, fill = "ties" }, { shape = { 7, 100 }, fill = "ties", down = true }, { shape = { 4, 300 },
      fill = "infinite", base = 1 },
    { shape = { 7, 50 }, strided = true, fill = "ties" }, { shape = { 9, 40 }, transposed = true, down = true },
    { shape = { 40, 50 }, fill = "special", error = "NaN at position" },
  },
}
