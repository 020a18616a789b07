-- SPDX-License-Identifier: Apache-2.0
-- Compactor: leverage scores and non-causal attention of the tokens between the first and the last ones, both as
-- z-scores, added. The leverage's weight is the ratio itself unless given.
local find = require "kvbench.press_find"
local tensor = require "kvbench.tensor"

local leverage, non_causal = find.find "leverage", find.find "non_causal_attention"

return {
  name = "compactor",
  paper = "arXiv:2507.08143",
  doc = "Adds leverage scores and non-causal attention.",
  formula = "blending * leverage_j + non_causal_attention_j",
  extends = { "leverage", "non_causal_attention" },
  params = {
    sink_size_start = { default = 8, min = 0, integer = true, doc = "first tokens that always stay" },
    sink_size_end = { default = 4, min = 0, integer = true, doc = "last tokens that always stay" },
    chunk_size = non_causal.params.chunk_size,
    sketch_dimension = leverage.params.sketch_dimension,
    blending = { kind = "number", optional = true, doc = "weight of the leverage; unset: the ratio" },
    seed = leverage.params.seed,
  },
  needs = { queries = true },
  ratio_dependent = function(self) return self.blending == nil end,
  forced = function(largest) return largest end,
  score = function(self, ctx, ratio)
    local n = ctx.tokens
    local first = math.min(self.sink_size_start, n)
    local last = math.min(self.sink_size_end, n - first)
    if first + last == n then
      self:note(("%d tokens are no more than sink_size_start + sink_size_end: the first are kept"):format(n))
      return tensor.full({ ctx.layers, ctx.kv_heads, n }, math.huge)
    end
    local key = ("compactor %d %d"):format(ctx.layer_first, ctx.layers) -- the ratio only weighs the two
    local outliers, votes = unpack(ctx:once(key, function()
      local part = first + last > 0 and ctx:select(first, n - last) or ctx
      return { leverage.score(self, part), non_causal.score(self, part, nil, last) }
    end))
    local score = outliers * (self.blending or ratio) + votes
    return score:pad(first, last, math.huge)
  end,
}
