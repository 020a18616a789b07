-- SPDX-License-Identifier: Apache-2.0
-- What the rules of the KVzip family share: one budget over all layers and heads (or over each layer's heads), counted
-- as in the reference: of N cells, floor(N * ratio) are evicted.
local M = {}

--- For rule.scope: "layer" with the parameter layerwise, else "model".
function M.scope(press) return press.layerwise and "layer" or "model" end

--- For rule.thresholds.
function M.thresholds(press, order, ratio)
  local cells = press.layerwise and order.kv_heads or order.layers * order.kv_heads
  local open = order.evictable[2] - order.evictable[1]
  return cells * order.tokens - math.floor(cells * open * ratio)
end

M.layerwise = { default = false, doc = "the same number kept in every layer" }

return M
