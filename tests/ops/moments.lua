-- SPDX-License-Identifier: Apache-2.0
return {
  op = "moments", tol = 3e-6, why = "f32 products of centred rows",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    return h:input(with(c.n, c.d), { broadcast = c.x }), h:output(with(c.d)), h:output(with(c.d, c.d))
  end,
  cases = {
    { n = 1, d = 1 }, { n = 5, d = 3 }, { n = 250, d = 64 }, { n = 577, d = 33 }, { n = 7, d = 0 }, { batch = { 0 },
      n = 4, d = 8 },
    { batch = { 30, 9 }, n = 37, d = 64 }, { batch = { 2, 3 }, n = 300, d = 128 }, { batch = { 3 }, n = 20, d = 96,
      strided = true },
    { batch = { 3 }, n = 20, d = 16, transposed = true }, { batch = { 4, 2 }, n = 9, d = 16, x = { 2 } },
    { batch = { 2 }, n = 0, d = 4, error = "no rows" }, { n = 300, d = 80, fill = "uniform" },
  },
}
