-- SPDX-License-Identifier: Apache-2.0
-- KVCompose: the context is read a second time behind itself, and a token counts by the attention that this reading
-- pays it. Heads rank for themselves; the r-th best tokens of all heads of a layer form one composite token, and the
-- budget goes to the best composites of the whole model. So the heads of a layer keep equally many tokens (not the same
-- ones), and layers keep as many as they deserve.
local attention = require "kvbench.attention"
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

-- Attention that the keys [0, n) of one layer receive from the rows of the second reading: [kv_heads, n].
local function received(self, queries, keys, n)
  local kv_heads, group, rows = keys:size(2), queries:size(3), queries:size(4)
  local best = tensor.zeros(kv_heads, group, n)
  local across = keys:transpose() -- [1, kv_heads, d, n + rows]
  attention.blocks(rows, kv_heads * group, n + rows, function(from, to)
    local count = to - from
    local logits = attention.rows(queries, from, to):matmul(across:narrow(-1, 1, n + to))
    local weights = (logits:view(kv_heads, group, count, n + to) + tensor.causal_mask(count, n + to)):softmax(-1)
    local part = weights:narrow(-1, 1, n)
    if self.agg_task == "max" then best:copy_(best:maximum(part:max(3))) else best:copy_(best + part:sum(3) / rows) end
  end)
  return self.agg_group == "max" and best:max(2) or best:mean(2)
end

-- Scores of the whole context, layer by layer.
local function scores_of(self, ctx)
  local again = ctx:read_on(ctx.ids)
  local queries = attention.window_queries(again, ctx.tokens):split_heads(ctx.heads / ctx.kv_heads)
  local out = {}
  for l = 1, ctx.layers do
    out[l] = tensor.scope(function()
      local score = received(self, queries:narrow(1, l, 1), again.keys:narrow(1, l, 1), ctx.tokens)
      if self.add_v_norm then score = score * ctx.values[l]:norm(-1) end
      if self.add_mean_across_heads then score = score + score:mean(1):unsqueeze(1) end
      return score
    end)
  end
  local all = tensor.stack(out)
  if again.close then again:close() end
  return all
end

-- Composite scores [layers, 1 or kv_heads, n] of sorted scores, the best first.
local function composites(self, scores)
  local sorted = scores:sort(-1, true)
  if self.structured then
    sorted = (self.agg_head == "max" and sorted:max(2) or sorted:mean(2)):unsqueeze(2)
  end
  local first = math.min(self.keep_token_lower_bound, sorted:size(3))
  if first > 0 then sorted = sorted + tensor.arange(sorted:size(3)):lt(first) * 1e9 end
  if self.structured then sorted:narrow(1, 1, 1):copy_(sorted:max(1):unsqueeze(1)) end -- the first layer is the largest
  return sorted
end

local function one_of(self, name)
  if self[name] ~= "mean" and self[name] ~= "max" then
    error(("press 'kvcompose': %s = '%s' -> mean, max"):format(name, self[name]), 0)
  end
end

return {
  name = "kvcompose",
  paper = "arXiv:2509.05165",
  doc = "Keeps what a second reading of the context attends to; layers share one budget through composite tokens.",
  formula = "max over the second reading's rows of softmax_j(q_i k_j / sqrt d), mean over the group",
  params = {
    structured = { default = true, doc = "heads of a layer keep equally many; false: every head as it deserves" },
    agg_task = { default = "max", doc = "over the rows of the second reading: max, mean" },
    agg_group = { default = "mean", doc = "over query heads that share a KV head: mean, max" },
    agg_head = { default = "mean", doc = "over KV heads, for composites: mean, max" },
    add_v_norm = { default = false, doc = "multiply by the norm of the value" },
    add_mean_across_heads = { default = true, doc = "add the mean over KV heads" },
    keep_token_lower_bound = { default = 0, min = 0, integer = true, doc = "tokens that every layer keeps" },
  },
  scope = "model",
  budget = "approx",
  decides = true,
  check = function(self) for _, name in ipairs { "agg_task", "agg_group", "agg_head" } do one_of(self, name) end end,
  order = function(self, order, ctx)
    local scores = scores_of(self, ctx)
    local from, to = order.evictable[1], order.evictable[2]
    order.composite = composites(self, scores:narrow(3, from + 1, to - from))
    order.scores = orders.protect(scores, order.evictable, 0)
  end,
  cut = function(self, order, ratio)
    local layers, rows, n = order.layers, order.composite:size(2), order.composite:size(3)
    local kept = order.composite:reshape(1, layers * rows * n):rank(-1):lt(math.floor(layers * rows * n * (1 - ratio)))
    local counts = kept:view(layers, rows, n):sum(3):tolua()
    local outside = order.tokens - n
    return parts.keep_counts(order, function(layer, head)
      return outside + math.max(1, counts[layer + 1][math.min(head + 1, rows)])
    end)
  end,
}
