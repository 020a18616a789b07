-- SPDX-License-Identifier: Apache-2.0
-- Observed attention: column means of the context's own attention matrix, which is recomputed from the observed queries
-- tile by tile and never stored.
local attention = require "kvbench.attention"
local tensor = require "kvbench.tensor"

return {
  name = "observed_attention",
  paper = "arXiv:2306.14048",
  doc = "Keeps the keys that received most attention from the context itself (H2O), per query that could see them.",
  formula = "(sum over i >= j: softmax_j(q_i k_j / sqrt d)) / (n - j), mean over the group",
  aliases = { h2o = {} },
  needs = { queries = true },
  fused = true,
  square = "heavy_hitters, which accumulates", -- pairs every query with every key
  score = function(_, ctx)
    local n = ctx.tokens
    return attention.received(ctx, n, 1 / ctx.group_size) / tensor.arange(n, 0, -1)
  end,
}
