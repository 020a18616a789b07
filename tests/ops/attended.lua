-- SPDX-License-Identifier: Apache-2.0
return {
  op = "attended", tol = 3e-6, why = "f32 logits and exponentials",
  build = function(c, h)
    local function with(...)
      local shape = { unpack(c.batch or {}) }
      for _, n in ipairs { ... } do shape[#shape + 1] = n end
      return shape
    end
    return h:input(with(c.group, c.rows, c.d), { map = function(q) return q / 4 end }), h:input(with(c.n, c.d)),
      h:output(with(c.n)), c.scale or 0.5
  end,
  cases = {
    { group = 1, rows = 1, n = 1, d = 1 }, { group = 3, rows = 0, n = 5, d = 4 }, { group = 2, rows = 5, n = 5, d = 8 },
    { group = 3, rows = 64, n = 250, d = 64 }, { group = 1, rows = 250, n = 251, d = 33 }, { group = 2, rows = 4, n = 0,
      d = 4,
      error = "comes with its key" }, { group = 1, rows = 6, n = 5, d = 4, error = "comes with its key" },
    { batch = { 0 }, group = 1, rows = 2, n = 4, d = 8 }, { batch = { 30, 3 }, group = 3, rows = 16, n = 70, d = 64 },
    { batch = { 2 }, group = 2, rows = 200, n = 470, d = 128 }, { batch = { 3 }, group = 2, rows = 7, n = 20, d = 16,
      strided = true },
    { batch = { 3 }, group = 2, rows = 7, n = 20, d = 16, transposed = true }, { group = 4, rows = 1, n = 33, d = 96,
      scale = 0.25 },
  },
}
