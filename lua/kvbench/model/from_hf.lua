-- SPDX-License-Identifier: Apache-2.0
-- A Hugging Face model folder: config.json in the layouts of transformers 4 and 5, safetensors (one file or an index
-- with shards), generation_config.json, tokenizer files if there are any. What the decoder cannot do
-- is refused by name here.
local C = require("kvbench.ffi").C
local ffi = require "ffi"
local families = require "kvbench.model.family"
local json = require "kvbench.json"
local rope = require "kvbench.model.rope"
local weights = require "kvbench.weights"

local M = {}

local function exists(path) return C.kvb_path_kind(path) == 1 end

local function refuse(where, what, ...) error(where .. ": " .. what:format(...), 0) end

local function object(path)
  local value = json.load(path)
  if type(value) ~= "table" or json.is_array(value) then error(path .. ": expected a JSON object", 0) end
  return value
end

-- Value of a configuration key: null is "switched off" (nil), absence is transformers' default for the family.
local function reader(config, family)
  return function(key, field)
    local v = config[key]
    if v == json.null then return nil end
    if v == nil then return family.hf_defaults[field or key] end
    return v
  end
end

local function check_features(config, get, family, where)
  for _, key in ipairs { "attention_bias", "mlp_bias" } do
    if get(key) == true then refuse(where, "%s is true, which family %s here does not support", key, family.name) end
  end
  local act, known = get "hidden_activation" or get "hidden_act" or family.activation_names[1], false
  for _, name in ipairs(family.activation_names) do known = known or act == name end
  if not known then
    refuse(where, "hidden_act '%s' is not supported -> supported is %s", tostring(act), family.activation_names[1])
  end
  for _, key in ipairs { "attn_logit_softcapping", "final_logit_softcapping" } do
    if get(key) then refuse(where, "%s is %s, which is not supported", key, tostring(get(key))) end
  end
  if get "use_bidirectional_attention" == true then
    refuse(where, "use_bidirectional_attention is true, which is not supported")
  end
  if type(config.quantization_config) == "table" then
    refuse(where, "quantised weights (quantization_config, method '%s') are not supported -> use the model in bf16 or "
      .. "f16, or a GGUF file", tostring(config.quantization_config.quant_method))
  end
end

-- A window that reaches over all positions changes nothing; a smaller one would have to be implemented.
local function check_window(config, get, where)
  for _, kind in ipairs(type(config.layer_types) == "table" and config.layer_types or {}) do
    if kind ~= "full_attention" then
      refuse(where, "attention of type '%s' is not supported -> supported is full_attention", tostring(kind))
    end
  end
  local window, positions = get "sliding_window", get "max_position_embeddings"
  if get "use_sliding_window" == false or type(window) ~= "number" then return end
  if type(positions) ~= "number" or window < positions then
    refuse(where, "sliding-window attention over %g of %s positions is not supported -> use a model with full "
      .. "attention", window, tostring(positions))
  end
end

local function read_fields(get, family, where)
  local d = {}
  for field, key in pairs(family.config_keys.hf) do d[field] = get(key, field) end
  if d.kv_heads == nil or d.kv_heads == "heads" then d.kv_heads = d.heads end
  if d.head_dim == nil and type(d.hidden) == "number" and type(d.heads) == "number" and d.heads > 0 then
    d.head_dim = d.hidden / d.heads
  end
  families.check_dimensions(d, function(field) return family.config_keys.hf[field] end,
    function(...) refuse(where, ...) end)
  if type(d.norm_eps) ~= "number" then refuse(where, "%s is missing", family.config_keys.hf.norm_eps) end
  return d
end

local function id_list(value)
  if type(value) == "number" then return { value } end
  return json.is_array(value) and #value > 0 and value or nil
end

-- As generate() does: generation_config.json decides, config.json is asked only when it is silent.
local function stop_ids(folder, config)
  local path = folder .. "/generation_config.json"
  local ids = exists(path) and id_list(object(path).eos_token_id) or id_list(config.eos_token_id)
  return ids or {}
end

local function read_text(path)
  local file = io.open(path, "rb")
  local content = file and file:read("*a")
  if file then file:close() end
  return content
end

-- Three places in use: a file of its own, a string, a list of named ones ("default" counts).
local function chat_template(folder)
  local own = read_text(folder .. "/chat_template.jinja")
  if own then return own end
  local path = folder .. "/tokenizer_config.json"
  local template = exists(path) and object(path).chat_template or nil
  if json.is_array(template) then
    for _, entry in ipairs(template) do
      if type(entry) == "table" and entry.name == "default" then template = entry.template end
    end
  end
  return type(template) == "string" and template or nil
end

local function open_weights(folder)
  local index, single = folder .. "/model.safetensors.index.json", folder .. "/model.safetensors"
  if exists(index) then return weights.open(index) end
  if exists(single) then return weights.open(single) end
  local other = exists(folder .. "/pytorch_model.bin") or exists(folder .. "/pytorch_model.bin.index.json")
  refuse("'" .. folder .. "'", "no model.safetensors and no model.safetensors.index.json%s", other
    and "; pickled .bin weights are not read -> convert them to safetensors"
      or " -> fetch the weights into this folder")
end

-- Somebody may give the folder where a GGUF file lies.
local function gguf_in(folder)
  local list = ffi.new("const char *[1]")
  if C.kvb_dir_list(folder, list) ~= 0 then return nil end
  for name in ffi.string(list[0]):gmatch("[^\n]+") do if name:find("%.gguf$") then return name end end
end

--- The source of a model in a folder: {kind = "hf", path, name, family, desc (fields of kvb_model_desc), rope, weights,
-- stop_ids, chat_template, has_tokenizer, hash = function() -> hex}. Reads no weights.
function M.open(folder, name)
  local path = folder .. "/config.json"
  if not exists(path) then
    local gguf = gguf_in(folder)
    local advice = gguf and "the file in it: '" .. folder .. "/" .. gguf .. "'"
      or "a Hugging Face model folder, or a .gguf file"
    error(("'%s' is a folder without config.json -> give %s"):format(folder, advice), 0)
  end
  local config = object(path)
  if type(config.model_type) ~= "string" then error(path .. ": model_type is missing, so the family is not known",
    0) end
  local family = families.find("model_types", config.model_type, path)
  local get = reader(config, family)
  check_features(config, get, family, path)
  if not family.layers then check_window(config, get, path) end
  local desc = read_fields(get, family, path)
  if family.layers then family.layers(get, desc, path) end
  desc.tied_embeddings = get "tie_word_embeddings" == true
  local file = open_weights(folder)
  return {
    kind = "hf", path = folder, name = name, family = family, desc = desc, rope = rope.from_config(config, path,
      family),
      weights = file,
    stop_ids = stop_ids(folder, config), chat_template = chat_template(folder),
    has_tokenizer = exists(folder .. "/tokenizer.json") or exists(folder .. "/tokenizer.json.zst"), config_path = path,
    hash = function()
      local text = read_text(path)
      return bit.tohex(C.kvb_hash64(text, #text, C.kvb_weights_hash(file.handle)), 16)
    end,
  }
end

return M
