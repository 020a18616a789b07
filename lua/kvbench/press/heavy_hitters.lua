-- SPDX-License-Identifier: Apache-2.0
-- H2O as in its paper: a part of the budget goes to the most recent tokens, the rest to those that received most
-- attention in sum. Inside `decoding` the sums go on: every question and answer token adds what it attends to, also
-- what it paid to keys before others were evicted. (KVPress' observed_attention divides by the number of queries that
-- could see a key, and cannot go on.)
local attention = require "kvbench.attention"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

return {
  name = "heavy_hitters",
  paper = "arXiv:2306.14048",
  doc = "Keeps the most recent tokens and those that received most attention in sum (H2O).",
  formula = "sum over i of softmax_j(q_i k_j / sqrt d), mean over the group",
  params = { recent_ratio = { default = 0.5, min = 0, max = 1,
    doc = "share of the budget for the most recent tokens" } },
  needs = { queries = true },
  fused = true,
  ratio_dependent = true,
  accumulates = true,
  score = function(self, ctx, ratio)
    local from, to = ctx.evictable[1], ctx.evictable[2]
    local received = ctx.attention_mass or ctx:once(("received %d %d"):format(ctx.layer_first, ctx.layers), function()
      return attention.received(ctx, ctx.tokens, 1 / ctx.group_size)
    end)
    if to <= from then return received end
    local recent = math.floor(ratios.n_kept(to - from, ratio or 0) * self.recent_ratio)
    local position = tensor.arange(ctx.tokens):view(1, 1, ctx.tokens)
    return tensor.where(position:ge(to - recent) * position:lt(to), math.huge, received)
  end,
}
