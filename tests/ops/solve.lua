-- SPDX-License-Identifier: Apache-2.0
local tensor = require "kvbench.tensor"
local function singular(x) return x * tensor.arange(x:size(-1)):gt(0) end -- the first column is 0
return {
  op = "solve", tol = 2e-5, why = "another order of the sums, times the condition of a random matrix",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    return h:input(with(c.n, c.n), { broadcast = c.a, map = c.singular and singular or nil }), h:input(with(c.n, c.k)),
      h:output(with(c.n, c.k)), h:output(c.batch or {}, "i32")
  end,
  cases = {
    { n = 0, k = 3 }, { n = 3, k = 0 }, { n = 1, k = 1 }, { n = 2, k = 1 }, { batch = { 7 }, n = 33, k = 5 },
    { batch = { 4, 3 }, n = 64, k = 64 }, { n = 128, k = 3 }, { batch = { 4 }, n = 7, k = 5, strided = true },
    { batch = { 4 }, n = 7, k = 5, transposed = true }, { batch = { 0 }, n = 4, k = 4 }, { batch = { 5 }, n = 6, k = 2,
      a = { 1 } },
    { batch = { 3 }, n = 4, k = 2, singular = true, special = true }, { batch = { 60 }, n = 3, k = 2, fill = "special",
      special = true },
    { batch = { 10 }, n = 5, k = 2, fill = "ties", special = true },
  },
}
