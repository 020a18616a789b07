-- SPDX-License-Identifier: Apache-2.0

-- x / |x|, with |x| at least eps.
local function unit(x, eps) return x / x:norm(-1):clamp(eps, math.huge):unsqueeze(-1) end

return {
  name = "keydiff",
  paper = "arXiv:2504.15364",
  doc = "Keeps the keys that point away from the mean direction of all keys.",
  formula = "-cos(k_j, mean over i of k_i / |k_i|)",
  score = function(_, ctx)
    local anchor = unit(ctx.keys, 1e-12):mean(3):unsqueeze(3) -- [layers, kv_heads, 1, d]
    return -unit(ctx.keys, 1e-8):vecdot(unit(anchor, 1e-8))
  end,
}
