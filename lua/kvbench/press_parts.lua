-- SPDX-License-Identifier: Apache-2.0
-- What several wrappers share: scoring with the rule inside, budgets that the heads of a layer share, what a value
-- weighs after the output projection.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

local M = {}

local trying = false

-- Would the two nest the other way round? (Which is checked by the same rules, once.)
local function swapped(outer, inner)
  if trying or outer == inner then return false end
  trying = true
  local ok = pcall(require("kvbench.press").new, inner, { of = outer })
  trying = false
  return ok
end

--- For a wrapper's check: the rule inside must only score. `what` says what the wrapper does to it.
function M.expect_scorer(press, inner, what)
  if inner.decides or not inner.rule.score then
    local outer = press.rule.name
    error(("press '%s' %s, but '%s' decides by itself what is kept -> a rule that only scores%s"):format(outer, what,
      inner.name, swapped(outer, inner.name) and (", or '%s' inside '%s'"):format(outer, inner.name) or ""), 0)
  end
end

local function decodes(press)
  if press.rule.decoding or press.params.decoding_press or press.rule.outlives and press.decoding then return true end
  return press.params.of and press.params.of.rule and decodes(press.params.of) or false
end

--- For a wrapper's check: the press inside must evict before an answer is written, not meanwhile.
function M.expect_prefill(press, inner)
  if not decodes(inner) then return end
  error(("press '%s': '%s' evicts while an answer is written, when '%s' is done -> prefill_decoding puts two presses "
    .. "one after the other"):format(press.rule.name, inner.name, press.rule.name), 0)
end

--- The inner rule's checked scores of a block of layers; errors name the inner rule.
function M.score(inner, ctx, ratio) return orders.checked_score(inner, ctx, ratio) end

-- Those of one block of layers. On a CPU one KV head at a time: [hidden, tokens] of a head stays in its cache.
local function projected_norm(ctx)
  local out = tensor.zeros(ctx.layers, ctx.kv_heads, ctx.tokens)
  local d, group, step = ctx.head_dim, ctx.heads / ctx.kv_heads, (ctx.device or "cpu") == "cpu" and 1 or ctx.kv_heads
  for l = 1, ctx.layers do
    local weight = ctx:weight("o", ctx.layer_first + l - 1) -- [hidden, heads * d]
    -- [group, kv_heads, hidden, d]
    local per_head = weight:view(weight:size(1), ctx.kv_heads, group, d):permute(3, 2, 1, 4)
    for first = 1, ctx.kv_heads, step do
      local sum = out[l]:narrow(1, first, step)
      for g = 1, group do
        tensor.scope(function() -- columns are tokens: the weight is read as it lies
          local across = ctx.values[l]:narrow(1, first, step):transpose()
          sum:add_(per_head[g]:narrow(1, first, step):matmul(across):norm(-2, 1))
        end)
      end
    end
    weight:close()
  end
  return out / group
end

--- L1 norm of every value after the output projection of each query head, averaged over the query heads that share the
--- KV head: [layers, kv_heads, tokens] of a block of layers, once for all ratios. CriticalKV, arXiv:2502.03805.
function M.projected_norm(ctx)
  local key = ("projected norm %d %d"):format(ctx.layer_first, ctx.layers)
  return ctx:once(key, function() return projected_norm(ctx) end)
end

-- shared_budgets on a GPU: of the tokens beyond the safe ones, the best of the layer, counted by head.
local function budgets_there(order, safe, left)
  local layers, heads, n = order.layers, order.kv_heads, order.tokens
  local open = order:rank("head"):ge(safe)
  local place = tensor.where(open, -order:rank("layer"):to("f32"), -math.huge)
  local chosen = place:view(layers, heads * n):rank(-1):lt(left):view(layers, heads, n) * open
  local extra = chosen:sum(-1):cpu()
  local p = extra:pointer()
  return order:thresholds(function(l, h) return safe + p[l * heads + h] end), safe, extra
end

--- How many tokens each head keeps when the heads of a layer share one budget and the best `safeguard` of each head's
--- even share is safe: uint32_t[layers * kv_heads], and the safe number. AdaKV, arXiv:2407.11550.
function M.shared_budgets(order, ratio, safeguard)
  local layers, heads, n = order.layers, order.kv_heads, order.tokens
  local total, open = order:budget(ratio)
  local safe = total - open + math.floor(open * safeguard)
  local ranks = order:rank("layer")
  if ranks.device ~= "cpu" then return budgets_there(order, safe, heads * (total - safe)) end
  local rank = ranks:pointer()
  local head_at = {} -- head of the element that comes k-th in its layer
  local kept = order:thresholds(function() return safe end)
  for l = 0, layers - 1 do
    local base, seen, left = l * heads * n, {}, heads * (total - safe)
    for i = 0, heads * n - 1 do head_at[rank[base + i]] = math.floor(i / n) end
    for h = 0, heads - 1 do seen[h] = 0 end
    for k = 0, heads * n - 1 do
      local h = head_at[k]
      seen[h] = seen[h] + 1
      if seen[h] > safe and left > 0 then
        kept[l * heads + h], left = kept[l * heads + h] + 1, left - 1
      end
    end
  end
  return kept, safe, ranks
end

--- The keep-set in which every head keeps its own best fn(layer, head) tokens.
function M.keep_counts(order, fn) return keepset.from_ranks(order:rank("head"), order:thresholds(fn)) end

--- A number per head, fn(layer, head) from 0, as a tensor [layers, kv_heads, 1] that broadcasts against scores.
function M.per_head(order, fn)
  local out = tensor.zeros(order.layers, order.kv_heads, 1, { device = "cpu" })
  local p = out:pointer()
  for i = 0, order.layers * order.kv_heads - 1 do
    p[i] = fn(math.floor(i / order.kv_heads), i % order.kv_heads)
  end
  return out:to(tensor.current())
end

--- Keys [layers, kv_heads, tokens, head_dim] in which the j-th survivor of every head is rotated from its own position
--- to j (evicted ones move too, and are not read). Source: FINCH, doi 10.1162/tacl_a_00716, section 3.3.
function M.close_ranks(press, ctx, keep)
  local bits, n = keep:bits(), keep.tokens
  local cos, sin = ctx:rope(0, n)
  return orders.by_block(press, ctx, nil, function(block)
    local kept = bits:narrow(1, block.layer_first - (ctx.layer_first or 0) + 1, block.layers):to("f32")
    local back = tensor.arange(n) - (kept:cumsum(-1) - 1):clamp(0, n) -- how far a key moves towards the start
    local shape = { block.layers, block.kv_heads, n, block.head_dim }
    local index = (back:clamp(0, n - 1) + 1):to("i32"):view(block.layers, block.kv_heads, n, 1):expand(shape)
    local function table_at(t) return t:view(1, 1, n, shape[4]):expand(shape):gather(3, index) end
    return block.keys:rope(table_at(cos), -table_at(sin))
  end)
end

--- A mask [1, 1, tokens]: 1 where a token competes, 0 where it may not be evicted.
function M.competing(tokens, evictable)
  local position = tensor.arange(tokens)
  return (position:ge(evictable[1]) * position:lt(evictable[2])):view(1, 1, tokens)
end

return M
