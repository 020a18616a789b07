-- SPDX-License-Identifier: Apache-2.0
-- Block: the cache never holds more than the budget and one block. It starts with the first tokens; each further block
-- joins, the rule inside scores what is there as if it were the whole context, and the best stay. What may not be
-- evicted is there from the start and does not compete.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local pick = require "kvbench.press_pick"
local tensor = require "kvbench.tensor"

-- bits [layers, kv_heads, tokens] of one block of layers: what is left after all blocks of tokens.
local function survivors(self, ctx, evictable, kept, ratio)
  local l, h, n = ctx.layers, ctx.kv_heads, ctx.tokens
  local from, to = evictable[1], evictable[2]
  local held = n - (to - from) + kept -- tokens there before a block joins
  local position = tensor.arange(n):view(1, 1, n)
  local bits = (1 - parts.competing(n, evictable) * position:ge(from + kept)):expand(l, h, n)
  for first = from + kept, to - 1, self.block_size do
    local last = math.min(first + self.block_size, to)
    bits = tensor.scope(function()
      local joined = bits:maximum(position:ge(first) * position:lt(last))
      local index = pick.index_of(joined, held + last - first)
      local scores = parts.score(self.of, orders.part_view(pick.new(ctx, index, { seed = ctx.seed })), ratio)
      local outside = index:to("f32")
      outside = outside:le(from):maximum(outside:gt(to)) -- index counts from 1
      local stays = tensor.where(outside, math.huge, scores:clamp(-3e38, 3e38)):rank(-1):lt(held)
      local place = tensor.where(joined, joined:cumsum(-1), 1):to("i32") -- of a token among those that are there
      return joined * stays:gather(3, place)
    end)
  end
  return bits
end

return {
  name = "block",
  paper = "arXiv:2504.15364",
  doc = "Evicts block by block, as if the context had been read in blocks.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    block_size = { default = 128, min = 1, integer = true, doc = "tokens that join at once" },
  },
  paper_preset = { of = "knorm" },
  ratio_dependent = true,
  check = function(self) parts.expect_scorer(self, self.of, "scores again after every block") end,
  widen_needs = function(_, needs) -- the last queries of every block are queries all over the context
    if needs.window_queries then needs.window_queries, needs.queries = nil, true end
  end,
  score = function(self, ctx, ratio) return parts.score(self.of, ctx, ratio) end,
  order = function() end, -- there is no score of the whole to rank
  cut = function(self, order, ratio)
    local _, kept = order:budget(ratio)
    return keepset.from_bits(orders.by_block(self, order.ctx, order.evictable, function(ctx)
      return survivors(self, ctx, order.evictable, kept, ratio)
    end))
  end,
}
