-- SPDX-License-Identifier: Apache-2.0
-- A GGUF file: the same source table as from_hf makes, from metadata keys "<architecture>.*" and the tensors' own
-- shapes.
local families = require "kvbench.model.family"
local rope = require "kvbench.model.rope"
local weights = require "kvbench.weights"

local M = {}

-- A key's one value. Some files give a number per layer: all equal is the same as one, anything else is another
-- decoder.
local function scalar(file, key)
  local first = file:meta(key)
  for i = 1, file:meta_count(key) - 1 do
    if file:meta(key, i) ~= first then
      error(("gguf '%s': %s differs from layer to layer, which is not supported"):format(file.path, key), 0)
    end
  end
  return first
end

-- Keys that change what the decoder computes and that it does not implement, with the value that means "off".
local switches = {
  { "expert_count", 0 }, { "attention.clamp_kqv", 0 }, { "attention.max_alibi_bias", 0 }, { "attention.causal", 1 },
  { "logit_scale", 1 }, { "residual_scale", 1 }, { "embedding_scale", 1 }, { "attn_logit_softcapping", 0 },
  { "final_logit_softcapping", 0 },
}

local function check_features(get, d, where, architecture, family)
  for _, switch in ipairs(switches) do
    local value = get(switch[1])
    if value ~= nil and value ~= switch[2] then
      error(("%s: %s.%s is %s, which is not supported"):format(where, architecture, switch[1], tostring(value)), 0)
    end
  end
  local window = get "attention.sliding_window"
  if window and window > 0 and window < d.max_positions and not family.layers then
    error(("%s: sliding-window attention over %g of %g positions is not supported -> use a model with full attention")
      :format(where, window, d.max_positions), 0)
  end
  for _, key in ipairs { "attention.value_length", "rope.dimension_count" } do
    local value = get(key)
    if value and value ~= d.head_dim then
      error(("%s: %s.%s is %g, but the heads have %g channels, which is not supported"):format(where, architecture,
        key, value,
        d.head_dim), 0)
    end
  end
end

local function read_fields(file, family, get, where, architecture)
  local d = {}
  for field, key in pairs(family.config_keys.gguf) do d[field] = get(key) end
  local embedding = file:info(family.slots.embed.gguf)
  if not embedding then error(("%s: there is no tensor '%s'"):format(where, family.slots.embed.gguf), 0) end
  d.vocab = get "vocab_size" or embedding.shape[1]
  d.kv_heads = d.kv_heads or d.heads
  d.head_dim = d.head_dim or d.hidden and d.heads and d.hidden / d.heads
  families.check_dimensions(d, function(field)
    return architecture .. "." .. (family.config_keys.gguf[field] or "vocab_size")
  end, function(message, ...) error(("%s: " .. message):format(where, ...), 0) end)
  if type(d.norm_eps) ~= "number" then
    error(("%s: %s.%s is missing"):format(where, architecture, family.config_keys.gguf.norm_eps), 0)
  end
  d.tied_embeddings = file:info(family.slots.lm_head.gguf) == nil
  return d
end

-- The converter writes epsilon and theta as f32; the model was configured with the shortest decimal that rounds to it.
local function undo_f32(x)
  return x and tonumber(("%.7g"):format(x))
end

local function read_rope(file, get, head_dim, where, family)
  if family.layers then
    local full = rope.from_keys(get, get "rope.freq_base" or 1e6, where)
    full.sliding_theta = get "rope.freq_base_swa" or family.sliding_theta
    return full
  end
  local theta = get "rope.freq_base" or 10000
  if not file:info "rope_freqs.weight" then return rope.from_keys(get, theta, where) end
  local values, info = file:floats "rope_freqs.weight"
  if info.elements ~= head_dim / 2 then
    error(("%s: rope_freqs.weight has %d factors, heads of %d channels need %d"):format(where, info.elements, head_dim,
      head_dim / 2), 0)
  end
  local factors = {}
  for i = 1, info.elements do factors[i] = tonumber(values[i - 1]) end
  return rope.from_factors(factors, theta, where)
end

--- The source of a model in a GGUF file (see from_hf.open for its fields; kind = "gguf"), or nil when the
-- file is of another kind. Reads no weights.
function M.open(path, name)
  local file = weights.open(path)
  if file.kind ~= "gguf" then
    file:close()
    return nil
  end
  local where = "gguf '" .. path .. "'"
  local architecture = file:meta "general.architecture"
  if type(architecture) ~= "string" then error(where
    .. ": general.architecture is missing, so the family is not known", 0) end
  local family = families.find("architectures", architecture, where)
  local function get(key) return scalar(file, architecture .. "." .. key) end
  local desc = read_fields(file, family, get, where, architecture)
  check_features(get, desc, where, architecture, family)
  if family.layers then family.layers(get, desc, where) end
  desc.norm_eps = undo_f32(desc.norm_eps)
  local stop, seen = {}, {}
  for _, key in ipairs { "eos_token_id", "eot_token_id" } do
    local id = file:meta("tokenizer.ggml." .. key)
    if type(id) == "number" and not seen[id] then
      stop[#stop + 1] = id
      seen[id] = true
    end
  end
  local template = file:meta "tokenizer.chat_template"
  return {
    kind = "gguf", path = path, name = name, family = family, desc = desc, rope = read_rope(file, get, desc.head_dim,
      where, family),
    weights = file, stop_ids = stop, chat_template = type(template) == "string" and template or nil,
    has_tokenizer = file:meta_count "tokenizer.ggml.tokens" > 0, config_path = path,
    hash = function() return file:hash() end,
  }
end

return M
