-- SPDX-License-Identifier: Apache-2.0
local tensor = require "kvbench.tensor"

-- The reference scores 1 and 0 at one ratio; positions as scores give the same sets at every ratio from one score.
return {
  name = "streaming_llm",
  paper = "arXiv:2309.17453",
  doc = "Keeps the first n_sink tokens and the most recent ones.",
  formula = "j",
  one_set = "model",
  params = { n_sink = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" } },
  order_only = true, -- the values mean nothing beyond their order
  score = function(self, ctx)
    local sinks = self:at_most("n_sink", ctx.tokens - 1)
    local position = tensor.arange(ctx.tokens)
    return tensor.where(position:lt(sinks), math.huge, position):expand(ctx.layers, ctx.kv_heads, ctx.tokens)
  end,
}
