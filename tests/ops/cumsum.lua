-- SPDX-License-Identifier: Apache-2.0
return {
  op = "cumsum", tol = 1e-6, why = "the running sum may be kept in f32",
  build = function(c, h) return h:input(c.shape), h:output(c.shape), c.dim - 1 end,
  cases = {
    { shape = { 0 }, dim = 1 }, { shape = { 1 }, dim = 1 }, { shape = { 577 }, dim = 1 }, { shape = { 5, 33 },
      dim = 1 }, { shape = { 4, 7, 65 }, dim = 2 },
    { shape = { 100, 1000 }, dim = 2 }, { shape = { 6, 21 }, dim = 2, strided = true }, { shape = { 9, 70 }, dim = 1,
      transposed = true },
  },
}
