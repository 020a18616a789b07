-- SPDX-License-Identifier: Apache-2.0
-- CriticalKV: a first share of the budget goes to the best scores; the rest is chosen by score times what the value
-- weighs in the layer's output, the L1 norm after the output projection. The first share counts as chosen for good, so
-- that the rule still is a score and can stand inside a wrapper.
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

return {
  name = "criticalkv",
  paper = "arXiv:2502.03805",
  doc = "Chooses the second part of the budget by score times the norm of the projected value.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    epsilon = { default = 1e-4, min = 0, doc = "added to the score before that product" },
    first_stage_ratio = { default = 0.5, min = 0, max = 1, doc = "share of the budget that goes by score alone" },
  },
  paper_preset = { of = { press = "expected_attention", use_vnorm = false } },
  ratio_dependent = true,
  check = function(self) parts.expect_scorer(self, self.of, "reweighs scores") end,
  score = function(self, ctx, ratio)
    local function inner() return orders.finite(self.of, parts.score(self.of, ctx, ratio)) end
    local key = ("critical scores %d %d"):format(ctx.layer_first, ctx.layers) -- the same for every ratio, mostly
    local scores = self.of.ratio_dependent and inner() or ctx:once(key, inner)
    local open = ctx.evictable[2] - ctx.evictable[1]
    local first = math.floor((1 - (ratio or 1)) * open * self.first_stage_ratio)
    local candidates = tensor.where(parts.competing(ctx.tokens, ctx.evictable), scores, -math.huge)
    return tensor.where(candidates:rank(-1):lt(first), math.huge, (scores + self.epsilon) * parts.projected_norm(ctx))
  end,
}
