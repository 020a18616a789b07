-- SPDX-License-Identifier: Apache-2.0
return {
  op = "quadratic", tol = 3e-6, why = "f32 products, pairs off the diagonal added first",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    return h:input(with(c.n, c.d), { broadcast = c.x }), h:input(with(c.d, c.d), { broadcast = c.c }),
      h:input(with(c.d), { broadcast = c.b }), h:output(with(c.n)), c.square or 0.25, c.linear or -2
  end,
  cases = {
    { n = 0, d = 3 }, { n = 1, d = 1 }, { n = 5, d = 3 }, { n = 250, d = 64 }, { n = 41, d = 33 }, { n = 7, d = 0 },
    { batch = { 0 }, n = 4, d = 8 }, { batch = { 30, 3, 3 }, n = 37, d = 64, x = { 3 } }, { batch = { 2, 3 }, n = 130,
      d = 128 },
    { batch = { 3 }, n = 20, d = 96, strided = true }, { batch = { 3 }, n = 20, d = 16, transposed = true },
    { batch = { 4, 2 }, n = 9, d = 16, c = { 1 }, b = { 2 } }, { n = 50, d = 48, square = 0 }, { n = 50, d = 48,
      linear = 0 },
  },
}
