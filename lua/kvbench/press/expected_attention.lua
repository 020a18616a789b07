-- SPDX-License-Identifier: Apache-2.0
-- Expected attention. The context's queries before RoPE are taken as Gaussian (mean m, covariance C) and rotated by R,
-- the mean rotation of the positions to come. The logit that a key k can expect is then
--   s (R m) . k + s^2 k' (R C R') k / 2,   s = 1 / sqrt(d) or what the model has instead
-- and its softmax over the keys is the expected attention. Here R' is applied to the keys instead of R to m and C: the
-- same number, and there are fewer KV heads than query heads.
local attention = require "kvbench.attention"
local rotary = require "kvbench.rotary"

local rule = {
  name = "expected_attention",
  paper = "arXiv:2510.00636",
  doc = "Keeps the keys that future queries are expected to attend to, weighted by the norm of their values.",
  formula = "(softmax_j(m' R' k_j / sqrt d + k_j' R C R' k_j / 2d), mean over the group, + epsilon) * |v_j|",
  aliases = { ea = {} },
  params = {
    n_future_positions = { default = 512, min = 1, integer = true,
      doc = "positions after the context that R averages over" },
    n_sink = { default = 4, min = 0, integer = true, doc = "first tokens: always kept, left out of the statistics" },
    use_covariance = { default = true, doc = "use the queries' covariance beside their mean" },
    use_vnorm = { default = true, doc = "multiply by the norm of the value" },
    epsilon = { default = 0.0, min = 0, doc = "added before that product" },
  },
  fused = true, -- stores nothing larger than the keys
  needs = { queries = true },
}

--- Mean [layers, heads, d] and covariance [layers, heads, d, d] (or nil) of the queries before RoPE, sinks left out.
function rule.statistics(self, ctx, sinks)
  local queries = ctx.queries:slice(3, sinks + 1) -- [layers, heads, n, d]
  if not self.use_covariance then return queries:mean(3) end
  return queries:moments()
end

function rule.score(self, ctx)
  local sinks = self:at_most("n_sink", ctx.tokens - 1)
  local scale, group = attention.scale(ctx), ctx.group_size
  local keys, values = ctx.keys:slice(3, sinks + 1), ctx.values:slice(3, sinks + 1)

  -- after another press (composed) the queries are still those of the whole context
  local total = ctx.all_queries and ctx.parent_tokens or ctx.tokens
  local cos, sin = unpack(ctx:once("mean rotation " .. self.n_future_positions, function()
    return { rotary.mean(ctx:rope(total, self.n_future_positions)) }
  end))
  local rotated = rotary.apply_transposed(keys, cos, sin) -- [layers, kv_heads, n, d], rows (R' k)'
  local mean, covariance = self.rule.statistics(self, ctx, sinks)
  rotated, mean = rotated:unsqueeze(3), mean:split_heads(group)
  local logits -- [layers, kv_heads, group, n]
  if covariance then
    logits = rotated:quadratic(covariance:split_heads(group), mean, scale * scale / 2, scale)
  else
    logits = rotated:vecdot(mean:unsqueeze(4)) * scale
  end
  local scores = logits:softmax(-1):mean(3)
  if self.use_vnorm then scores = (scores + self.epsilon) * values:vecdot(values):sqrt() end
  return scores:pad(sinks, 0, math.huge)
end

return rule
