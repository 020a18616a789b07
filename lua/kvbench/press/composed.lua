-- SPDX-License-Identifier: Apache-2.0
-- Composed: one press after another, each on what the one before left. A later press sees the surviving keys and
-- values, and the queries of the whole context. The reference leaves survivors in the order of their scores, which a
-- rule that looks at neighbours or at the last keys then sees; cache_order = "score" (the default, for equal keep-sets)
-- does the same, "position" keeps them as they stood in the text. With a part of the context that may not be evicted it
-- is always "position", and so it is where a press (adakv) leaves heads with different numbers of tokens: then each
-- head is a context of its own for the presses that follow (the reference refuses such presses).
local keepset = require "kvbench.keep"
local parts = require "kvbench.press_parts"
local pick = require "kvbench.press_pick"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

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
  return ctx:variant { keys = pick.put(ctx.keys, index, cache.keys),
    values = pick.put(ctx.values, index, cache.values) }
end

-- The evictable stretch among `count` survivors in token order.
local function range_of(order, count)
  return { order.evictable[1], count - (order.tokens - order.evictable[2]) }
end

local function expect_by_head(press, before)
  if press.scope == "head" and not press.decides and not press.rule.one_set and not press.rule.rewrite then return end
  error(("press 'composed': '%s' left the heads different numbers of tokens, and '%s' does not judge each head alone "
    .. "-> put '%s' last"):format(before.name, press.name, before.name), 0)
end

-- The keep-set (of the whole context) after `press` has looked at what each head holds.
local function by_head(press, order, ctx, keep, share)
  local out = keep:copy()
  for l = 0, order.layers - 1 do
    for h = 0, order.kv_heads - 1 do
      local held = {}
      for token = 0, order.tokens - 1 do
        if keep:kept(l, h, token) then held[#held + 1] = token + 1 end
      end
      local seed = ("%s/head %d"):format(tostring(ctx.seed or table.concat(ctx.ids, " ")), h)
      local index = tensor.from({ { held } }):to "i32"
      local part = pick.new(pick.head(ctx, l + 1, h + 1), index, { all_queries = true, seed = seed })
      local mine = press:order(part, { evictable = range_of(order, #held) }, share):cut(share)
      for i, token in ipairs(held) do
        if not mine:kept(0, 0, i - 1) then out:set(l, h, token - 1, token, false) end
      end
    end
  end
  return out
end

return {
  name = "composed",
  doc = "One press after another, each on what the one before left.",
  params = {
    of = { kind = "presses",
      doc = "the presses in order; {press = ..., ratio = \"ratio/2\"} says how much each evicts" },
    cache_order = { default = "score", doc = "how survivors stand for the next press: score (as the reference) or "
      .. "position" },
  },
  paper_preset = { of = { "knorm", "snapkv" } },
  ratio_dependent = true,
  decides = true,
  budget = "approx",
  check = function(self)
    for i = 1, #self.of do
      parts.expect_prefill(self, self.of[i].press)
      if i > 1 and self.of[i].press.rule.square then
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
    local position, ragged, before
    local whole = order.evictable[1] == 0 and order.evictable[2] == n
    local equal = ratios.round(1 - (1 - ratio) ^ (1 / #self.of)) -- the share that makes `ratio` of them all
    local function finished(keep)
      keep.cache, keep.position = current ~= order.ctx and current or nil, position
      return keep
    end
    for i, member in ipairs(self.of) do
      local share = ratios.round(member.share and member.share(ratio) or equal)
      if ragged then
        expect_by_head(member.press, before)
        ragged = by_head(member.press, order, current, ragged, share)
      else
        local stage = member.press:order(sub, { evictable = range_of(order, n) }, share)
        local keep = stage:cut(share)
        position = keep.position or position
        if keep.cache then current = rewritten(current, index, keep.cache) end
        local count = pick.even_count(keep)
        if i == #self.of then return finished(mapped(order, index, keep)) end
        if count then
          local left = survivors(member.press, stage, keep, count, self.cache_order == "score" and whole)
          index = index and index:gather(3, left):to("i32") or left
          sub, n = pick.new(current, index, { all_queries = true }), count
        else
          ragged, before = mapped(order, index, keep), member.press
        end
      end
    end
    return finished(ragged)
  end,
}
