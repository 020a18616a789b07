-- SPDX-License-Identifier: Apache-2.0
-- The other triangle holds numbers too: it must not be read.
local tensor = require "kvbench.tensor"
local function strong(x) -- a diagonal away from 0
  local n = x:size(-1)
  local i, j = tensor.arange(n):view(n, 1), tensor.arange(n):view(1, n)
  return tensor.where(i:eq(j), x:abs() + 1, x / math.max(n, 1))
end
local cases = {}
for _, upper in ipairs { 0, 1 } do
  for _, transpose in ipairs { 0, 1 } do
    for _, c in ipairs {
      { n = 0, k = 3 }, { n = 3, k = 0 }, { n = 1, k = 1 }, { batch = { 5 }, n = 17, k = 9 }, { batch = { 2, 3 },
        n = 64, k = 250 },
      { batch = { 4 }, n = 7, k = 5, strided = true }, { batch = { 4 }, n = 7, k = 5, transposed = true },
      { batch = { 0 }, n = 4, k = 4 }, { batch = { 30 }, n = 5, k = 2, fill = "special", special = true },
      { batch = { 4 }, n = 6, k = 3, broadcast = { 1 } },
    } do
      c.upper, c.transpose = upper, transpose
      cases[#cases + 1] = c
    end
  end
end
cases[#cases + 1] = { n = 4, k = 2, rows = 3, error = "b is f32 %[3, 2%], expected f32 %[4, any%]" }
return {
  op = "triangular", tol = 1e-6, why = "the order of the sums",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    return h:input(with(c.n, c.n), { map = strong, broadcast = c.broadcast }), h:input(with(c.rows or c.n, c.k)),
      h:output(with(c.n, c.k)), c.upper or 0, c.transpose or 0
  end,
  cases = cases,
}
