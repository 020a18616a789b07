-- SPDX-License-Identifier: Apache-2.0
return {
  op = "qr", tol = 2e-6, why = "the order of the sums",
  build = function(c, h)
    local batch = c.batch or {}
    local function with(...)
      local shape = { unpack(batch) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    local k = math.min(c.m, c.n)
    return h:input(with(c.m, c.n)), h:output(with(c.m, k)), h:output(with(k, c.n))
  end,
  cases = {
    { m = 0, n = 0 }, { m = 0, n = 3 }, { m = 3, n = 0 }, { m = 1, n = 1 }, { m = 1, n = 5 }, { m = 5, n = 1 },
    { batch = { 6 }, m = 33, n = 17 }, { batch = { 6 }, m = 17, n = 33 }, { batch = { 2, 3 }, m = 250, n = 64 },
    { m = 64, n = 64 }, { batch = { 4 }, m = 9, n = 5, strided = true }, { batch = { 4 }, m = 9, n = 5,
      transposed = true },
    { batch = { 0 }, m = 4, n = 3 }, { batch = { 50 }, m = 4, n = 3, fill = "special", special = true },
  },
}
