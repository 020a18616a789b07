-- SPDX-License-Identifier: Apache-2.0
-- Composed: one press after another, each on what the one before left. A later press sees the surviving keys and values,
-- and the queries of the whole context. The reference leaves survivors in the order of their scores, which a rule that
-- looks at neighbours or at the last keys then sees; cache_order = "score" (the default, for equal keep-sets) does the
-- same, "position" keeps them as they stood in the text. With a part of the context that may not be evicted it is always
-- "position".
local keepset = require "kvbench.keep"
local pick = require "kvbench.press_pick"
local ratios = require "kvbench.ratios"

-- Where the survivors of a stage stand in the cache, in the order in which the next stage finds them.
local function survivors(press, order, keep, count, by_score)
  local plain = press.scope == "head" and not press.decides and not press.rule.cut and not press.rule.thresholds
  if by_score and plain then return order:rank("head"):argsort(-1):narrow(3, 1, count):contiguous() end
  return pick.index_of(keep:bits(), count)
end

-- The keep-set of the whole context from a last stage's keep-set of the tokens at index (nil: all, as they stand).
local function mapped(order, index, keep)
  if not index then return keep end
  local out, at = keepset.all(order.layers, order.kv_heads, order.tokens), index:tolua()
  out:set(nil, nil, 0, order.tokens, false)
  for l = 0, order.layers - 1 do
    for h = 0, order.kv_heads - 1 do
      for i, position in ipairs(at[l + 1][h + 1]) do
        if keep:kept(l, h, i - 1) then out:set(l, h, position - 1, position, true) end
      end
    end
  end
  return out
end

-- The context with what a stage made of the tokens at index (nil: of all).
local function rewritten(ctx, index, cache)
  if not index then return cache end
  return ctx:variant { keys = pick.put(ctx.keys, index, cache.keys), values = pick.put(ctx.values, index, cache.values) }
end

-- The evictable stretch among the survivors (in token order, the same number in every head).
local function range_of(order, count)
  return { order.evictable[1], count - (order.tokens - order.evictable[2]) }
end

return {
  name = "composed",
  doc = "One press after another, each on what the one before left.",
  params = {
    of = { kind = "presses", doc = "the presses in order; {press = ..., ratio = \"ratio/2\"} says how much each evicts" },
    cache_order = { default = "score", doc = "how survivors stand for the next press: score (as the reference) or position" },
  },
  paper_preset = { of = { "knorm", "snapkv" } },
  ratio_dependent = true,
  decides = true,
  budget = "approx",
  check = function(self)
    for i = 2, #self.of do
      if self.of[i].press.rule.square then
        error(("press 'composed': '%s' needs the attention among all tokens -> put it first"):format(
          self.of[i].press.name), 0)
      end
    end
    if self.cache_order ~= "score" and self.cache_order ~= "position" then
      error(("press 'composed': cache_order = '%s' -> score, position"):format(self.cache_order), 0)
    end
  end,
  order = function() end, -- every stage scores something else
  cut = function(self, order, ratio)
    local current, sub, index, n = order.ctx, order.ctx, nil, order.tokens
    local position
    local whole = order.evictable[1] == 0 and order.evictable[2] == n
    local equal = ratios.round(1 - (1 - ratio) ^ (1 / #self.of)) -- the share that makes `ratio` of them all
    for i, member in ipairs(self.of) do
      local share = ratios.round(member.share and member.share(ratio) or equal)
      local stage = member.press:order(sub, { evictable = range_of(order, n) }, share)
      local keep = stage:cut(share)
      position = keep.position or position
      if keep.cache then current = rewritten(current, index, keep.cache) end
      if i == #self.of then
        local out = mapped(order, index, keep)
        out.cache, out.position = current ~= order.ctx and current or nil, position
        return out
      end
      local count = pick.even_count(keep)
      if not count then
        error(("press 'composed': '%s' keeps different numbers of tokens in each head, and the next press wants a tensor "
          .. "-> put it last"):format(member.press.name), 0)
      end
      local left = survivors(member.press, stage, keep, count, self.cache_order == "score" and whole)
      index = index and index:gather(3, left):to("i32") or left
      sub, n = pick.new(current, index, { all_queries = true }), count
    end
  end,
}
