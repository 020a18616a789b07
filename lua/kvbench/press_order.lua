-- SPDX-License-Identifier: Apache-2.0
-- From scores to keep-sets: the decisions that all presses share. A score is checked, ranked once within its scope
-- (higher first, then the earlier position), and every ratio is a cut through those ranks; so nine ratios cost one
-- score, and smaller sets are subsets of larger ones by construction.
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local observe = require "kvbench.press_observe"
local ratios = require "kvbench.ratios"
local scoring = require "kvbench.press_score"
local tensor = require "kvbench.tensor"
local view = require "kvbench.press_view"

local LARGEST = 3.4028234663852886e38 -- of the finite floats

local M = {}
local Order = {}
Order.__index = Order

--- See press_score.lua.
M.checked_score = scoring.checked

--- fn(block) of every block of layers, joined along the first dimension; temporaries freed after each. Not in any scope
--- of the caller's.
function M.by_block(press, ctx, evictable, fn)
  local step = press.whole and ctx.layers or view.layers_at_once(ctx, press.rule.fused)
  local out, shared = nil, view.shared(ctx, evictable, press)
  observe.ensure(press, ctx)
  for first = 1, ctx.layers, step do
    local count = math.min(step, ctx.layers - first + 1)
    local whole = tensor.scope(function()
      local block = fn(view.block(ctx, first, count, shared))
      if count == ctx.layers then return block end
      local shape = block:size()
      shape[1] = ctx.layers
      out = out or tensor.outside(tensor.zeros, shape)
      out:narrow(1, first, count):copy_(block)
    end)
    if whole then return whole end
  end
  return out
end

--- Scores with numbers instead of +inf, for rules that add or average scores: in each layer what the rule forces gets
--- the value that the reference pads with, rule.forced(largest finite score of the layer), which is that + 1 unless the
--- rule says so.
function M.finite(press, scores)
  local forced = press.rule.forced or function(largest) return largest + 1 end
  local out = {}
  for l = 1, scores:size(1) do
    local layer = scores:narrow(1, l, 1)
    local open = layer:eq(math.huge):eq(0)
    local largest = tensor.where(open, layer, -math.huge):max()
    out[l] = tensor.where(open, layer, forced(largest > -math.huge and largest or 0))
  end
  return tensor.cat(out, 1)
end

--- A context made for one block of layers (press_pick.lua) with what rules expect beside it: once(), evictable, ...
function M.part_view(part) return view.block(part, 1, part.layers, view.shared(part)) end

--- The scores of all layers, block by block.
function M.scores(press, ctx, ratio, evictable)
  return M.by_block(press, ctx, evictable, function(block) return scoring.checked(press, block, ratio) end)
end

-- Ranks over all tokens of a head, a layer, or the model, shaped like the scores.
local function ranks_of(scores, scope)
  local l, h, n = scores:size(1), scores:size(2), scores:size(3)
  if scope == "head" then return scores:rank(-1) end
  if scope == "layer" then return scores:view(l, h * n):rank(-1):view(l, h, n) end
  return scores:view(1, l * h * n):rank(-1):view(l, h, n)
end

--- Ranks within "head", "layer" or "model", computed when first asked for.
function Order:rank(scope)
  if not self.by_scope[scope] then self.by_scope[scope] = ranks_of(self.scores, scope) end
  return self.by_scope[scope]
end

--- Ranks within each head on the host: the order in which tokens go when budgets of heads are given. nil for a rule
--- that ranks nothing (one that gives bits only).
function Order:head_ranks()
  if self.scores then return self:rank("head"):cpu() end
  return self.inner and self.inner.head_ranks and self.inner:head_ranks()
end

--- What a ratio keeps of a stretch of tokens [from, to): those that may not be evicted, plus n_kept of the rest.
function Order:budget(ratio, from, to)
  local first, last = math.max(from or 0, self.evictable[1]), math.min(to or self.tokens, self.evictable[2])
  local length, open = (to or self.tokens) - (from or 0), math.max(0, last - first)
  local kept = open > 0 and ratios.n_kept(open, ratio) or 0
  return length - open + kept, kept
end

--- Scores in which tokens outside the evictable range are +inf; what a rule itself protects inside comes after them,
--- since a window or sinks may be more than the ratio leaves. offset: position of the scores' first token in the
--- context.
function M.protect(scores, evictable, offset)
  local n = scores:size(3)
  local from, to = math.max(0, evictable[1] - offset), math.min(n, evictable[2] - offset)
  if from == 0 and to == n then return scores end
  local out = scores:clamp(-math.huge, LARGEST)
  if from > 0 then out:narrow(3, 1, math.min(from, n)):fill_(math.huge) end
  if to < n then out:narrow(3, math.max(0, to) + 1, n - math.max(0, to)):fill_(math.huge) end
  return out
end

--- Everything a press knows about a context before a ratio is chosen (or at one ratio, for rules that depend on it).
function M.new(press, ctx, evictable, ratio)
  local order = setmetatable({
    press = press, ctx = ctx, evictable = evictable, layers = ctx.layers, kv_heads = ctx.kv_heads,
      tokens = ctx.tokens, by_scope = {},
  }, Order)
  if press.rule.order then
    press.rule.order(press, order, ctx, ratio)
  else
    order.scores = M.protect(M.scores(press, ctx, ratio, evictable), evictable, 0)
  end
  return order
end

--- An order from scores [layers, kv_heads, tokens] that are there already, without a context.
function M.from_scores(press, scores)
  return setmetatable({ press = press, scores = scores, evictable = { 0, scores:size(3) }, layers = scores:size(1),
    kv_heads = scores:size(2), tokens = scores:size(3), by_scope = {} }, Order)
end

--- thresholds [layers * kv_heads] filled by fn(layer, head), both from 0.
function Order:thresholds(fn)
  local out = ffi.new("uint32_t[?]", self.layers * self.kv_heads)
  for l = 0, self.layers - 1 do
    for h = 0, self.kv_heads - 1 do out[l * self.kv_heads + h] = fn(l, h) end
  end
  return out
end

local function plain_cut(self, ratio)
  local rule, scope = self.press.rule, self.press.scope
  if rule.cut then return rule.cut(self.press, self, ratio) end
  if rule.thresholds then return keepset.from_ranks(self:rank(scope), rule.thresholds(self.press, self, ratio)) end
  local cells = scope == "head" and 1 or scope == "layer" and self.kv_heads or self.layers * self.kv_heads
  return keepset.from_ranks(self:rank(scope), cells * self:budget(ratio))
end

--- The keep-set of one ratio. A rule that changes keys or values gives them for the set just made (and for the cache
--- that a press inside it made): rewrite(self, ctx, keep, ratio) -> {keys =, values =, position =}, what is nil as it
--- was.
function Order:cut(ratio)
  local keep, rewrite = plain_cut(self, ratio), self.press.rule.rewrite
  if not rewrite then return keep end
  local source = keep.cache or self.ctx
  local new = rewrite(self.press, source, keep, ratio)
  if not new then return keep end
  keep.cache, keep.position = source:variant(new), new.position or keep.position
  return keep
end

return M
