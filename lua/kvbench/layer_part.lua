-- SPDX-License-Identifier: Apache-2.0
-- Some layers of a context as a context of their own. Presses compress the full layers of a model with sliding windows
-- by default: what they get is those layers, counted 0, 1, 2, ..., as if the model had no others; what they decide is
-- put back among all layers, where the sliding ones keep everything (the cache of a sliding layer is bounded anyway).
-- Rejected: scoring all layers and dropping decisions (a budget shared among layers would go to those that are not
-- compressed, and rows of sliding layers do not see what they are scored by).
local keepset = require "kvbench.keep"
local tensor = require "kvbench.tensor"

local M = {}

local layered = { keys = true, values = true, queries = true, attention_mass = true }

--- The layers of a context (from 1) that presses compress: nil for all of them.
function M.of(ctx)
  local model = rawget(ctx, "layer_list") == nil and ctx.model
  if not model or not model.sliding or ctx.layers ~= model.layers then return nil end
  local list = {}
  for l, slides in ipairs(model.sliding) do if not slides then list[#list + 1] = l end end
  if #list == 0 then
    error(("model '%s' has sliding layers only, which presses leave alone"):format(tostring(model.name)), 0)
  end
  return #list < model.layers and list or nil
end

--- Rows `list` (from 1) of dimension 1.
function M.pick(x, list)
  local rows = {}
  for i, l in ipairs(list) do rows[i] = x:narrow(1, l, 1) end
  return tensor.cat(rows, 1)
end

--- A copy of `whole` with rows `list` replaced by those of `part`.
function M.put(whole, list, part)
  local out = whole:clone()
  for i, l in ipairs(list) do out:narrow(1, l, 1):copy_(part:narrow(1, i, 1)) end
  return out
end

--- For rules with a table over the model's layers (dimension 1): the rows of the block of layers that `ctx` is.
function M.rows(ctx, x)
  local list = ctx.layer_list
  if not list then return x:narrow(1, ctx.layer_first + 1, ctx.layers) end
  local own = {}
  for i = 1, ctx.layers do own[i] = list[ctx.layer_first + i] end
  return M.pick(x, own)
end

--- The model's number (from 0) of layer `l` (from 0) of ctx.
function M.number(ctx, l) return ctx.layer_list and ctx.layer_list[l + 1] - 1 or l end

-- Ranks [layers of the part, kv_heads, tokens] among all layers: the others rank by position.
local function expand_ranks(ranks, list, layers)
  local heads, n = ranks:size(2), ranks:size(3)
  local all = tensor.arange(n):view(1, 1, n):expand(layers, heads, n):contiguous():to("u32"):cpu()
  for i, l in ipairs(list) do all:narrow(1, l, 1):copy_(ranks:narrow(1, i, 1)) end
  return all
end

--- A keep-set of the part as one of the whole: other layers keep everything. keep.compressed says which do not.
function M.expand(keep, list, layers)
  if list.layer_list then list, layers = list.layer_list, layers.layers end -- a part and its whole
  local bits = tensor.ones({ layers, keep.kv_heads, keep.tokens }, "u8")
  for i, l in ipairs(list) do bits:narrow(1, l, 1):copy_(keep:bits():narrow(1, i, 1)) end
  local all = keepset.from_bits(bits)
  all.notes, all.position, all.decoding, all.compressed = keep.notes, keep.position, keep.decoding, list
  all.cache = keep.cache and rawget(keep.cache, "whole") or keep.cache
  all.ranks, all.evictable = keep.ranks and expand_ranks(keep.ranks, list, layers), keep.evictable
  return all
end

--- What score(part) gives for the layers of a context that are compressed, among all layers: +inf, always kept, in the
--- others.
function M.scores(ctx, score)
  local list = M.of(ctx)
  if not list then return score(ctx) end
  return M.put(tensor.full({ ctx.layers, ctx.kv_heads, ctx.tokens }, math.huge), list, score(M.new(ctx, list)))
end

--- A decision of press_decoding's compress about layers `list` as one about all of them. own: keys, values and queries
--- of all layers; decide(own) -> keep-set of the context, of the own tokens, steps to the next pause, what changed.
function M.decide(list, layers, own, decide)
  local part = {}
  for name, x in pairs(own) do part[name] = M.pick(x, list) end
  local keep, mine, pause, changed = decide(part)
  if changed then changed.values = M.put(own.values, list, changed.values) end
  return M.expand(keep, list, layers), M.expand(mine, list, layers), pause, changed
end

local methods = {}
function methods.rope(part, first, n) return part.whole:rope(first, n) end
function methods.weight(part, slot, layer) return part.whole:weight(slot, part.layer_list[layer + 1] - 1) end
function methods.select(part, from, to) return M.new(part.whole:select(from, to), part.layer_list) end
function methods.read_on(part, ids, needs) return M.new(part.whole:read_on(ids, needs), part.layer_list) end
function methods.close(part) return part.whole:close() end
function methods.variant(part, new)
  local all = {}
  for _, name in ipairs { "keys", "values" } do
    all[name] = new[name] and M.put(part.whole[name], part.layer_list, new[name])
  end
  return M.new(part.whole:variant(all), part.layer_list)
end

-- Tensors are made outside of the scope of whoever asks first.
local function made(part, name)
  local whole, list = rawget(part, "whole"), rawget(part, "layer_list")
  local x = whole[name]
  if x == nil then return nil end
  local value = tensor.outside(function()
    if name == "hidden" then -- level i is what layer i reads; the last one is behind all of them
      local levels = { unpack(list) }
      levels[#levels + 1] = x:size(1)
      return M.pick(x, levels)
    end
    return M.pick(x, list)
  end)
  rawset(part, name, value)
  return value
end

local meta = {
  __index = function(part, name)
    if methods[name] then return methods[name] end
    if layered[name] or name == "hidden" then return made(part, name) end
    local value = rawget(part, "whole")[name]
    if type(value) ~= "function" then return value end
    return function(_, ...) return value(rawget(part, "whole"), ...) end
  end,
}

--- Layers `list` (from 1, ascending) of a context.
function M.new(ctx, list)
  return setmetatable({ whole = ctx, layer_list = list, layers = #list, layer_first = 0 }, meta)
end

return M
