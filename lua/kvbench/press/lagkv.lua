-- SPDX-License-Identifier: Apache-2.0
-- LagKV: the context after the sinks is cut into partitions; the channels of each are scaled by the range that the next
-- partition has, and tokens whose scaled channels spread most are kept. The last partition and what is left over have
-- no successor and stay.
local tensor = require "kvbench.tensor"

-- states [layers, kv_heads, partitions, lag, d] -> [layers, kv_heads, partitions - 1, lag]
local function spread(states)
  local partitions = states:size(3)
  local own, next_one = states:narrow(3, 1, partitions - 1), states:narrow(3, 2, partitions - 1)
  local low = next_one:min(4):unsqueeze(4)
  local range = next_one:max(4):unsqueeze(4) - low
  -- a channel that is constant over the next partition says nothing
  return tensor.where(range:gt(0), (own - low) / range, 0):std(-1):softmax(-1)
end

return {
  name = "lagkv",
  paper = "arXiv:2504.04704",
  doc = "Keeps tokens whose keys and values spread most, measured against the range of the tokens that follow.",
  formula = "rank within the partition of [softmax(std((k - min') / range')) + the same for v] / 2",
  params = {
    n_sink = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" },
    lag_size = { default = 128, min = 2, integer = true, doc = "tokens of a partition" },
    cross_scoring = { default = false, doc = "compare scores, not ranks, across partitions" },
  },
  forced = function() return 1 end,
  score = function(self, ctx)
    local sinks, lag, n = self:at_most("n_sink", ctx.tokens - 1), self.lag_size, ctx.tokens
    local shape = { ctx.layers, ctx.kv_heads, n }
    local partitions = math.floor((n - sinks) / lag)
    if partitions < 2 then -- too short to compare partitions: the most recent stay, as in the reference
      self:note(("%d tokens are less than n_sink + 2 lag_size: the most recent are kept"):format(n))
      local position = tensor.arange(n)
      return tensor.where(position:lt(sinks), math.huge, (position - sinks) / (n - sinks)):expand(shape)
    end
    local function scored(states)
      return spread(states:narrow(3, sinks + 1, partitions * lag):reshape(ctx.layers, ctx.kv_heads, partitions, lag,
        ctx.head_dim))
    end
    local score = (scored(ctx.keys) + scored(ctx.values)) / 2
    if not self.cross_scoring then score = (lag - 1 - score:rank(-1):to "f32") / lag end
    local open = (partitions - 1) * lag
    return score:reshape(ctx.layers, ctx.kv_heads, open):pad(sinks, n - sinks - open, math.huge)
  end,
}
