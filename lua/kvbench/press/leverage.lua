-- SPDX-License-Identifier: Apache-2.0
-- Leverage: how far a key (before RoPE) lies from what the other keys span. Keys are centred and projected on random
-- directions; with X the result, the leverage of row j is x_j' (X'X + jitter I)^-1 x_j.
local normal = require "kvbench.press_normal"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

-- The factor of the first X'X + jitter I that is positive definite, and its jitter, trying the reference's.
local function factor(gram, identity)
  local jitter = 1e-2
  for _ = 1, 5 do
    local lower, info = (gram + identity * jitter):cholesky_ex()
    if info:to("f32"):abs():max() == 0 then return lower, jitter end
    jitter = jitter * 10
  end
  error("press 'leverage': the projected keys have no positive definite Gram matrix -> do they hold NaN or inf?", 0)
end

return {
  name = "leverage",
  paper = "arXiv:2507.08143",
  doc = "Keeps outliers among the keys before RoPE, by their approximate leverage scores.",
  formula = "z(x_j' (X'X + 0.01 I)^-1 x_j), X = (k - mean k) G, G random [d, sketch_dimension]",
  params = {
    sketch_dimension = { default = 48, min = 1, integer = true, doc = "random directions" },
    seed = { default = 0, kind = "seed", doc = "of the random directions, which differ by layer and head" },
  },
  score = function(self, ctx)
    local d, k = ctx.head_dim, self.sketch_dimension
    local keys = rotary.keys_before(ctx)
    local first = ctx.layer_first * ctx.kv_heads * d * k
    local directions = tensor.randn({ ctx.layers, ctx.kv_heads, d, k }, "leverage/" .. self.params.seed, first)
    local x = (keys - keys:mean(3):unsqueeze(3)):matmul(directions / math.sqrt(k))
    local position = tensor.arange(k)
    local identity = position:unsqueeze(2):eq(position:unsqueeze(1))
    local lower, jitter = factor(x:transpose():matmul(x), identity)
    local half = lower:solve_triangular(x:transpose()) -- G = L L', so x' G^-1 x = |L^-1 x|^2
    -- X'X was rounded, and its condition is the square of X's: what L^-1 leaves of it is nearly I, and factored once
    -- more
    local every = identity:expand(lower:size())
    local inverse = lower:solve_triangular(every)
    local rest = half:matmul(half:transpose()) + inverse:matmul(inverse:transpose()) * jitter
    local length = rest:cholesky():solve_triangular(every):matmul(half):norm(-2)
    return normal.per_layer(length * length)
  end,
}
