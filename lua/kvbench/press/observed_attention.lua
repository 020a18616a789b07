-- SPDX-License-Identifier: Apache-2.0
-- Observed attention: column means of the context's own attention matrix. The matrix is recomputed from the observed
-- queries in blocks of rows, and only its column sums are kept, so that memory grows with tokens, not with their square.
local attention = require "kvbench.attention"
local tensor = require "kvbench.tensor"

-- Attention received by the keys of one layer: [kv_heads, n], summed over queries, mean over the group.
local function received(ctx, queries, keys, n)
  local kv_heads, group = ctx.kv_heads, ctx.group_size
  local out = tensor.zeros(kv_heads, n)
  local transposed = keys:transpose() -- [1, kv_heads, d, n]
  attention.blocks(n, ctx.heads, n, function(from, to)
    local rows = to - from
    local logits = attention.rows(queries, from, to):matmul(transposed:narrow(-1, 1, to))
    local weights = (logits:reshape(kv_heads, group, rows, to) + tensor.causal_mask(rows, to)):softmax(-1)
    local part = out:narrow(2, 1, to)
    part:copy_(part + weights:reshape(kv_heads, group * rows, to):sum(2) / group)
  end)
  return out
end

return {
  name = "observed_attention",
  paper = "arXiv:2306.14048",
  doc = "Keeps the keys that received most attention from the context itself (H2O), per query that could see them.",
  formula = "(sum over i >= j: softmax_j(q_i k_j / sqrt d)) / (n - j), mean over the group",
  aliases = { h2o = {} },
  needs = { queries = true },
  square = "heavy_hitters, which accumulates", -- pairs every query with every key
  score = function(_, ctx)
    local n = ctx.tokens
    local queries = attention.window_queries(ctx, n):split_heads(ctx.group_size)
    local sums = {}
    for l = 1, ctx.layers do
      sums[l] = tensor.scope(received, ctx, queries:narrow(1, l, 1), ctx.keys:narrow(1, l, 1), n)
    end
    return tensor.stack(sums) / tensor.arange(n, 0, -1)
  end,
}
