-- SPDX-License-Identifier: Apache-2.0
-- One weight matrix of a loaded model as a tensor, for rules that look through a projection (criticalkv). The engine
-- keeps its matrices packed for the device, so the file is opened again (mapped, not copied): the values are the
-- file's own, in f32, whatever dtype the model runs in. Rejected: keeping a second copy of every matrix in memory.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local core = require "kvbench.tensor.core"
local C, check = library.C, library.check

local M = {}

local function missing(model, slot, layer)
  error(("model '%s' has no weight '%s' in layer %s -> slots: embed, q, k, v, o, gate, up, down, ...; layers 0 to %d")
    :format(model.name, tostring(slot), tostring(layer), model.layers - 1), 0)
end

-- The weight file and where each (slot, layer) lies in it. Opened once per model.
local function open(model)
  if model.weight_file then return model.weight_file end
  local source = require("kvbench.model").source(model.path)
  local names = {}
  for name, slot in pairs(source.family.slots) do names[slot.id] = name end
  local file = { weights = source.weights, at = {}, plus_one = source.kind == "hf" and source.family.hf_plus_one,
    interleaved = source.kind == "gguf" and source.family.gguf_interleaved }
  for _, step in ipairs(require("kvbench.model.plan").of(source)) do
    file.at[names[step.slot] .. "/" .. step.layer] = step.index
  end
  model.weight_file = file
  return file
end

-- Rows of q or k of a llama-family GGUF file in the order of the halves that RoPE turns against each other.
local function deinterleaved(x, d) -- x [heads * d, hidden]
  return x:view(x:size(1) / d, d / 2, 2, x:size(2)):transpose(2, 3):reshape(x:size(1), x:size(2))
end

--- Weight `slot` (a name of model/family.lua, "o") of a layer (from 0) as an f32 tensor, rows = outputs.
function M.read(model, slot, layer)
  if model.random_seed then
    return require("kvbench.model.random").weight(model, slot, layer or 0) or missing(model, slot, layer)
  end
  local file = open(model)
  local index = file.at[tostring(slot) .. "/" .. tostring(layer or 0)]
  if not index then missing(model, slot, layer) end
  local info = file.weights:info(index)
  local out = core.new(info.shape, "f32", "cpu", true)
  check(C.kvb_weights_read(file.weights.handle, index, ffi.cast("float *", out.data), info.elements))
  if file.interleaved and (slot == "q" or slot == "k") then return deinterleaved(out, model.head_dim) end
  return file.plus_one and tostring(slot):find "norm" and out:add_(1) or out
end

return M
