-- SPDX-License-Identifier: Apache-2.0
local tensor = require "kvbench.tensor"
return {
  op = "rope", tol = 2e-7, why = "two f32 products and a sum",
  build = function(c, h)
    local positions = {}
    for r = 1, c.rows do positions[r] = (r * 7) % c.table end
    if c.outside then positions[1] = c.table end
    local function halves(t) -- both halves of a table are equal, as the rotate-half layout has it
      local first = t:narrow(2, 1, c.dim / 2)
      return tensor.cat({ first, first }, 2)
    end
    return h:inout { c.rows, c.heads, c.dim }, h:input({ c.table, c.dim }, { map = halves }), h:input({ c.table,
      c.dim }, { map = halves }),
      h:input({ c.rows }, { dtype = "i32", values = tensor.from(#positions > 0 and positions or {}) })
  end,
  cases = {
    { rows = 0, heads = 2, dim = 8, table = 4 }, { rows = 1, heads = 1, dim = 2, table = 1 }, { rows = 5, heads = 3,
      dim = 34, table = 40 },
    { rows = 200, heads = 9, dim = 64, table = 300 }, { rows = 6, heads = 2, dim = 16, table = 9, strided = true },
    { rows = 3, heads = 1, dim = 128, table = 50 }, { rows = 2, heads = 1, dim = 8, table = 4, outside = true,
      error = "position 4" },
  },
}
