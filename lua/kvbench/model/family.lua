-- SPDX-License-Identifier: Apache-2.0
-- What a model family is: one table in lua/kvbench/arch/, found by scanning that folder. It names configuration keys
-- and tensors in both worlds (Hugging Face, GGUF) and switches of the one decoder in C. Whatever a family does not
-- declare is as in the LLaMA layout below; see docs/arch.md.
local C = require("kvbench.ffi").C
local ffi = require "ffi"
local paths = require "kvbench.paths"
local text = require "kvbench.text"

local M = {}

--- Field of kvb_model_desc -> key in config.json, and key below "<architecture>." in GGUF metadata.
M.config_keys = {
  hf = {
    layers = "num_hidden_layers", hidden = "hidden_size", ffn = "intermediate_size", vocab = "vocab_size",
    heads = "num_attention_heads", kv_heads = "num_key_value_heads", head_dim = "head_dim",
    max_positions = "max_position_embeddings", norm_eps = "rms_norm_eps",
  },
  gguf = {
    layers = "block_count", hidden = "embedding_length", ffn = "feed_forward_length",
    heads = "attention.head_count", kv_heads = "attention.head_count_kv", head_dim = "attention.key_length",
    max_positions = "context_length", norm_eps = "attention.layer_norm_rms_epsilon",
  },
}

--- A slot: kvb_weight_slot, names (%d is the layer), shape in terms of the description, flag that it goes with.
function M.slot(id, hf, gguf, rows, columns, only_with)
  return { id = id, hf = hf, gguf = gguf, rows = rows, columns = columns, only_with = only_with,
    layered = hf:find("%%d") ~= nil }
end

local slot = M.slot
local L, B = "model.layers.%d.", "blk.%d."
--- Where each weight is. rows and columns are names of M.sizes; only_with: a flag that must be set.
M.slots = {
  embed = slot(0, "model.embed_tokens.weight", "token_embd.weight", "vocab", "hidden"),
  final_norm = slot(1, "model.norm.weight", "output_norm.weight", "hidden"),
  lm_head = slot(2, "lm_head.weight", "output.weight", "vocab", "hidden", "untied"),
  attn_norm = slot(3, L .. "input_layernorm.weight", B .. "attn_norm.weight", "hidden"),
  q = slot(4, L .. "self_attn.q_proj.weight", B .. "attn_q.weight", "q", "hidden"),
  k = slot(5, L .. "self_attn.k_proj.weight", B .. "attn_k.weight", "kv", "hidden"),
  v = slot(6, L .. "self_attn.v_proj.weight", B .. "attn_v.weight", "kv", "hidden"),
  o = slot(7, L .. "self_attn.o_proj.weight", B .. "attn_output.weight", "hidden", "q"),
  q_bias = slot(8, L .. "self_attn.q_proj.bias", B .. "attn_q.bias", "q", nil, "qkv_bias"),
  k_bias = slot(9, L .. "self_attn.k_proj.bias", B .. "attn_k.bias", "kv", nil, "qkv_bias"),
  v_bias = slot(10, L .. "self_attn.v_proj.bias", B .. "attn_v.bias", "kv", nil, "qkv_bias"),
  q_norm = slot(11, L .. "self_attn.q_norm.weight", B .. "attn_q_norm.weight", "head_dim", nil, "qk_norm"),
  k_norm = slot(12, L .. "self_attn.k_norm.weight", B .. "attn_k_norm.weight", "head_dim", nil, "qk_norm"),
  ffn_norm = slot(13, L .. "post_attention_layernorm.weight", B .. "ffn_norm.weight", "hidden"),
  gate = slot(14, L .. "mlp.gate_proj.weight", B .. "ffn_gate.weight", "ffn", "hidden"),
  up = slot(15, L .. "mlp.up_proj.weight", B .. "ffn_up.weight", "ffn", "hidden"),
  down = slot(16, L .. "mlp.down_proj.weight", B .. "ffn_down.weight", "hidden", "ffn"),
  post_attn_norm = slot(17, L .. "post_attention_layernorm.weight", B .. "post_attention_norm.weight", "hidden", nil,
    "post_norms"),
  post_ffn_norm = slot(18, L .. "post_feedforward_layernorm.weight", B .. "post_ffw_norm.weight", "hidden", nil,
    "post_norms"),
}

--- Tensors that files carry and the decoder computes itself (Lua patterns over names).
M.ignored = { "rotary_emb%.inv_freq$", "^rope_freqs%.weight$" }

local function merged(base, own)
  local t = {}
  for k, v in pairs(base) do t[k] = v end
  for k, v in pairs(own or {}) do t[k] = v end
  return t
end

--- A family from what differs:
--   name, doc          its name; one line for people
--   model_types        config.json's model_type values
--   architectures      GGUF's general.architecture values
--   qkv_bias, qk_norm  switches of the decoder
--   post_norms         RMSNorm on what attention and feed-forward add to the residual
--   activation         "silu" or "gelu" (its tanh approximation), of the feed-forward's gate
--   activation_names   what config.json may call it
--   gguf_interleaved   GGUF files of this family hold q and k with permuted rows
--   hf_plus_one        folders store the weights of norms as differences from 1
--   layers             function(get, desc, where): sets desc.sliding_window and desc.sliding (per layer) from the
--                      configuration (get(hf key) or get(gguf key)), desc.query_scale, desc.embedding_scale; optional
--   hf_defaults        what transformers assumes for keys that config.json lacks
--   config_keys, slots changes to the tables above, per field
function M.define(own)
  local family = merged({ qkv_bias = false, qk_norm = false, post_norms = false, gguf_interleaved = false,
    hf_plus_one = false, activation = "silu", activation_names = { "silu", "swish" }, hf_defaults = {} }, own)
  local keys = own.config_keys or {}
  family.config_keys = { hf = merged(M.config_keys.hf, keys.hf), gguf = merged(M.config_keys.gguf, keys.gguf) }
  family.slots = merged(M.slots, own.slots)
  return family
end

-- Far beyond any model; tables are made per layer before a file is asked for its tensors.
local MOST_LAYERS = 10000

--- Refuses dimensions that no model has. desc: the fields; key_of(field): what the file calls it; refuse(format, ...)
-- raises.
function M.check_dimensions(desc, key_of, refuse)
  for _, field in ipairs { "layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "max_positions" } do
    local v = desc[field]
    if type(v) ~= "number" or v < 1 or v ~= math.floor(v) or v >= 2 ^ 31 then
      refuse("%s is %s, expected a whole number", key_of(field),
        v == nil and "missing" or type(v) == "table" and "a list or object" or tostring(v))
    end
  end
  if desc.layers > MOST_LAYERS then
    refuse("%s is %d, at most %d are supported", key_of "layers", desc.layers, MOST_LAYERS)
  end
end

local families

--- All families, sorted by name. A file in arch/ that does not return a family is an error naming it.
function M.all()
  if families then return families end
  local folder, list = paths.lua .. "/kvbench/arch", ffi.new("const char *[1]")
  require("kvbench.ffi").check(C.kvb_dir_list(folder, list))
  local found = {}
  for file in ffi.string(list[0]):gmatch("[^\n]+") do
    local name = file:match("^([%w_]+)%.lua$")
    if name then
      local family = require("kvbench.arch." .. name)
      if type(family) ~= "table" or family.name ~= name or not family.slots then
        error(("%s/%s must return family.define{ name = '%s', ... }"):format(folder, file, name), 0)
      end
      found[#found + 1] = family
    end
  end
  families = found
  return found
end

--- The family whose list `field` ("model_types" or "architectures") holds `value`; nothing fitting is an error.
function M.find(field, value, where)
  local known = {}
  for _, family in ipairs(M.all()) do
    for _, candidate in ipairs(family[field] or {}) do
      if candidate == value then return family end
      known[#known + 1] = candidate
    end
  end
  table.sort(known)
  local near = text.nearest(tostring(value), known)
  error(("%s: model type '%s' is not supported -> supported are %s%s"):format(where, tostring(value),
    table.concat(known, ", "), near and "; this one may need only a table in lua/kvbench/arch/, see docs/arch.md"
      or ""), 0)
end

return M
