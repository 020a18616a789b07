-- SPDX-License-Identifier: Apache-2.0
-- Attention without the causal mask, inside chunks: every query of a chunk votes on every key of it. Logits are not
-- divided by sqrt(head_dim), and the reference pads the last chunk with keys and queries whose logits are 0: the keys
-- take a share of each row, the queries vote evenly. Both are reproduced.
local attention = require "kvbench.attention"
local normal = require "kvbench.press_normal"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

-- Votes per key of one chunk: [layers, kv_heads, length], mean over the group. `size`: of a full chunk.
local function votes(queries, keys, size)
  local layers, kv_heads, group, length = queries:size(1), queries:size(2), queries:size(3), queries:size(4)
  local sum = tensor.zeros(layers, kv_heads, length)
  local transposed = keys:transpose()
  attention.blocks(length, layers * kv_heads * group, size, function(from, to)
    local logits = attention.rows(queries, from, to):matmul(transposed) -- [layers, kv_heads, group * rows, length]
    if length < size then logits = logits:pad(0, size - length, 0) end
    sum:copy_(sum + logits:softmax(-1):narrow(-1, 1, length):sum(3) / group)
  end)
  return sum + (size - length) / size
end

return {
  name = "non_causal_attention",
  paper = "arXiv:2507.08143",
  doc = "Keeps the keys that the queries of their chunk attend to, earlier ones included, weighted by the value's "
    .. "norm.",
  formula = "z(pool3(|v_j| sum over i in the chunk: softmax_j(q_i k_j))), mean over the group",
  params = { chunk_size = { default = 256, min = 1, integer = true, doc = "tokens that see each other" } },
  needs = { queries = true },
  apart = true, -- the more layers, the smaller the blocks that are summed: no other bits for pieces scored together
  square = "another rule", -- pairs queries and keys of the same tokens
  --- last: how many tokens follow this part in the context, for compactor.
  score = function(self, ctx, _, last)
    local n, size = ctx.tokens, self.chunk_size
    local cos, sin = ctx:rope((ctx.parent_tokens or n) - (last or 0) - n, n)
    local queries = rotary.apply(ctx.queries, cos, sin):split_heads(ctx.group_size)
    local parts = {}
    for from = 0, n - 1, size do
      local length = math.min(size, n - from)
      parts[#parts + 1] = tensor.scope(votes, queries:narrow(4, from + 1, length), ctx.keys:narrow(3, from + 1, length),
        size)
    end
    return normal.per_layer((tensor.cat(parts, 3) * ctx.values:norm(-1)):avg_pool1d(3, 1))
  end,
}
