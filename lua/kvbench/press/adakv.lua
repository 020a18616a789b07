-- SPDX-License-Identifier: Apache-2.0
-- AdaKV: the heads of a layer share one budget. In every head the best alpha_safeguard of its even share is safe; the
-- rest of the layer's budget goes to the highest scores of any head. What a head keeps is always its own best tokens,
-- so the decision is one number per head: how many.
local parts = require "kvbench.press_parts"

return {
  name = "adakv",
  paper = "arXiv:2407.11550",
  doc = "Lets the heads of a layer compete for one budget, with a guaranteed minimum each.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    alpha_safeguard = { default = 0.2, min = 0, max = 1, doc = "share of its even budget that every head keeps" },
  },
  paper_preset = { of = { press = "expected_attention", epsilon = 1e-2 } },
  from_scores = true, -- decides by the scores alone
  check = function(self) parts.expect_scorer(self, self.of, "shares a budget among heads") end,
  score = function(self, ctx, ratio) return parts.score(self.of, ctx, ratio) end,
  thresholds = function(self, order, ratio)
    return (parts.shared_budgets(order, ratio, self.alpha_safeguard))
  end,
}
