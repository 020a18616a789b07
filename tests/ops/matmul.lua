-- SPDX-License-Identifier: Apache-2.0
return {
  op = "matmul", tol = 3e-6, why = "f32 accumulation, fused multiply-add",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    local m, k, n = unpack(c.size)
    return h:input(with(m, k), { broadcast = c.a }), h:input(with(k, n), { broadcast = c.b }), h:output(with(m, n))
  end,
  cases = {
    { size = { 0, 3, 2 } }, { size = { 2, 0, 3 } }, { size = { 2, 3, 0 } }, { size = { 1, 1, 1 } },
    { size = { 1, 577, 1 }, tol = 1e-4, why = "one output: 577 products cancel to 0.1 while f32 rounds partial sums of about 20" },
    { size = { 8, 64, 32 } },
    { size = { 9, 65, 33 } }, { size = { 250, 64, 64 } }, { size = { 63, 7, 129 } }, { size = { 300, 500, 400 } },
      { size = { 5, 16, 31 } },
    { batch = { 2, 3 }, size = { 17, 19, 23 } }, { batch = { 30, 3, 3 }, size = { 64, 250, 64 } }, { batch = { 4, 3 },
      size = { 5, 6, 7 }, a = { 1 } },
    { batch = { 4, 3 }, size = { 5, 6, 7 }, b = { 1, 2 } }, { batch = { 2, 2, 3 }, size = { 5, 6, 70 }, a = { 3 },
      b = { 2 } },
    { size = { 33, 20, 41 }, strided = true }, { size = { 33, 20, 41 }, transposed = true }, { batch = { 3 },
      size = { 64, 250, 64 }, transposed = true },
    { size = { 20, 20, 20 }, fill = "special", special = true }, { batch = { 0 }, size = { 3, 4, 5 } },
  },
}
