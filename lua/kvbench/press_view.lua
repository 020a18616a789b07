-- SPDX-License-Identifier: Apache-2.0
-- What a rule sees of a context: a block of its layers. A rule is called once per block, so that its temporaries stay in the
-- CPU's caches and memory stays bounded whatever the model; a rule of scope "model" gets one block with every layer.
local tensor = require "kvbench.tensor"

local M = {}

local per_layer = { keys = true, values = true, queries = true }
local MISSING = "a press needs ctx.%s, which was not observed when this context was prefilled -> prefill with the press's needs"

local View = {}

function View.__index(view, key)
  local ctx = rawget(view, "of")
  if per_layer[key] then
    -- read outside the scope of the score: the context may keep what it makes
    local whole = tensor.outside(function() return ctx[key] end)
    if whole == nil then error(MISSING:format(key), 0) end
    local part = whole
    if rawget(view, "layers") ~= whole:size(1) then part = whole:narrow(1, rawget(view, "block_first"), rawget(view, "layers")) end
    rawset(view, key, part)
    return part
  end
  local value = ctx[key]
  if type(value) ~= "function" then return value end
  return function(_, ...)
    return tensor.outside(value, ctx, ...)
  end
end

--- Layers first .. first + count - 1 (counted from 1 within ctx) of a context, with the same interface.
function M.block(ctx, first, count)
  local view = { of = ctx, block_first = first, layers = count, layer_first = (ctx.layer_first or 0) + first - 1 }
  view.select = function(_, from, to)
    return M.block(tensor.outside(function() return ctx:select(from, to) end), first, count)
  end
  return setmetatable(view, View)
end

--- How many layers to score at once, so that one tensor of all query heads takes about 1 MiB.
function M.layers_at_once(ctx)
  local bytes = 4 * (ctx.heads or ctx.kv_heads) * ctx.tokens * (ctx.head_dim or 64)
  return math.max(1, math.min(ctx.layers, math.floor(2 ^ 26 / bytes)))
end

return M
