-- SPDX-License-Identifier: Apache-2.0
-- kv.model: opens a model by registry name, .gguf file or Hugging Face folder and fills the one decoder with it.
--
-- What a family is stands in model/family.lua and arch/; where keys and tensors are, in model/from_hf.lua,
-- from_gguf.lua and plan.lua. Everything that can be wrong is found before the first weight is read. Methods that run
-- the model (prefill, batch, ...) come from context.lua.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local registry = require "kvbench.registry"
local rope = require "kvbench.model.rope"
local C, check = library.C, library.check

local M = {}

-- ---- where it runs ----

local function choose_device(name)
  name = name or options.device or "auto"
  if name == "auto" or name == "cpu" then return "cpu", C.KVB_DEVICE_CPU end
  if name == "ref" then return "ref", C.KVB_DEVICE_REF end
  if type(name) == "string" and name:find("^cuda") then error("this build has no CUDA backend yet -> use --device cpu",
    0) end
  error(("device '%s' is unknown -> one of: auto, cpu, ref"):format(tostring(name)), 0)
end

-- bf16 pays only where the CPU has bf16 matrix units; a head of fewer than 16 channels cannot use them at all.
local function choose_dtype(name, device, head_dim)
  name = name or options.dtype or "auto"
  local tier = ffi.string(C.kvb_cpu_tier())
  local fast = device == "cpu" and tier == "amx-bf16"
  if name == "auto" then name = fast and head_dim % 16 == 0 and "bf16" or "f32" end
  if name == "f32" then return name, C.KVB_F32 end
  if name ~= "bf16" then error(("dtype '%s' is unknown -> one of: auto, f32, bf16"):format(tostring(name)), 0) end
  if device == "cpu" and not fast then
    error(("dtype bf16: this CPU (tier %s) has no bf16 matrix units -> use --dtype f32 or auto"):format(tier), 0)
  end
  return name, C.KVB_BF16
end

-- ---- what a name stands for ----

local known_options = { device = true, dtype = true, threads = true }

--- The source of a model: everything about it but the weights (see model/from_hf.lua). The caller closes
-- source.weights.
function M.source(name_or_path)
  local path, name = registry.resolve(name_or_path)
  if C.kvb_path_kind(path) == 2 then return require("kvbench.model.from_hf").open(path, name) end
  local source = not path:find("%.json$") and require("kvbench.model.from_gguf").open(path, name)
  if source then return source end
  error(("'%s' is a part of a model folder -> give the folder that holds config.json"):format(path), 0)
end

--- kvb_model_desc of a source for a device and dtype (enum values).
function M.description(source, device, dtype)
  local d, r = source.desc, source.rope
  return ffi.new("kvb_model_desc", {
    layers = d.layers, hidden = d.hidden, heads = d.heads, kv_heads = d.kv_heads, head_dim = d.head_dim, ffn = d.ffn,
    vocab = d.vocab, max_positions = d.max_positions, qkv_bias = source.family.qkv_bias and 1 or 0,
    qk_norm = source.family.qk_norm and 1 or 0, tied_embeddings = d.tied_embeddings and 1 or 0,
    rope_kind = rope.kinds[r.kind], rope_original_positions = r.original_positions or 0, dtype = dtype, device = device,
    norm_eps = d.norm_eps, rope_theta = r.theta, rope_factor = r.factor or 1, rope_low_freq = r.low_freq or 0,
    rope_high_freq = r.high_freq or 0,
  })
end

--- The tokenizer of a source, or nil when it has none. One that knows more ids than the model has is an error.
function M.tokenizer(source)
  if not source.has_tokenizer then return nil end
  local tokenizer = require("kvbench.tokenizer").open(source.path, source.kind == "gguf" and source.weights.handle
    or nil)
  if tokenizer.size > source.desc.vocab then
    error(("'%s': the tokenizer has %d tokens, the model %d -> take vocabulary and weights from one model")
      :format(source.path, tokenizer.size, source.desc.vocab), 0)
  end
  return tokenizer
end

-- ---- Model ----

local Model = {}
M.Model = Model

Model.__index = function(self, key)
  local method = Model[key]
  if method == nil and key == "handle" then error(("model '%s' was closed -> load it again"):format(self.name), 0) end
  return method
end

Model.__tostring = function(self)
  return ("model %s (%s, %d layers, %d parameters, %s, %s)"):format(self.name, self.family, self.layers,
    self.parameters,
    self.dtype, self.tier)
end

--- The kvb_model * (borrowed); an error after close.
function Model:pointer() return self.handle end

--- Frees the weights, or leaves that to the last context that still needs them. More calls do nothing.
function Model:close()
  local handle = rawget(self, "handle")
  if not handle then return end
  self.handle = nil
  C.kvb_model_free(ffi.gc(handle, nil))
end

--- A weight as an f32 tensor, rows = outputs: slot "o", "q", ... (model/family.lua), layer from 0.
function Model:weight(slot, layer) return require("kvbench.model.read_weight").read(self, slot, layer) end

require("kvbench.context").extend(Model)

-- A bar for loads that take longer than a second, on a terminal only.
local function load_weights(handle, source, steps)
  local interleaved = source.kind == "gguf" and source.family.gguf_interleaved and 1 or 0
  local started, bar = C.kvb_time(), nil
  for i, step in ipairs(steps) do
    check(C.kvb_model_load(handle, step.slot, step.layer, source.weights.handle, step.index, interleaved))
    if C.kvb_cancelled() ~= 0 then error("loading '" .. source.path .. "' was interrupted", 0) end
    if not bar and C.kvb_time() - started > 1 and C.kvb_terminal_width(2) > 0 then
      bar = require("kvbench.progress").new { label = "loading " .. source.name, total = #steps, unit = "tensors",
        done = i }
    end
    if bar then bar:update(i) end
  end
  check(C.kvb_model_ready(handle))
  if bar then bar:finish() end
end

local function list_of_buckets(handle)
  local sizes, list = ffi.new("int32_t[?]", C.KVB_MAX_BUCKETS), {}
  for i = 1, C.kvb_model_buckets(handle, sizes) do list[i] = sizes[i - 1] end
  return list
end

--- Tokens that end an answer: what the files say; what the tokenizer recognises as the end of a turn is added for GGUF
-- files, which have no generation_config.json, and where nothing is said.
function M.stop_ids(source, tokenizer)
  local ids, seen = {}, {}
  local function add(list)
    for _, id in ipairs(list) do
      if not seen[id] then ids[#ids + 1] = id end
      seen[id] = true
    end
  end
  add(source.stop_ids)
  if tokenizer and (source.kind == "gguf" or #ids == 0) then add(tokenizer.stop_ids) end
  for _, id in ipairs(ids) do
    if type(id) ~= "number" or id < 0 or id >= source.desc.vocab or id ~= math.floor(id) then
      error(("'%s': stop token %s is outside the vocabulary of %d -> correct eos_token_id"):format(source.path,
        tostring(id),
        source.desc.vocab), 0)
    end
  end
  return ids
end

local function new_model(source, opts)
  local steps = require("kvbench.model.plan").of(source)
  local device_name, device = choose_device(opts.device)
  local dtype_name, dtype = choose_dtype(opts.dtype, device_name, source.desc.head_dim)
  local tokenizer = M.tokenizer(source)
  local stop_ids = M.stop_ids(source, tokenizer)
  local out = ffi.new("kvb_model *[1]")
  check(C.kvb_model_new(M.description(source, device, dtype), out))
  local handle = ffi.gc(out[0], C.kvb_model_free)
  load_weights(handle, source, steps)
  local model = {
    handle = handle, name = source.name, path = source.path, kind = source.kind, family = source.family.name,
    device = device_name, dtype = dtype_name, tier = ffi.string(C.kvb_model_tier(handle)), tokenizer = tokenizer,
    stop_ids = stop_ids, chat_template = source.chat_template, hash = source.hash(), rope_scaling = source.rope,
    bytes = tonumber(C.kvb_model_bytes(handle)), parameters = tonumber(C.kvb_model_parameters(handle)),
    buckets = list_of_buckets(handle), group_size = source.desc.heads / source.desc.kv_heads,
    tensor_types = require("kvbench.model.plan").types(steps),
  }
  for field, value in pairs(source.desc) do model[field] = value end
  model.chat = require("kvbench.prompt").chat.detect(model)
  return setmetatable(model, Model)
end

--- Loads a model. name_or_path: a registry name ("smollm2"), a .gguf file, or a Hugging Face folder.
-- opts: device "auto"|"cpu"|"ref", dtype "auto"|"f32"|"bf16" (auto: bf16 where the CPU has bf16 matrix units), threads;
-- what is not given is taken from kvbench's own command line. Fields of the model:
--   name, path, kind ("gguf"|"hf"), family, hash (hex, over weights and configuration), device, dtype, tier, buckets
--   layers, hidden, heads, kv_heads, group_size, head_dim, ffn, vocab, max_positions, norm_eps
--   tied_embeddings, rope_scaling ({kind, theta, factor, ...}), tensor_types ({{type, tensors, bytes}...} as stored)
--   parameters, bytes (of the weights in memory), tokenizer (or nil: ids in, ids out), stop_ids
--   chat_template (the file's own text or nil), chat (name of the template in kvbench.prompt.chat, "none" if unknown)
function M.load(name_or_path, opts)
  opts = opts or {}
  for key in pairs(opts) do
    if not known_options[key] then
      error(("model.load: unknown option '%s' %s"):format(tostring(key),
        require("kvbench.text").suggest(tostring(key), { "device", "dtype", "threads" })), 0)
    end
  end
  if opts.threads then check(C.kvb_threads_set(opts.threads)) end
  local source = M.source(name_or_path)
  local ok, result = pcall(new_model, source, opts)
  source.weights:close()
  if not ok then error(result, 0) end
  return result
end

--- What a model is, from its metadata alone: see model/info.lua. tostring() of the result is a printable page.
function M.info(name_or_path) return require("kvbench.model.info").of(name_or_path) end

--- Families that can be loaded: a list of tables with name and doc.
function M.families() return require("kvbench.model.family").all() end

return M
