-- SPDX-License-Identifier: Apache-2.0
-- ThinK: prunes channels of keys instead of tokens. A channel counts by how much the last queries and the keys use it;
-- pruned channels are set to 0, which is what leaving them out of every inner product means. Every token stays.
local attention = require "kvbench.attention"
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

return {
  name = "think",
  paper = "arXiv:2407.21018",
  doc = "Prunes the key channels that the last queries and the keys use least; keeps every token.",
  formula = "mean over the window and the group of q_c^2, times mean over keys of k_c^2",
  params = {
    key_channel_compression_ratio = { default = "ratio", kind = "share",
      doc = "share of key channels pruned: a number, or an expression of the ratio" },
    window_size = { default = 32, min = 1, integer = true, doc = "last queries that count" },
  },
  needs = function(self) return { window_queries = self.window_size } end,
  budget = "own",
  decides = true,
  order = function() end, -- no token is scored
  cut = function(_, order) return keepset.all(order.layers, order.kv_heads, order.tokens) end,
  rewrite = function(self, ctx, _, ratio)
    local share = ratios.expression(self.key_channel_compression_ratio, "press 'think'")(ratio)
    if share < 0 or share >= 1 then
      error(("press 'think': key_channel_compression_ratio is %g, expected a share in [0, 1)"):format(share), 0)
    end
    local pruned = math.floor(ctx.head_dim * share)
    return { keys = orders.by_block(self, ctx, nil, function(block)
      local rows = math.min(self.window_size, block.queries:size(3))
      local queries = attention.window_queries(block, rows)
      local use = (queries * queries):mean(3):group_mean(block.group_size) * (block.keys * block.keys):mean(3)
      return tensor.where(use:neg():rank(-1):lt(pruned):unsqueeze(3), 0, block.keys)
    end) }
  end,
}
