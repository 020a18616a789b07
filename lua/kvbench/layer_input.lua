-- SPDX-License-Identifier: Apache-2.0
-- What an attention layer reads and writes: its normalised input, and its values after the output projection. For rules
-- that look through the layer's weights (KVzip+, KVzap).
local M = {}

--- Input of layer `layer` (from 1, of the model) after its RMSNorm: [tokens, hidden]. The context was prefilled with
--- {hidden = true}.
function M.of(ctx, layer)
  local x = ctx.hidden[layer]
  local eps = ctx.model and ctx.model.norm_eps or 1e-5
  return x / ((x * x):mean(-1) + eps):sqrt():unsqueeze(-1) * ctx:weight("attn_norm", layer - 1)
end

--- |W_o v| of values [1, kv_heads, n, head_dim] of layer `layer` (from 1): [kv_heads, group, n]. By the Gram matrix of
--- each head's columns of W_o, since head_dim is smaller than the hidden size.
function M.value_norms(ctx, layer, values)
  local weight = ctx:weight("o", layer - 1) -- [hidden, heads * head_dim]
  local columns = weight:view(weight:size(1), ctx.heads, ctx.head_dim):permute(2, 1, 3) -- [heads, hidden, head_dim]
  local gram = columns:transpose():matmul(columns):view(ctx.kv_heads, ctx.heads / ctx.kv_heads, ctx.head_dim,
    ctx.head_dim)
  local rows = values:squeeze(1):unsqueeze(2) -- [kv_heads, 1, n, head_dim]
  return rows:matmul(gram):vecdot(rows):clamp(0, math.huge):sqrt()
end

return M
