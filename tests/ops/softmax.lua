-- SPDX-License-Identifier: Apache-2.0
return {
  op = "softmax", tol = 1e-6, why = "f32 exp",
  build = function(c, h) return h:input(c.shape), h:output(c.shape), c.dim - 1 end,
  cases = {
    { shape = { 1 }, dim = 1 }, { shape = { 0 }, dim = 1 }, { shape = { 4, 0 }, dim = 2 }, { shape = { 577 },
      dim = 1 }, { shape = { 5, 33 }, dim = 2 },
    { shape = { 5, 33 }, dim = 1 }, { shape = { 30, 9, 250 }, dim = 3 }, { shape = { 4, 3000 }, dim = 1 },
      { shape = { 3000, 4 }, dim = 1 },
    { shape = { 6, 21 }, dim = 2, strided = true }, { shape = { 9, 70 }, dim = 2, transposed = true }, { shape = { 8,
      100 }, dim = 2, fill = "wide" },
    { shape = { 8, 100 }, dim = 2, fill = "infinite" }, { shape = { 8, 100 }, dim = 2, fill = "huge" },
    { shape = { 40, 10 }, dim = 2, fill = "special", special = true }, { shape = { 3, 3 }, dim = 4,
      error = "dimension 4" },
  },
}
