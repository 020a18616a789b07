-- SPDX-License-Identifier: Apache-2.0
return {
  op = "vecdot", tol = 1e-6, why = "sums in another order",
  build = function(c, h)
    local out = { unpack(c.shape) }
    table.remove(out)
    return h:input({ unpack(c.shape) }, { broadcast = c.a }), h:input({ unpack(c.shape) }, { broadcast = c.b }),
      h:output(out)
  end,
  cases = {
    { shape = { 0 } }, { shape = { 1 } }, { shape = { 577 } }, { shape = { 5, 33 } }, { shape = { 0, 4 } },
      { shape = { 4, 0 } }, { shape = { 30, 9, 250, 64 } },
    { shape = { 3, 2, 4, 16 }, a = { 2 } }, { shape = { 3, 2, 4, 16 }, b = { 3 } }, { shape = { 7, 16 },
      strided = true }, { shape = { 7, 16 }, transposed = true },
    { shape = { 3, 16 }, b = { 2 } }, { shape = { 40, 50 }, fill = "special", special = true },
  },
}
