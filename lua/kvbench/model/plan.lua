-- SPDX-License-Identifier: Apache-2.0
-- Which tensor goes into which weight slot, with every name and shape checked before a byte is read. A tensor that has
-- no slot is an error too: it is a part of the model that would silently be left out.
local family_module = require "kvbench.model.family"

local M = {}

local function sizes_of(d)
  return {
    vocab = d.vocab, hidden = d.hidden, ffn = d.ffn, head_dim = d.head_dim,
    q = d.heads * d.head_dim, kv = d.kv_heads * d.head_dim,
  }
end

local function show(shape) return "[" .. table.concat(shape, ", ") .. "]" end

local function fits(shape, expected)
  if #shape ~= #expected then return false end
  for i, n in ipairs(expected) do if shape[i] ~= n then return false end end
  return true
end

local function wrong_shape(source, name, slot, shape, expected)
  local vocabulary = slot.rows == "vocab" and shape[2] == expected[2]
  local advice = vocabulary and "vocabulary and weights are mixed up: take both from one model"
    or "configuration and weights are of different models, or the file is damaged"
  error(("'%s': tensor '%s' is %s, the configuration asks for %s -> %s"):format(source.path, name, show(shape),
    show(expected), advice), 0)
end

local function place(source, steps, used, slot, layer, sizes)
  local name = layer and slot[source.naming]:format(layer) or slot[source.naming]
  local info = source.weights:info(name)
  if not info then
    error(("'%s': tensor '%s' is missing -> the file is incomplete, or not of family %s"):format(source.path, name,
      source.family.name), 0)
  end
  local expected = { sizes[slot.rows], slot.columns and sizes[slot.columns] }
  if not fits(info.shape, expected) then wrong_shape(source, name, slot, info.shape, expected) end
  used[name] = true
  steps[#steps + 1] = {
    slot = slot.id, layer = layer or 0, index = info.index, elements = info.elements, type = info.type,
    bytes = info.bytes, vector = slot.columns == nil,
  }
end

local function check_leftovers(source, used)
  local tied_head = source.desc.tied_embeddings and source.family.slots.lm_head[source.naming]
  for _, name in ipairs(source.weights:names()) do
    local known = used[name] or name == tied_head
    for _, pattern in ipairs(family_module.ignored) do known = known or name:find(pattern) end
    if not known then
      error(("'%s': tensor '%s' has no place in family %s with %d layers -> this variant is not supported"):format(
        source.path, name, source.family.name, source.desc.layers), 0)
    end
  end
end

--- List of {slot, layer, index, elements, type, bytes, vector} for kvb_model_load, layer by layer.
function M.of(source)
  local family, d = source.family, source.desc
  source.naming = source.kind
  local flags = { qkv_bias = family.qkv_bias, qk_norm = family.qk_norm, post_norms = family.post_norms,
    untied = not d.tied_embeddings }
  local sizes, steps, used, order = sizes_of(d), {}, {}, {}
  for id, slot in pairs(family.slots) do
    if not slot.only_with or flags[slot.only_with] then order[#order + 1] = id end
  end
  table.sort(order, function(a, b) return family.slots[a].id < family.slots[b].id end)
  for _, id in ipairs(order) do
    if not family.slots[id].layered then place(source, steps, used, family.slots[id], nil, sizes) end
  end
  for layer = 0, d.layers - 1 do
    for _, id in ipairs(order) do
      if family.slots[id].layered then place(source, steps, used, family.slots[id], layer, sizes) end
    end
  end
  check_leftovers(source, used)
  return steps
end

--- Parameters, and bytes of the weights in memory for an element size: matrices in that size, vectors in f32.
function M.totals(steps, unit)
  local parameters, bytes = 0, 0
  for _, step in ipairs(steps) do
    parameters = parameters + step.elements
    bytes = bytes + step.elements * (step.vector and 4 or unit)
  end
  return parameters, bytes
end

--- Tensors by storage type: {{type, tensors, bytes}...}, most bytes first.
function M.types(steps)
  local by_type, list = {}, {}
  for _, step in ipairs(steps) do
    local row = by_type[step.type]
    if not row then
      row = { type = step.type, tensors = 0, bytes = 0 }
      by_type[step.type] = row
      list[#list + 1] = row
    end
    row.tensors, row.bytes = row.tensors + 1, row.bytes + step.bytes
  end
  table.sort(list, function(a, b) return a.bytes > b.bytes or a.bytes == b.bytes and a.type < b.type end)
  return list
end

return M
