-- SPDX-License-Identifier: Apache-2.0
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

return {
  name = "snapkv",
  paper = "arXiv:2404.14469",
  doc = "Keeps what the last window_size queries attend to, smoothed over neighbours, and the window itself.",
  params = {
    window_size = { default = 64, min = 1, integer = true, doc = "last queries that vote" },
    kernel_size = { default = 5, min = 1, integer = true, doc = "width of the average pooling, odd" },
  },
  check = function(self)
    if self.kernel_size % 2 == 0 then
      error(("press 'snapkv': kernel_size = %d, expected an odd number"):format(self.kernel_size), 0)
    end
  end,
  needs = function(self) return { window_queries = self.window_size } end,
  score = function(self, ctx)
    local n, d = ctx.tokens, ctx.head_dim
    local window = self:at_most("window_size", math.floor(n / 2))
    if window == 0 then return tensor.zeros(ctx.layers, ctx.kv_heads, n) end
    -- Of a part of a context (chunk) the reference takes the positions at the end of the whole context; so do we.
    local cos, sin = ctx:rope((ctx.parent_tokens or n) - window, window)
    local queries = rotary.apply(ctx.queries:slice(3, -window), cos, sin) / math.sqrt(d)
    local keys = ctx.keys:unsqueeze(3) -- [layers, kv_heads, 1, n, d]
    local logits = queries:split_heads(ctx.group_size):matmul(keys:transpose())
      + ctx:once("mask " .. window, function() return tensor.causal_mask(window, n) end)
    local attention = logits:softmax(-1):slice(-1, 1, n - window):mean(4) -- [layers, kv_heads, group, n - window]
    return attention:avg_pool1d(self.kernel_size, math.floor(self.kernel_size / 2)):mean(3):pad(0, window, math.huge)
  end,
}
