-- SPDX-License-Identifier: Apache-2.0
-- From scores to keep-sets: the decisions that all presses share. A score is checked, ranked once within its scope
-- (higher first, then the earlier position), and every ratio is a cut through those ranks; so nine ratios cost one
-- score, and smaller sets are subsets of larger ones by construction.
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local observe = require "kvbench.press_observe"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"
local view = require "kvbench.press_view"

local LARGEST = 3.4028234663852886e38 -- of the finite floats

local M = {}
local Order = {}
Order.__index = Order

local function where(press)
  local info = debug.getinfo(press.rule.score, "S")
  return ("press '%s' (%s:%d)"):format(press.name, info.short_src, info.linedefined)
end

local function wrong_shape(press, score, ctx)
  local n, hint = score.ndim, ""
  if n == 4 then
    hint = "\n-> one number per token is wanted: reduce the last dimension, e.g. :norm(-1) or :mean(-1)"
  elseif n == 3 and score:size(2) == ctx.heads and ctx.heads ~= ctx.kv_heads then
    hint = ("\n-> average over the %d query heads of each KV head: scores:group_mean(ctx.group_size)"):format(
      ctx.heads / ctx.kv_heads)
  elseif n == 3 and score:size(1) == ctx.layers and score:size(2) == ctx.kv_heads then
    hint = "\n-> score every token; what a rule always keeps gets math.huge: scores:pad(front, back, math.huge)"
  end
  error(("%s: score has shape %s, expected [layers %d, kv_heads %d, tokens %d]%s"):format(where(press),
    tensor.show(score), ctx.layers,
    ctx.kv_heads, ctx.tokens, hint), 0)
end

-- For xpcall: whatever goes wrong inside a score is told with the press, the line of its file and the layers.
local function told(press, ctx)
  local source = debug.getinfo(press.rule.score, "S").source
  return function(raised)
    if type(raised) ~= "string" or raised:find "^press '" then return raised end
    local line
    for level = 2, 80 do
      local info = debug.getinfo(level, "Sl")
      if not info then break end
      if info.source == source and info.currentline > 0 then
        line = ("%s:%d"):format(info.short_src, info.currentline)
        break
      end
    end
    local own = line and raised:sub(1, #line + 2) == line .. ": "
    local last = ctx.layer_first + ctx.layers - 1
    return ("press '%s' (%s), %s: %s"):format(press.name, line or where(press):match "%((.*)%)",
      last > ctx.layer_first and ("layers %d to %d"):format(ctx.layer_first, last) or "layer " .. ctx.layer_first,
      own and raised:sub(#line + 3) or raised)
  end
end

--- The score of one block of layers, checked: a contiguous f32 tensor without NaN.
function M.checked_score(press, ctx, ratio)
  local ok, score = xpcall(press.rule.score, told(press, ctx), press, ctx, ratio)
  if not ok then error(score, 0) end
  if not tensor.is(score) then
    error(("%s: score returned %s, expected a tensor [layers %d, kv_heads %d, tokens %d]\n"
      .. "-> return one number per token, higher = keep")
      :format(where(press), score == nil and "nothing" or "a " .. type(score), ctx.layers, ctx.kv_heads, ctx.tokens), 0)
  end
  if score.ndim ~= 3 or score:size(1) ~= ctx.layers or score:size(2) ~= ctx.kv_heads or score:size(3) ~= ctx.tokens then
    wrong_shape(press, score, ctx)
  end
  score = score:type() == "f32" and score:contiguous() or score:to("f32")
  local largest = score:max()
  if largest ~= largest then -- NaN is the largest of anything that holds one
    local at = tensor.locate_nan(score)
    error(("%s: score is NaN at layer %d, head %d, token %d\n"
      .. "-> 0/0, inf - inf or the log of a negative number; print(ctx.keys) shows NaN and inf in the inputs")
      :format(where(press), ctx.layer_first + at[1] - 1, at[2] - 1, at[3] - 1), 0)
  end
  return score
end

--- fn(block) of every block of layers, joined along the first dimension; temporaries freed after each. Not in any scope
--- of the caller's.
function M.by_block(press, ctx, evictable, fn)
  local step = press.whole and ctx.layers or view.layers_at_once(ctx, press.rule.fused)
  local out, shared = nil, view.shared(ctx, evictable, press)
  observe.ensure(press, ctx)
  for first = 1, ctx.layers, step do
    local count = math.min(step, ctx.layers - first + 1)
    local block = tensor.scope(fn, view.block(ctx, first, count, shared))
    if count == ctx.layers then return block end
    local shape = block:size()
    shape[1] = ctx.layers
    out = out or tensor.zeros(shape)
    out:narrow(1, first, count):copy_(block)
    block:close()
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
  return M.by_block(press, ctx, evictable, function(block) return M.checked_score(press, block, ratio) end)
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

--- Scores of tokens outside the evictable range become +inf; what a rule itself protects inside comes after them,
--- since a window or sinks may be more than the ratio leaves. offset: position of the scores' first token in the
--- context.
function M.protect(scores, evictable, offset)
  local n = scores:size(3)
  local from, to = math.max(0, evictable[1] - offset), math.min(n, evictable[2] - offset)
  if from == 0 and to == n then return scores end
  scores:copy_(scores:clamp(-math.huge, LARGEST))
  if from > 0 then scores:narrow(3, 1, math.min(from, n)):fill_(math.huge) end
  if to < n then scores:narrow(3, math.max(0, to) + 1, n - math.max(0, to)):fill_(math.huge) end
  return scores
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

--- The keep-set of one ratio. A rule that changes keys or values gives them for the set just made (and for the cache that
--- a press inside it made): rewrite(self, ctx, keep, ratio) -> {keys =, values =, position =}, what is nil as it was.
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
