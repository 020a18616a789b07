-- SPDX-License-Identifier: Apache-2.0
-- Another ratio in every layer. compression_ratios is a profile: at its own mean it holds as given (the reference knows
-- no other), below the evicted shares shrink in proportion, above the kept shares do. So the mean over layers is always
-- the ratio that was asked for, and larger ratios keep subsets.
local parts = require "kvbench.press_parts"
local ratios = require "kvbench.ratios"

local function layer_ratio(profile, mean, layer, ratio)
  local own = profile[layer + 1]
  if math.abs(ratio - mean) < 1e-6 then return own end
  if ratio < mean then return own * ratio / mean end
  return 1 - (1 - own) * (1 - ratio) / (1 - mean)
end

return {
  name = "per_layer",
  doc = "Spends the budget unevenly over layers, by a profile of ratios.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    compression_ratios = { kind = "ratios", optional = true, doc = "share evicted in each layer; none: all alike" },
  },
  paper_preset = { of = "knorm" },
  budget = "approx",
  check = function(self)
    parts.expect_scorer(self, self.of, "gives every layer a budget")
    if self.of.scope == "model" or self.of.ratio_dependent then
      error(("press 'per_layer': the scores of '%s' belong to one ratio for all layers -> a rule that does not look at it")
        :format(self.of.name), 0)
    end
  end,
  scope = function(self) return self.of.scope end,
  score = function(self, ctx, ratio) return parts.score(self.of, ctx, ratio) end,
  thresholds = function(self, order, ratio)
    local profile, mean = self.compression_ratios, 0
    if profile and #profile ~= order.layers then
      error(("press 'per_layer': compression_ratios has %d ratios, the context has %d layers"):format(#profile,
        order.layers), 0)
    end
    for _, own in ipairs(profile or {}) do mean = mean + own / #profile end
    local cells = self.scope == "layer" and order.kv_heads or 1
    return order:thresholds(function(layer)
      return cells * order:budget(ratios.round(profile and layer_ratio(profile, mean, layer, ratio) or ratio))
    end)
  end,
}
