-- SPDX-License-Identifier: Apache-2.0
local attention = require "kvbench.attention"
local tensor = require "kvbench.tensor"

return {
  name = "snapkv",
  paper = "arXiv:2404.14469",
  doc = "Keeps what the last window_size queries attend to, smoothed over neighbours, and the window itself.",
  formula = "pool(mean over queries i of the window: softmax_j(q_i k_j / sqrt d)), mean over the group",
  params = {
    window_size = { default = 64, min = 1, integer = true, doc = "last queries that vote" },
    kernel_size = { default = 5, min = 1, integer = true, doc = "width of the average pooling, odd" },
  },
  check = function(self)
    if self.kernel_size % 2 == 0 then
      error(("press '%s': kernel_size = %d, expected an odd number"):format(self.name, self.kernel_size), 0)
    end
  end,
  fused = true, -- stores nothing larger than the keys
  needs = function(self) return { window_queries = self.window_size } end,
  score = function(self, ctx)
    local n = ctx.tokens
    local window = self:last_of("window_size", n)
    if window == 0 then return tensor.zeros(ctx.layers, ctx.kv_heads, n) end
    local received = attention.received(ctx, window, 1 / (ctx.group_size * window)):slice(-1, 1, n - window)
    return received:avg_pool1d(self.kernel_size, math.floor(self.kernel_size / 2)):pad(0, window, math.huge)
  end,
}
