-- SPDX-License-Identifier: Apache-2.0
local attention = require "kvbench.attention"
local tensor = require "kvbench.tensor"

return {
  name = "tova",
  paper = "arXiv:2401.06104",
  doc = "Keeps what the last token attends to, averaged over the heads of a layer, and the last token itself.",
  formula = "mean over heads: softmax_j(q_last k_j / sqrt d)",
  one_set = "layer", -- all heads of a layer keep the same tokens
  needs = { window_queries = 1 },
  score = function(_, ctx)
    local layers, heads, n = ctx.layers, ctx.kv_heads, ctx.tokens
    if n == 1 then return tensor.zeros(layers, heads, n) end
    local received = attention.window(ctx, 1):slice(-1, 1, n - 1):reshape(layers, ctx.heads, n - 1):mean(2)
    return received:unsqueeze(2):expand(layers, heads, n - 1):pad(0, 1, math.huge)
  end,
}
