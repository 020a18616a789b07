-- SPDX-License-Identifier: Apache-2.0
-- PyramidKV: SnapKV's scores, but lower layers keep more than higher ones. The number kept falls linearly from the
-- first layer to the last around the same mean; where the pyramid does not fit (its top under the window, its base over
-- the context), every layer keeps the same number, as in the reference.
local find = require "kvbench.press_find"
local ratios = require "kvbench.ratios"

local snapkv = find.find "snapkv"

-- Tokens that layer `layer` (from 0) of `layers` keeps of n.
local function budget(self, n, ratio, layer, layers, window)
  local mean = n * (1 - ratio)
  local low = mean / self.beta
  local high = mean * 2 - low
  if high >= n - window then
    high = n - window
    low = mean * 2 - high
  end
  if not (n >= high and high >= low and low >= window) then
    return math.max(1, ratios.round_half_even(mean))
  end
  local step = layers > 1 and (high - low) / (layers - 1) or 0
  return math.max(1, ratios.round_half_even(high - layer * step))
end

return {
  name = "pyramidkv",
  paper = "arXiv:2406.02069",
  doc = "SnapKV with more tokens in lower layers and fewer in higher ones.",
  formula = "as snapkv; kept in layer l: linear from n(1-r)(2 - 1/beta) down to n(1-r)/beta",
  params = {
    window_size = snapkv.params.window_size,
    kernel_size = snapkv.params.kernel_size,
    beta = { default = 20, min = 1, doc = "how steep: the last layer keeps 1/beta of the mean" },
  },
  extends = "snapkv",
  check = snapkv.check,
  needs = snapkv.needs,
  score = snapkv.score,
  budget = "approx",
  nested = false, -- where the pyramid stops fitting, a higher ratio keeps more in the last layers
  thresholds = function(self, order, ratio)
    local total, kept = order:budget(ratio)
    local n = order.evictable[2] - order.evictable[1]
    local protected = total - kept
    local window = self:last_of("window_size", order.tokens)
    local first = order.ctx.layer_first or 0
    local layers = order.ctx.model and order.ctx.model.layers or first + order.layers
    return order:thresholds(function(layer)
      return protected + budget(self, n, ratio, first + layer, layers, window)
    end)
  end,
}
