-- SPDX-License-Identifier: Apache-2.0
-- Tokens that a decoding press may not evict, and what it left in the end. Protected tokens of the context count
-- against the budget, as with every press: a ratio keeps them and its share of the others.
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

local M = {}

--- How many tokens of a context of `tokens` may not be evicted. evictable: {from, to} or nil.
function M.count(evictable, tokens) return evictable and tokens - (evictable[2] - evictable[1]) or 0 end

--- What a ratio leaves of `seen` tokens of which those outside of evictable, all in the context, stay.
function M.budget(evictable, tokens, seen, ratio)
  local safe = M.count(evictable, tokens)
  return safe + (seen > safe and ratios.n_kept(seen - safe, ratio) or 0)
end

--- The protected tokens as a mask [1, 1, tokens], or nil where all compete. An error when they fill the budget.
function M.mask(press, evictable, tokens, target)
  local count = M.count(evictable, tokens)
  if count == 0 then return nil end
  if press.rule.merge then
    press:note(press.name .. " lets every token compete, also those outside of the evictable ones")
    return nil
  end
  if count >= target then
    error(("press '%s': a budget of %d tokens is under the %d that may not be evicted -> at least %d, or let all "
      .. "compete"):format(press.name, target, count, count + 1), 0)
  end
  return tensor.outside(function()
    local position = tensor.arange(tokens)
    return (position:lt(evictable[1]) + position:ge(evictable[2])):view(1, 1, tokens)
  end)
end

--- An order whose scores put what is protected first; index [layers, kv_heads, m] says which tokens it ranks (from 1).
function M.first(order, state, index)
  if not state.protected then return order end
  local mask = state.protected:pad(0, math.max(0, index:to("f32"):max() - state.tokens))
  mask = mask:expand(index:size(1), index:size(2), -1):gather(3, index)
  mask = mask * order.scores:gt(-math.huge) -- not what only fills a head up
  order.scores = tensor.where(mask, math.huge, order.scores:clamp(-math.huge, 3.4028234663852886e38))
  return order
end

--- What a sequence was left with: {cuts = how often it stood still, kept = tokens that each head held after the last
--- time, context_kept = those of them in the context}, as [layer][head].
function M.report(state)
  return tensor.on(state.live, tensor.scope, function()
    return { cuts = state.cuts or 0, kept = state.live:sum(3):tolua(),
      context_kept = state.live:narrow(3, 1, state.tokens):sum(3):tolua() }
  end)
end

return M
