-- SPDX-License-Identifier: Apache-2.0
-- Another ratio in every layer. compression_ratios is a profile: at its own mean it holds as given (the reference knows
-- no other), below the evicted shares shrink in proportion, above the kept shares do. So the mean over layers is always
-- the ratio that was asked for, and larger ratios keep subsets. A rule whose scores depend on the ratio scores every
-- layer at that layer's own; a press that decides by itself decides once for every ratio of the profile.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"
local view = require "kvbench.press_view"

local function layer_ratio(profile, layer, ratio)
  if not profile then return ratio end
  local own, mean = profile[layer + 1], 0
  for _, one in ipairs(profile) do mean = mean + one / #profile end
  if math.abs(ratio - mean) < 1e-6 then return ratios.round(own) end
  if ratio < mean then return ratios.round(own * ratio / mean) end
  return ratios.round(1 - (1 - own) * (1 - ratio) / (1 - mean))
end

-- Every layer from the keep-set that the press inside makes at that layer's ratio.
local function chosen_by(self, order, ratio)
  local sets, bits = {}, tensor.on("cpu", tensor.zeros, { order.layers, order.kv_heads, order.tokens }, "u8")
  for l = 1, order.layers do
    local own = layer_ratio(self.compression_ratios, l - 1, ratio)
    if not sets[own] then
      order.inner = not self.of.ratio_dependent and order.inner
        or self.of:order(order.ctx, { evictable = order.evictable }, own)
      sets[own] = own == 0 and keepset.all(order.layers, order.kv_heads, order.tokens) or order.inner:cut(own)
    end
    bits:narrow(1, l, 1):copy_(sets[own]:bits():narrow(1, l, 1):cpu())
  end
  return keepset.from_bits(bits)
end

return {
  name = "per_layer",
  doc = "Spends the budget unevenly over layers, by a profile of ratios.",
  params = {
    of = { kind = "press", doc = "the press that scores, or decides layer by layer" },
    compression_ratios = { kind = "ratios", optional = true, doc = "share evicted in each layer; none: all alike" },
  },
  paper_preset = { of = "knorm" },
  budget = "approx",
  check = function(self)
    local of = self.of
    parts.expect_prefill(self, of)
    if of.scope == "model" or of.whole or of.rule.across then
      error(("press 'per_layer': '%s' shares one budget among all layers -> a rule that ranks within a layer or head")
        :format(of.name), 0)
    elseif of.rule.rewrite then
      error(("press 'per_layer': '%s' changes keys or values -> 'per_layer' inside '%s'"):format(of.name, of.name), 0)
    elseif of.budget == "own" then
      error(("press 'per_layer': '%s' keeps its own number of tokens, whatever the ratio"):format(of.name), 0)
    end
  end,
  scope = function(self) return self.of.scope end,
  score = function(self, ctx, ratio)
    if not self.of.ratio_dependent then return parts.score(self.of, ctx, ratio) end
    local scores = {}
    for l = 1, ctx.layers do
      local own = layer_ratio(self.compression_ratios, ctx.layer_first + l - 1, ratio or 0)
      scores[l] = parts.score(self.of, view.layer(ctx, l), own)
    end
    return tensor.cat(scores, 1)
  end,
  order = function(self, order, ctx, ratio)
    local profile = self.compression_ratios
    if profile and #profile ~= ctx.layers then
      error(("press 'per_layer': compression_ratios has %d ratios, the context has %d layers"):format(#profile,
        ctx.layers), 0)
    end
    if self.of.decides then return end
    order.scores = orders.protect(orders.scores(self, ctx, ratio, order.evictable), order.evictable, 0)
  end,
  cut = function(self, order, ratio)
    if self.of.decides then return chosen_by(self, order, ratio) end
    local cells = self.scope == "layer" and order.kv_heads or 1
    return keepset.from_ranks(order:rank(self.scope), order:thresholds(function(layer)
      return cells * order:budget(layer_ratio(self.compression_ratios, layer, ratio))
    end))
  end,
}
