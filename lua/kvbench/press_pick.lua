-- SPDX-License-Identifier: Apache-2.0
-- Some tokens of a context as if they were the context, another set in every head: what block and composed score, and
-- what a decoding press sees of a sequence. Keys, values and queries are gathered when first touched.
local tensor = require "kvbench.tensor"

local M = {}

-- x [layers, kv_heads (* group), tokens, d] at index [layers, kv_heads, m] -> [layers, .., m, d]
local function gathered(x, index, group)
  local l, h, m, d = index:size(1), index:size(2), index:size(3), x:size(4)
  if group == 1 then return x:gather(3, index:view(l, h, m, 1):expand(l, h, m, d)) end
  local wide = index:view(l, h, 1, m, 1):expand(l, h, group, m, d)
  return x:split_heads(group):gather(4, wide):view(l, h * group, m, d)
end

local lazy = {
  keys = function(part) return gathered(part.source.keys, part.index, 1) end,
  values = function(part) return gathered(part.source.values, part.index, 1) end,
  queries = function(part)
    local queries = part.source.queries
    if part.all_queries then return queries end
    if queries:size(3) ~= part.source.tokens then
      error(("these tokens need the queries of the whole context, prefill kept %d of %d -> needs = {queries = true}")
        :format(queries:size(3), part.source.tokens), 0)
    end
    return gathered(queries, part.index, part.heads / part.kv_heads)
  end,
}

local meta = { __index = function(part, name)
  local make = lazy[name]
  if not make then return nil end
  local value = make(part)
  rawset(part, name, value)
  return value
end }

-- The same tokens with other keys or values, for contexts that are Lua tables.
local function variant(ctx, new)
  return setmetatable({ keys = new.keys or ctx.keys, values = new.values or ctx.values }, { __index = ctx })
end

--- See above; {keys =, values =}.
M.variant = variant

--- x [layers, kv_heads, tokens, d] with its rows at index replaced by those of `rows` [layers, kv_heads, m, d].
function M.put(x, index, rows)
  local l, h, m, d = rows:size(1), rows:size(2), rows:size(3), rows:size(4)
  return x:scatter(3, index:view(l, h, m, 1):expand(l, h, m, d), rows)
end

local function narrowed(part, from, to)
  return M.new(part.source, part.index:narrow(3, from + 1, to - from):contiguous(), {
    seed = part.seed, all_queries = part.all_queries, token_first = (part.token_first or 0) + from,
  })
end

--- The tokens of `source` (a context or a block of its layers) that index [layers, kv_heads, m] (i32, from 1) picks, in
--- that order. options: all_queries (the queries stay those of every token of the source: rules that ask the last ones
--- ask the source's last ones), seed, token_first.
function M.new(source, index, options)
  local part = {
    source = source, index = index, model = source.model, device = source.device, layers = source.layers,
      layer_first = source.layer_first,
    heads = source.heads, kv_heads = source.kv_heads, head_dim = source.head_dim,
    group_size = source.heads / source.kv_heads, tokens = index:size(3),
    parent_tokens = source.parent_tokens or source.tokens, ids = source.ids, select = narrowed, variant = variant,
    rope = function(_, first, n) return source:rope(first, n) end,
    weight = function(_, slot, layer) return source:weight(slot, layer) end,
  }
  for name, value in pairs(options or {}) do part[name] = value end
  if part.seed == nil then part.seed = source.seed end
  return setmetatable(part, meta)
end

--- One head of one layer (from 1) of a context as a context of its own.
function M.head(whole, l, h)
  local group = whole.heads / whole.kv_heads
  local cuts = { keys = { h, 1 }, values = { h, 1 }, queries = { (h - 1) * group + 1, group }, attention_mass = { h,
    1 } }
  local out = { layers = 1, kv_heads = 1, heads = group, layer_first = (whole.layer_first or 0) + l - 1 }
  return setmetatable(out, { __index = function(head, name)
    local value, cut = whole[name], cuts[name]
    if cut and value then
      value = value:narrow(1, l, 1):narrow(2, cut[1], cut[2])
      rawset(head, name, value)
    end
    return value
  end })
end

--- Index [layers, kv_heads, m] of the non-zero elements of bits [layers, kv_heads, tokens] in token order; every head
--- must have m of them.
function M.index_of(bits, m)
  local n = bits:size(3)
  local position = tensor.arange(n):view(1, 1, n)
  return tensor.where(bits, position, position + n):argsort(-1):narrow(3, 1, m):contiguous()
end

--- The number of tokens that every head of a keep-set keeps, or nil when heads differ.
function M.even_count(keep)
  local m = keep:count(0, 0)
  for l = 0, keep.layers - 1 do
    for h = 0, keep.kv_heads - 1 do
      if keep:count(l, h) ~= m then return nil end
    end
  end
  return m
end

return M
