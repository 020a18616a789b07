-- SPDX-License-Identifier: Apache-2.0
-- Scores brought to one scale, for rules that add scores of different kinds.
local tensor = require "kvbench.tensor"

local M = {}

--- Scores [layers, kv_heads, tokens] minus their mean over the layer, divided by their standard deviation (n - 1, at
--- least 1e-6).
function M.per_layer(scores)
  local layers, heads, n = scores:size(1), scores:size(2), scores:size(3)
  if heads * n < 2 then return tensor.zeros(layers, heads, n) end
  local flat = scores:reshape(layers, heads * n)
  local deviation = flat:std(-1):clamp(1e-6, math.huge)
  return ((flat - flat:mean(-1):unsqueeze(-1)) / deviation:unsqueeze(-1)):reshape(layers, heads, n)
end

return M
