-- SPDX-License-Identifier: Apache-2.0
-- Attention weights recomputed from observed queries and cached keys, for rules that score by them. Never of size
-- tokens x tokens over all heads: a window of queries, or one block of query rows after the other.
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

local M = {}

-- Of a part of a context (chunk) the reference takes the positions at the end of the whole context; so do we.
local function first_position(ctx, rows) return (ctx.parent_tokens or ctx.tokens) - rows end

--- What logits are multiplied by: the model's own factor, which some families choose (Gemma: query_pre_attn_scalar),
--- else 1 / sqrt(head_dim).
function M.scale(ctx)
  if ctx.attention_scale then return ctx.attention_scale end -- of a part that has no model
  local own = ctx.model and ctx.model.query_scale
  return own and own > 0 and own or 1 / math.sqrt(ctx.head_dim)
end

--- For a context with all layers of a model some of which slide: whether each does, and the window; else nil.
function M.sliding(ctx)
  if ctx.layer_list then return nil end -- some layers of a context, all of which see everything
  local model = ctx.model
  if not model or not model.sliding or ctx.layers ~= model.layers then return nil end
  return model.sliding, model.sliding_window
end

--- The last `rows` queries after RoPE, times the scale: [layers, heads, rows, head_dim].
function M.window_queries(ctx, rows)
  local first, scale, sliding = first_position(ctx, rows), M.scale(ctx), M.sliding(ctx)
  local queries = ctx.queries:slice(3, -rows)
  if not sliding then
    local cos, sin = ctx:rope(first, rows)
    return rotary.apply(queries, cos * scale, sin * scale) -- on the tables, which are smaller than the queries
  end
  local layers, tables = {}, { [true] = { ctx:rope(first, rows, true) }, [false] = { ctx:rope(first, rows) } }
  for l, slides in ipairs(sliding) do
    local cos, sin = unpack(tables[slides])
    layers[l] = rotary.apply(queries:narrow(1, l, 1), cos * scale, sin * scale)
  end
  return tensor.cat(layers, 1)
end

--- [rows, keys], 0 where row i, at position first + i, sees key j through a window, else -inf; what lies ahead is not
--- looked at.
function M.window_mask(first, rows, keys, window)
  local key = tensor.arange(keys):view(1, keys)
  local position = tensor.arange(first, first + rows):view(rows, 1)
  return (tensor.where((position - key):lt(window), 0, -math.huge))
end

--- What the last `window` queries attend to: [layers, kv_heads, group * window, tokens], causal, rows sum to 1.
function M.window(ctx, window)
  local n, layers, heads = ctx.tokens, ctx.layers, ctx.kv_heads
  local queries = M.window_queries(ctx, window):reshape(layers, heads, ctx.group_size * window, ctx.head_dim)
  local logits = queries:matmul(ctx.keys:transpose():contiguous())
  -- only the window's own keys can lie ahead of one of its queries
  logits:view(layers, heads, ctx.group_size, window, n):narrow(-1, n - window + 1, window)
    :add_(ctx:once("mask " .. window, function() return tensor.causal_mask(window, window):to(logits.device) end))
  local sliding, span = M.sliding(ctx)
  for l, slides in ipairs(sliding or {}) do
    if slides then
      logits:view(layers, heads, ctx.group_size, window, n):narrow(1, l, 1)
        :add_(M.window_mask(n - window, window, n, span):to(logits.device))
    end
  end
  return logits:softmax(-1)
end

--- Attention that the keys receive from the last `rows` queries, summed over those and over the group, times scale:
--- [layers, kv_heads, tokens]. Queries attend causally: sums over the context and over each further stretch add up.
function M.received(ctx, rows, scale)
  return M.window_queries(ctx, rows):split_heads(ctx.heads / ctx.kv_heads):attended(ctx.keys, scale)
end

--- Rows [from, to) of queries [layers, kv_heads, group, n, d] as [layers, kv_heads, group * rows, d].
function M.rows(queries, from, to)
  local part = queries:narrow(4, from + 1, to - from)
  return part:reshape(part:size(1), part:size(2), part:size(3) * (to - from), part:size(5))
end

--- Calls fn(from, to) for blocks of query rows, about `elements` numbers of [heads, rows, keys] at a time, and frees
--- each block's temporaries.
function M.blocks(rows, heads, keys, fn, elements)
  local step = math.max(1, math.floor((elements or 2 ^ 19) / math.max(1, heads * keys)))
  for from = 0, rows - 1, step do tensor.scope(fn, from, math.min(rows, from + step)) end
end

return M
