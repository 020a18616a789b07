-- SPDX-License-Identifier: Apache-2.0
-- Gemma 3 (text). Most layers attend through a sliding window and turn RoPE at a base of their own; every sixth sees
-- everything. GeGLU; norms before and after attention and feed-forward, stored as differences from 1 in folders (but
-- not in GGUF files); embeddings are scaled by sqrt(hidden), in f32 as in transformers' f32 run.
-- Source: arXiv:2503.19786; configuration as in transformers' Gemma3TextConfig, GGUF keys as llama.cpp reads them.
local families = require "kvbench.model.family"
local json = require "kvbench.json"

local PATTERN, SLIDING_THETA = 6, 10000

-- One per layer: true where it slides. config.json lists types, or gives the distance of full layers.
local function sliding(get, desc, where)
  local types, list = get "layer_types", {}
  local every = get "sliding_window_pattern" or get "_sliding_window_pattern" or get "attention.sliding_window_pattern"
    or PATTERN
  if type(every) ~= "number" or every < 1 or every % 1 ~= 0 then
    error(("%s: sliding_window_pattern is %s -> a whole number of layers, from 1"):format(where, json.encode(every)), 0)
  end
  if types ~= nil and (type(types) ~= "table" or #types ~= desc.layers) then
    error(("%s: layer_types has %s entries for %d layers"):format(where, type(types) == "table" and #types or "no",
      desc.layers), 0)
  end
  for l = 1, desc.layers do
    local kind = types and types[l] or l % every == 0 and "full_attention" or "sliding_attention"
    if kind ~= "full_attention" and kind ~= "sliding_attention" then
      error(("%s: attention of type '%s' is not supported -> supported are full_attention and sliding_attention")
        :format(where, tostring(kind)), 0)
    end
    list[l] = kind == "sliding_attention"
  end
  return list
end

return families.define {
  name = "gemma3",
  doc = "sliding-window and full layers with two RoPE bases, GeGLU, norms before and after, scaled embeddings",
  model_types = { "gemma3_text" },
  architectures = { "gemma3" },
  qk_norm = true, post_norms = true, hf_plus_one = true,
  activation = "gelu", activation_names = { "gelu_pytorch_tanh" },
  hf_defaults = {
    kv_heads = 4, head_dim = 256, hidden_activation = "gelu_pytorch_tanh", norm_eps = 1e-6, sliding_window = 4096,
    query_pre_attn_scalar = 256, tie_word_embeddings = true, max_positions = 131072,
  },
  slots = {
    ffn_norm = families.slot(13, "model.layers.%d.pre_feedforward_layernorm.weight", "blk.%d.ffn_norm.weight",
      "hidden"),
  },
  layers = function(get, desc, where)
    local window = get "sliding_window" or get "attention.sliding_window"
    if type(window) ~= "number" or window < 1 or window % 1 ~= 0 then
      error(("%s: sliding_window is %s, expected a whole number"):format(where, tostring(window)), 0)
    end
    desc.sliding_window, desc.sliding = window, sliding(get, desc, where)
    desc.embedding_scale = math.sqrt(desc.hidden)
    -- GGUF files do not say it: the 27B model (62 layers) divides by its hidden size per head, the others by head_dim.
    local scalar = get "query_pre_attn_scalar" or desc.layers == 62 and desc.hidden / desc.heads or desc.head_dim
    desc.query_scale = scalar ^ -0.5
  end,
  sliding_theta = SLIDING_THETA,
}
