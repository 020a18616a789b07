-- SPDX-License-Identifier: Apache-2.0
-- Shapes of well-known models, for benchmarks with random weights
-- (core/model_random.c). From their published config.json.
local ffi = require "ffi"
local C = require("kvbench.ffi").C

local M = {}

local function rope(theta, scaling)
  local r = { kind = "default", theta = theta }
  for key, value in pairs(scaling or {}) do r[key] = value end
  return r
end

M.presets = {
  ["llama3-8b"] = { family = "llama", layers = 32, hidden = 4096, heads = 32, kv_heads = 8, head_dim = 128, ffn = 14336,
    vocab = 128256, max_positions = 8192, norm_eps = 1e-5, rope = rope(500000) },
  ["llama3.2-3b"] = { family = "llama", layers = 28, hidden = 3072, heads = 24, kv_heads = 8, head_dim = 128,
    ffn = 8192,
    vocab = 128256, max_positions = 131072, norm_eps = 1e-5, tied_embeddings = true,
    rope = rope(500000, { kind = "llama3", factor = 32, low_freq = 1, high_freq = 4, original_positions = 8192 }) },
  ["qwen2.5-3b"] = { family = "qwen2", layers = 36, hidden = 2048, heads = 16, kv_heads = 2, head_dim = 128,
    ffn = 11008,
    vocab = 151936, max_positions = 32768, norm_eps = 1e-6, tied_embeddings = true, rope = rope(1e6) },
  ["qwen2.5-7b"] = { family = "qwen2", layers = 28, hidden = 3584, heads = 28, kv_heads = 4, head_dim = 128,
    ffn = 18944,
    vocab = 152064, max_positions = 32768, norm_eps = 1e-6, rope = rope(1e6) },
  ["qwen2.5-14b"] = { family = "qwen2", layers = 48, hidden = 5120, heads = 40, kv_heads = 8, head_dim = 128,
    ffn = 13824,
    vocab = 152064, max_positions = 32768, norm_eps = 1e-6, rope = rope(1e6) },
  smollm2 = { family = "llama", layers = 30, hidden = 576, heads = 9, kv_heads = 3, head_dim = 64, ffn = 1536,
    vocab = 49152, max_positions = 8192, norm_eps = 1e-5, tied_embeddings = true, rope = rope(100000) },
}

--- Names, sorted.
function M.names()
  local names = {}
  for name in pairs(M.presets) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- What model.lua needs to know of a model (see model/from_hf.lua), without files behind it.
function M.source(preset)
  local shapes = preset
  if type(preset) ~= "table" then
    shapes = M.presets[preset]
    if not shapes then
      error(("no random model '%s' %s"):format(tostring(preset),
        require("kvbench.text").suggest(tostring(preset), M.names())), 0)
    end
  end
  local family = require("kvbench.model.family").find("model_types", shapes.family or "llama", "random model")
  local desc = { tied_embeddings = shapes.tied_embeddings or false }
  for _, field in ipairs { "layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "max_positions",
    "norm_eps" } do
    if type(shapes[field]) ~= "number" then
      error(("random model: %s is %s, expected a number"):format(field, tostring(shapes[field])), 0)
    end
    desc[field] = shapes[field]
  end
  return { kind = "random", name = "random:" .. (type(preset) == "table" and "custom" or preset), family = family,
    desc = desc, rope = shapes.rope or rope(10000), stop_ids = {} }
end

local QKV, O, GATE_UP, DOWN, EMBED, LM_HEAD = 0, 1, 2, 3, 0, 1 -- core/model_random.c

-- Matrix `which` of a layer, rows [first, first + rows) of `columns`, or ones.
local function place(model, slot)
  local hidden, d = model.hidden, model.head_dim
  local q, kv = model.heads * d, model.kv_heads * d
  local ffn = model.ffn
  local at = {
    q = { QKV, 0, q, hidden }, k = { QKV, q, kv, hidden }, v = { QKV, q + kv, kv, hidden }, o = { O, 0, hidden, q },
    gate = { GATE_UP, 0, ffn, hidden }, up = { GATE_UP, ffn, ffn, hidden }, down = { DOWN, 0, hidden, ffn },
    embed = { EMBED, 0, model.vocab, hidden }, lm_head = { LM_HEAD, 0, model.vocab, hidden },
  }
  return at[slot]
end

--- Weight `slot` of a layer (from 0) of a random model, made anew: what core/model_random.c made, before it was packed.
--- nil for a slot that it does not have.
function M.weight(model, slot, layer)
  local core = require "kvbench.tensor.core"
  local tensor = require "kvbench.tensor"
  local ones = { attn_norm = model.hidden, ffn_norm = model.hidden, final_norm = model.hidden, q_norm = model.head_dim,
    k_norm = model.head_dim }
  if ones[slot] then return tensor.ones({ ones[slot] }, { device = "cpu" }) end
  local at = place(model, slot)
  if not at or layer < 0 or layer >= model.layers then return nil end
  if slot == "embed" or slot == "lm_head" then layer = model.layers end
  if slot == "lm_head" and model.tied_embeddings then at[1] = EMBED end
  local key = ffi.new("uint64_t[2]", layer, at[1])
  local out = core.new({ at[3], at[4] }, "f32", "cpu", true)
  core.run("uniform", out, C.kvb_hash64(key, 16, model.random_seed), at[2] * at[4])
  local scale = ffi.new("float[3]", 0.02, math.sqrt(3))
  scale[2] = scale[0] * scale[1]
  return (out * 2 - 1) * scale[2]
end

return M
