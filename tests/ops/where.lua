-- SPDX-License-Identifier: Apache-2.0
return {
  op = "where", tol = 0,
  build = function(c, h)
    local function input(b, fill) return h:input({ unpack(c.shape) }, { broadcast = b, fill = fill }) end
    return input(c.c, "ties"), input(c.a), input(c.b), h:output(c.shape)
  end,
  cases = {
    { shape = {} }, { shape = { 0 } }, { shape = { 577 } }, { shape = { 3, 33, 5 } }, { shape = { 200, 300 } },
      { shape = { 7, 19 }, strided = true },
    { shape = { 6, 31 }, transposed = true }, { shape = { 5, 40 }, c = { 1 } }, { shape = { 5, 40 }, a = { 1, 2 },
      b = { 2 } },
    { shape = { 40, 50 }, fill = "special", special = true },
  },
}
