-- SPDX-License-Identifier: Apache-2.0
-- LU-KV: how much each head keeps comes from a curve that was computed once for a model and a rule; within a head the
-- rule's own scores decide.
local artefact = require "kvbench.artefact"
local npy = require "kvbench.npy"
local orders = require "kvbench.press_order"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

local RATIOS = 99 -- rows of a curve: 0.01, 0.02 ... 0.99

local function curve_of(self, order)
  local path = artefact.find(self, order.ctx, { file = "curve.npy", what = "a budget curve",
    how = "published ones: evaluation/curve_data of baidu-baige/LU-KV" })
  local ok, curve = pcall(npy.read, path)
  if not ok then error(("press '%s': %s -> take the published .npy"):format(self.name, curve), 0) end
  local shape = { RATIOS, order.layers, order.kv_heads }
  for i = 1, 3 do
    if curve.ndim ~= 3 or curve:size(i) ~= shape[i] then
      error(("press '%s': '%s' has shape %s, this model needs %s -> take the curve of this model"):format(self.name,
        path, tensor.show(curve), tensor.show(shape)), 0)
    end
  end
  local low, high = curve:min(), curve:max()
  if not (low >= 0 and high <= 1) then
    error(("press '%s': '%s' holds %g to %g, expected shares evicted, 0 to 1"):format(self.name, path, low, high), 0)
  end
  return curve
end

-- Tokens each head of a layer keeps of n: its share, rounded so that the layer's sum is right.
local function split(evicted, n)
  local ideal = (1 - evicted):clamp(0, 1) * n
  local heads, whole, rest, sum = ideal:size(1), {}, {}, 0
  for h = 1, heads do
    whole[h] = math.floor(ideal:at(h))
    rest[h] = { h, ideal:at(h) - whole[h] }
    sum = sum + whole[h]
  end
  local target = math.max(heads, math.min(heads * n, ratios.round_half_even(ideal:sum())))
  table.sort(rest, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  for i = 1, math.min(target - sum, heads) do whole[rest[i][1]] = whole[rest[i][1]] + 1 end
  for h = 1, heads do whole[h] = math.max(1, math.min(n, whole[h])) end
  return whole
end

return {
  name = "lukv",
  paper = "arXiv:2602.08585",
  doc = "Gives every head the budget of a curve computed for this model, and keeps the rule's best tokens in it.",
  formula = "the inner score; kept in head h: n (1 - curve[ratio, layer, h])",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    sink = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" },
    window = { default = 1, min = 0, integer = true, doc = "recent tokens that always stay" },
    path = { kind = "string", optional = true,
      doc = "curve .npy [99, layers, kv_heads]: share evicted at .01 ... .99" },
  },
  aliases = { luKV = {} },
  paper_preset = { of = { press = "expected_attention", epsilon = 2e-2 } },
  budget = "approx",
  nested = false,
  check = function(self) require("kvbench.press_parts").expect_scorer(self, self.of, "sets the budgets of heads") end,
  score = function(self, ctx, ratio)
    local position = tensor.arange(ctx.tokens)
    local safe = position:lt(self.sink) + position:ge(ctx.tokens - self.window)
    return tensor.where(safe, math.huge, orders.checked_score(self.of, ctx, ratio))
  end,
  thresholds = function(self, order, ratio)
    order.curve = order.curve or curve_of(self, order)
    local row = math.max(1, math.min(RATIOS, ratios.round_half_even(ratio * 100)))
    local n = order.evictable[2] - order.evictable[1]
    local kept = {}
    for l = 1, order.layers do kept[l] = split(order.curve[row][l], n) end
    return order:thresholds(function(layer, head) return order.tokens - n + kept[layer + 1][head + 1] end)
  end,
}
