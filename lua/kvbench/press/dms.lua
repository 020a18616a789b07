-- SPDX-License-Identifier: Apache-2.0
-- DMS, as the reference has it: a score below a threshold means eviction, whatever that leaves, and recent tokens are
-- safe. Meant for scores that mean the same in every context and layer (KVzap's log scores). Without a threshold the
-- ratio sets one for the whole model.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

return {
  name = "dms",
  paper = "arXiv:2506.05345",
  doc = "Evicts what scores below one threshold for all layers and heads; recent tokens are safe.",
  formula = "the inner score",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    threshold = { kind = "number", optional = true,
      doc = "scores below it are evicted, whatever the ratio (KVPress); unset: as the ratio needs" },
    sliding_window_size = { default = 128, min = 0, integer = true, doc = "recent tokens that always stay" },
  },
  paper_preset = { of = "knorm" },
  scope = "model",
  budget = function(self) return self.threshold and "own" or "exact" end,
  check = function(self)
    require("kvbench.press_parts").expect_scorer(self, self.of, "compares scores with a threshold")
  end,
  score = function(self, ctx, ratio)
    local n = ctx.tokens
    local window = self.threshold and math.min(n, self.sliding_window_size)
      or self:at_most("sliding_window_size", math.floor(n / 2))
    local score = orders.checked_score(self.of, ctx, ratio)
    return tensor.where(tensor.arange(n):ge(n - window), math.huge, score)
  end,
  cut = function(self, order, ratio)
    if self.threshold then return keepset.from_bits(order.scores:ge(self.threshold)) end
    return keepset.from_ranks(order:rank "model", order.layers * order.kv_heads * (order:budget(ratio)))
  end,
}
