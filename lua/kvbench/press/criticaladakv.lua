-- SPDX-License-Identifier: Apache-2.0
-- CriticalAdaKV: how many tokens a head keeps is AdaKV's decision, which ones is CriticalKV's: a first share by score,
-- the rest by score times the norm of the projected value.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

return {
  name = "criticaladakv",
  paper = "arXiv:2502.03805",
  doc = "AdaKV's budget per head, spent in CriticalKV's two stages.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    alpha_safeguard = { default = 0.2, min = 0, max = 1, doc = "share of its even budget that every head keeps" },
    epsilon = { default = 1e-4, min = 0, doc = "added to the score before the product" },
    first_stage_ratio = { default = 0.5, min = 0, max = 1, doc = "share of a head's budget that goes by score alone" },
  },
  paper_preset = { of = { press = "expected_attention", use_vnorm = false } },
  nested = false,
  check = function(self) parts.expect_scorer(self, self.of, "shares a budget among heads") end,
  score = function(self, ctx, ratio) return parts.score(self.of, ctx, ratio) end,
  order = function(self, order, ctx, ratio)
    local scores = orders.scores(self, ctx, ratio, order.evictable)
    order.scores = orders.protect(scores, order.evictable, 0)
    order.weighted = (orders.finite(self.of, scores) + self.epsilon) * orders.by_block(self, ctx, nil,
      parts.projected_norm)
  end,
  cut = function(self, order, ratio)
    local budgets, safe = parts.shared_budgets(order, ratio, self.alpha_safeguard)
    local total, open = order:budget(ratio)
    local first = parts.per_head(order, function(layer, head)
      local competing = budgets[layer * order.kv_heads + head] - (total - open)
      return math.max(safe, total - open + math.floor(competing * self.first_stage_ratio))
    end)
    local chosen = order:rank("head"):lt(first)
    return keepset.from_ranks(tensor.where(chosen, math.huge, order.weighted):rank(-1), budgets)
  end,
}
