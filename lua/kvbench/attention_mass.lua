-- SPDX-License-Identifier: Apache-2.0
-- Accumulated attention (H2O, arXiv:2306.14048): what each key received from a stretch of queries, in sums. Queries attend
-- causally, so sums over the context and over each further stretch add up to the whole.
local attention = require "kvbench.attention"
local tensor = require "kvbench.tensor"

local M = {}

local function of_layer(queries, keys, rows)
  local kv_heads, group, n = keys:size(2), queries:size(3), keys:size(3)
  local out, across = tensor.zeros(kv_heads, n), keys:transpose()
  attention.blocks(rows, kv_heads * group, n, function(from, to)
    local count, seen = to - from, n - rows + to
    local logits = attention.rows(queries, from, to):matmul(across:narrow(-1, 1, seen))
    local weights = (logits:view(kv_heads, group, count, seen) + tensor.causal_mask(count, seen)):softmax(-1)
    local part = out:narrow(2, 1, seen)
    part:copy_(part + weights:view(kv_heads, group * count, seen):sum(2) / group)
  end)
  return out
end

--- Attention received from the last `rows` queries of ctx, summed over them, mean over the group: [layers, kv_heads,
--- tokens].
function M.received(ctx, rows)
  local queries = attention.window_queries(ctx, rows):split_heads(ctx.heads / ctx.kv_heads)
  local out = {}
  for l = 1, ctx.layers do
    out[l] = tensor.scope(of_layer, queries:narrow(1, l, 1), ctx.keys:narrow(1, l, 1), rows)
  end
  return tensor.stack(out)
end

return M
