-- SPDX-License-Identifier: Apache-2.0
-- Random matrices have full rank and distinct singular values; rank deficiency and repeated values leave a choice of
-- basis and are tested by their properties (tests/lua/linalg_test.lua).
return {
  op = "svd", tol = 4e-6, why = "another order of rotations, divided by the gaps between singular values",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    local k = math.min(c.m, c.n)
    return h:input(with(c.m, c.n)), h:output(with(c.m, k)), h:output(with(k)), h:output(with(c.n, k))
  end,
  cases = {
    { m = 0, n = 0 }, { m = 0, n = 3 }, { m = 3, n = 0 }, { m = 1, n = 1 }, { m = 1, n = 5 }, { m = 5, n = 1 },
    { batch = { 5 }, m = 33, n = 17 }, { batch = { 5 }, m = 17, n = 33 }, { batch = { 2, 2 }, m = 250, n = 64 },
    { m = 64, n = 64 }, { batch = { 4 }, m = 9, n = 5, strided = true }, { batch = { 4 }, m = 9, n = 5,
      transposed = true },
    { batch = { 0 }, m = 4, n = 3 }, { batch = { 50 }, m = 4, n = 3, fill = "special", special = true },
    { batch = { 3 }, m = 8, n = 6, fill = "huge" },
  },
}
