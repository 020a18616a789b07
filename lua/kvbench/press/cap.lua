-- SPDX-License-Identifier: Apache-2.0
-- CapKV: how much a token adds to the capacity of what is kept. With w_j the relevance of key j to the mean query, and
-- A = I + sum_j w_j v_j v_j', the score is the weighted leverage w_j v_j' A^-1 v_j, per query head. Keys and the mean
-- query are normalised and weights shifted by their maximum, as in the reference.
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

local function unit(x) return x / x:norm(-1):clamp(1e-12, math.huge):unsqueeze(-1) end

return {
  name = "cap",
  paper = "arXiv:2604.25975",
  doc = "Keeps tokens whose values add most to what the kept ones span, weighted by their relevance to the mean query.",
  formula = "w_j v_j' (I + sum over i of w_i v_i v_i')^-1 v_j, w_j = exp(tau cos(k_j, R mean q)), mean over the group",
  params = {
    tau = { default = 5.0, doc = "how sharply relevance weighs" },
    n_future_positions = { default = 512, min = 1, integer = true,
      doc = "positions that the rotation R averages over" },
    n_sink = { default = 4, min = 0, integer = true, doc = "first tokens: always kept, left out of the statistics" },
    epsilon = { default = 1e-6, min = 0, doc = "added to the weights inside the matrix" },
  },
  needs = { queries = true },
  score = function(self, ctx)
    local sinks = self:at_most("n_sink", ctx.tokens - 1)
    local queries = ctx.queries:slice(3, sinks + 1)
    local keys, values = ctx.keys:slice(3, sinks + 1), ctx.values:slice(3, sinks + 1):unsqueeze(3)
    local R = ctx:once("mean rotation " .. self.n_future_positions, function()
      -- after another press (composed) the queries are still those of the whole context
      return rotary.mean_matrix(ctx:rope(ctx.all_queries and ctx.parent_tokens or ctx.tokens,
        self.n_future_positions))
    end)
    local anchor = unit(queries:mean(3):unsqueeze(3):matmul(R:transpose())) -- [layers, heads, 1, d]
    local relevance = unit(keys):unsqueeze(3):vecdot(anchor:split_heads(ctx.group_size)):clamp(-1, 1) * self.tau
    local weight = (relevance - relevance:max(-1):unsqueeze(-1)):exp() -- [layers, kv_heads, group, n]
    local scaled = values * (weight + self.epsilon):sqrt():unsqueeze(-1) -- [layers, kv_heads, group, n, d]
    local position = tensor.arange(ctx.head_dim)
    local identity = position:unsqueeze(2):eq(position:unsqueeze(1))
    local lower = (scaled:transpose():matmul(scaled) + identity):cholesky()
    local inverse = lower:solve_triangular(identity:expand(lower:size())) -- A = L L', so v' A^-1 v = |L^-1 v|^2
    local length = inverse:matmul(values:transpose()):norm(-2)
    return (weight * length * length):mean(3):pad(sinks, 0, math.huge)
  end,
}
