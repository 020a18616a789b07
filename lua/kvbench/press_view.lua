-- SPDX-License-Identifier: Apache-2.0
-- What a rule sees of a context: a block of its layers. A rule is called once per block, so that its temporaries stay
-- in the CPU's caches and memory stays bounded whatever the model; a rule of scope "model" gets one block with every
-- layer.
local tensor = require "kvbench.tensor"

local M = {}

local per_layer = { keys = true, values = true, queries = true, attention_mass = true }
local optional = { attention_mass = true } -- only sequences under a decoding press have it
local MISSING = "a press needs ctx.%s, which this context does not have -> model:prefill(text, press.needs)"

local View = {}

function View.__index(view, key)
  local ctx = rawget(view, "of")
  if per_layer[key] then
    -- read outside the scope of the score: the context may keep what it makes
    local whole = tensor.outside(function() return ctx[key] end)
    if whole == nil and optional[key] then return nil end
    if whole == nil then error(MISSING:format(key), 0) end
    local part = whole
    if rawget(view, "layers") ~= whole:size(1) then -- kept longer than what once() or a score makes
      part = tensor.outside(whole.narrow, whole, 1, rawget(view, "block_first"), rawget(view, "layers"))
    end
    rawset(view, key, part)
    return part
  end
  local value = ctx[key]
  if type(value) ~= "function" then return value end
  return function(_, ...)
    return tensor.outside(value, ctx, ...)
  end
end

-- What the blocks of one context share while it is being scored: results of once(), and the same for its parts.
local function new_shared(ctx, token_first, seed, evictable)
  if seed == nil then seed = ctx.seed end
  if seed == nil and ctx.ids then seed = table.concat(ctx.ids, " ") end
  return { made = {}, parts = {}, token_first = token_first, seed = seed or 0,
    evictable = evictable or { 0, ctx.tokens } }
end

-- Made in the scope of the score, which frees it.
local function weight(view, slot, layer)
  local ctx = rawget(view, "of")
  return ctx:weight(slot, layer)
end

local function once(view, key, fn)
  local made = rawget(view, "shared").made
  if made[key] == nil then made[key] = tensor.outside(tensor.scope, fn) end
  return made[key]
end

local function part_of(view, from, to)
  local shared, key = rawget(view, "shared"), from .. ":" .. to
  local part = shared.parts[key]
  if not part then
    local ctx = rawget(view, "of")
    part = { ctx = tensor.outside(function() return ctx:select(from, to) end) }
    local open = shared.evictable
    part.shared = new_shared(part.ctx, shared.token_first + from, shared.seed,
      { math.max(0, open[1] - from), math.max(0, math.min(to, open[2]) - from) })
    shared.parts[key] = part
  end
  return M.block(part.ctx, rawget(view, "block_first"), view.layers, part.shared)
end

--- Layers first .. first + count - 1 (counted from 1 within ctx) of a context, with the same interface, and
---   ctx:once(key, fn)   what fn() returned the first time it was asked for: for what is the same in every layer
---   ctx.seed            the context's own seed, or its token ids
---   ctx.token_first     where this part of the context starts (0 for a whole one)
---   ctx.evictable       {from, to}: the tokens that compete, for rules that select while they score
--- shared: from M.shared(ctx), the same for all blocks of a context.
function M.block(ctx, first, count, shared)
  return setmetatable({
    of = ctx, block_first = first, layers = count, layer_first = (ctx.layer_first or 0) + first - 1, shared = shared,
    seed = shared.seed, token_first = shared.token_first, once = once, select = part_of, weight = weight,
    evictable = shared.evictable,
  }, View)
end

--- Layer l (from 1) of a view alone.
function M.layer(view, l)
  return M.block(rawget(view, "of"), rawget(view, "block_first") + l - 1, 1, rawget(view, "shared"))
end

-- What presses shared while a list of ratios is decided: [press][ctx]["from:to"]. nil outside of remembering().
local remembered

--- press: whose scores these are; within M.remembering its later scores of ctx share what the first one made.
function M.shared(ctx, evictable, press)
  if not remembered or not press then return new_shared(ctx, ctx.token_first or 0, nil, evictable) end
  remembered[press] = remembered[press] or {}
  local known = remembered[press][ctx] or {}
  remembered[press][ctx] = known
  local key = evictable and evictable[1] .. ":" .. evictable[2] or ""
  known[key] = known[key] or new_shared(ctx, ctx.token_first or 0, nil, evictable)
  return known[key]
end

local function forget(ok, ...)
  remembered = nil
  if not ok then error((...), 0) end
  return ...
end

--- fn(...), in which rules that score once per ratio find again what they put into ctx:once.
function M.remembering(fn, ...)
  if remembered then return fn(...) end
  remembered = {}
  return forget(pcall(fn, ...))
end

--- How many layers to score at once: on a CPU so that one tensor of all query heads takes about 4 MiB, what its caches
--- hold (rule.fused: the rule stores nothing so large, and fewer calls wait less for threads); 1 GiB on a GPU, which
--- wants few and large operations.
function M.layers_at_once(ctx, fused)
  local bytes = 4 * (ctx.heads or ctx.kv_heads) * ctx.tokens * (ctx.head_dim or 64)
  local room = (ctx.device or "cpu") == "cpu" and (fused and 2 ^ 26 or 2 ^ 22) or 2 ^ 30
  return math.max(1, math.min(ctx.layers, math.floor(room / bytes)))
end

return M
