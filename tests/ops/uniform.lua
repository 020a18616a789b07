-- SPDX-License-Identifier: Apache-2.0
return {
  op = "uniform", tol = 0,
  build = function(c, h) return h:output(c.shape), 0x123456789abcdefULL * (c.seed or 1), c.first or 0 end,
  cases = {
    { shape = {} }, { shape = { 0 } }, { shape = { 577 } }, { shape = { 30, 3, 250 } }, { shape = { 5, 6 }, seed = 2,
      first = 1000000 },
    { shape = { 7, 9 }, strided = true }, { shape = { 7, 9 }, transposed = true },
  },
}
