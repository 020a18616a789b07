-- SPDX-License-Identifier: Apache-2.0
-- For tests of what reads keep-sets.
-- A keep-set from rows of 0/1 strings: grid[layer][head] = "1010...".
return function(grid)
  local keep = { layers = #grid, kv_heads = #grid[1], tokens = #grid[1][1] }
  function keep:kept(l, h, tok) return grid[l + 1][h + 1]:sub(tok + 1, tok + 1) == "1" end
  function keep:layer_counts()
    local c = {}
    for l = 0, self.layers - 1 do
      for tok = 0, self.tokens - 1 do
        local n = 0
        for h = 0, self.kv_heads - 1 do if self:kept(l, h, tok) then n = n + 1 end end
        c[l * self.tokens + tok] = n
      end
    end
    return c
  end
  function keep:span_cells(from, to)
    local n = 0
    for l = 0, self.layers - 1 do
      for h = 0, self.kv_heads - 1 do
        local all = true
        for tok = from, to - 1 do all = all and self:kept(l, h, tok) end
        if all then n = n + 1 end
      end
    end
    return n
  end
  return keep
end
