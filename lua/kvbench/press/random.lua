-- SPDX-License-Identifier: Apache-2.0
-- Nulls that keep other rules honest. The draw of (layer, head, token) depends on the seeds and on its index alone,
-- not on which layers are scored together.
local tensor = require "kvbench.tensor"

return {
  name = "random",
  doc = "Keeps a random set: independent for every head, or one set for all.",
  formula = "uniform in [0, 1), from the seeds and the place of the token",
  params = {
    seed = { default = 0, kind = "seed", doc = "with the context's own seed" },
    sinks = { default = 0, min = 0, integer = true,
      doc = "first tokens that always stay (the reference's random evicts them)" },
    shared = { default = false, doc = "one set for all layers and heads" },
    budget_of = { kind = "press", optional = true, doc = "keep as many tokens in each head as this press does" },
  },
  aliases = { random_sinks = { sinks = 4 }, random_shared = { sinks = 4, shared = true } },
  order_only = true,
  decides = function(self) return self.budget_of ~= nil end,
  score = function(self, ctx)
    local heads, n = ctx.kv_heads, ctx.tokens
    local seed = ("%s/%s/%d"):format(self.params.seed, tostring(ctx.seed), ctx.token_first)
    local draw
    if self.shared then
      draw = tensor.rand({ 1, 1, n }, seed)
    else
      draw = tensor.rand({ ctx.layers, heads, n }, seed, ctx.layer_first * heads * n)
    end
    local sinks = self:at_most("sinks", n - 1)
    return tensor.where(tensor.arange(n):lt(sinks), math.huge, draw):expand(ctx.layers, heads, n)
  end,
  thresholds = function(self, order, ratio)
    local budget = order:budget(ratio)
    if not self.budget_of then return budget end
    order.inner = order.inner or {}
    local key = self.budget_of.ratio_dependent and ratio or "all"
    order.inner[key] = order.inner[key] or self.budget_of:order(order.ctx, { evictable = order.evictable }, ratio)
    local model = order.inner[key]:cut(ratio)
    return order:thresholds(function(layer, head) return model:count(layer, head) end)
  end,
}
