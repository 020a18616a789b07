-- SPDX-License-Identifier: Apache-2.0
return {
  op = "copy", tol = 0,
  build = function(c, h)
    return h:input(c.shape, { dtype = c.from, broadcast = c.broadcast }), h:output(c.shape, c.to)
  end,
  cases = {
    { shape = {} }, { shape = { 0 } }, { shape = { 3, 0, 2 } }, { shape = { 1 } }, { shape = { 577 } }, { shape = { 3,
      5, 7 } },
    { shape = { 40, 3, 50, 17 } }, { shape = { 9, 11 }, strided = true }, { shape = { 30, 41 }, transposed = true },
    { shape = { 300, 701 }, transposed = true }, { shape = { 70000 } }, { shape = { 2, 3, 4, 5, 6 } },
    { shape = { 4, 6 }, broadcast = { 1 } }, { shape = { 4, 6 }, broadcast = { 2 } }, { shape = { 8, 9 },
      fill = "special", special = true },
    { shape = { 50 }, to = "f16" }, { shape = { 50 }, to = "bf16" }, { shape = { 50 }, from = "bf16" },
      { shape = { 50 }, from = "f16", to = "bf16" },
    { shape = { 50 }, to = "i32", fill = "wide" }, { shape = { 50 }, to = "u8", fill = "wide" }, { shape = { 50 },
      to = "u32", fill = "wide" },
    { shape = { 50 }, to = "i64", fill = "huge" }, { shape = { 50 }, to = "i32", fill = "special" }, { shape = { 50 },
      from = "i64", to = "i64" },
    { shape = { 5, 10 }, from = "u8", to = "u8", strided = true }, { shape = { 5, 10 }, from = "i32", to = "i32",
      strided = true },
  },
}
