-- SPDX-License-Identifier: Apache-2.0
-- kv.model: opens a model by registry name, .gguf file or Hugging Face folder and fills the one decoder with it.
--
-- What a family is stands in model/family.lua and arch/; where keys and tensors are, in model/from_hf.lua,
-- from_gguf.lua and plan.lua. Everything that can be wrong is found before the first weight is read. Methods that run
-- the model (prefill, batch, ...) come from prefill.lua.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local given = require "kvbench.given"
local registry = require "kvbench.registry"
local rope = require "kvbench.model.rope"
local where = require "kvbench.model.where"
local C, check = library.C, library.check

local M = {}

-- ---- what a name stands for ----

local known_options = { device = true, dtype = true, threads = true, interactive = true }

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
  local desc = ffi.new("kvb_model_desc", {
    layers = d.layers, hidden = d.hidden, heads = d.heads, kv_heads = d.kv_heads, head_dim = d.head_dim, ffn = d.ffn,
    vocab = d.vocab, max_positions = d.max_positions, qkv_bias = source.family.qkv_bias and 1 or 0,
    qk_norm = source.family.qk_norm and 1 or 0, tied_embeddings = d.tied_embeddings and 1 or 0,
    rope_kind = rope.kinds[r.kind], rope_original_positions = r.original_positions or 0, dtype = dtype, device = device,
    norm_eps = d.norm_eps, rope_theta = r.theta, rope_factor = r.factor or 1, rope_low_freq = r.low_freq or 0,
    rope_high_freq = r.high_freq or 0, activation = source.family.activation == "gelu" and C.KVB_GELU or C.KVB_SILU,
    post_norms = source.family.post_norms and 1 or 0, sliding_window = d.sliding_window or 0,
    sliding_theta = r.sliding_theta or 0, query_scale = d.query_scale or 0, embedding_scale = d.embedding_scale or 0,
  })
  for l, slides in ipairs(d.sliding or {}) do
    if l <= C.KVB_MOST_WINDOWED then desc.sliding[l - 1] = slides and 1 or 0 end
  end
  return desc
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

Model.__index = function(self, key)
  local method = Model[key]
  if method == nil and key == "handle" then error(("model '%s' was closed -> load it again"):format(self.name), 0) end
  return method
end

Model.__tostring = function(self)
  return ("model %s (%s, %d layers, %d parameters, %s, %s)%s"):format(self.name, self.family, self.layers,
    self.parameters, self.dtype, self.tier, rawget(self, "handle") and "" or ", closed")
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

require("kvbench.prefill").extend(Model)

-- A bar for loads that take longer than a second, on a terminal only.
local function load_weights(handle, source, steps)
  local changes = source.kind == "gguf" and source.family.gguf_interleaved and C.KVB_LOAD_INTERLEAVED
    or source.kind == "hf" and source.family.hf_plus_one and C.KVB_LOAD_PLUS_ONE or 0
  local started, bar = C.kvb_time(), nil
  for i, step in ipairs(steps) do
    check(C.kvb_model_load(handle, step.slot, step.layer, source.weights.handle, step.index, changes))
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
        tostring(id), source.desc.vocab), 0)
    end
  end
  return ids
end

-- The Lua side of a model whose weights are there.
local function wrap(handle, source, fields)
  local model = {
    handle = handle, name = source.name, path = source.path, kind = source.kind, family = source.family.name,
    tier = ffi.string(C.kvb_model_tier(handle)), chat_template = source.chat_template, rope_scaling = source.rope,
    bytes = tonumber(C.kvb_model_bytes(handle)), parameters = tonumber(C.kvb_model_parameters(handle)),
    buckets = list_of_buckets(handle), pins = ffi.string(C.kvb_model_pins(handle)),
    group_size = source.desc.heads / source.desc.kv_heads,
  }
  model.interactive = model.tier:find "interactive" ~= nil
  for field, value in pairs(source.desc) do model[field] = value end
  for field, value in pairs(fields) do model[field] = value end
  model.chat = require("kvbench.prompt").chat.detect(model)
  return setmetatable(model, Model)
end

-- An empty kvb_model for a source, and where and how it will run.
local function new_handle(source, opts)
  local device_name, device = where.device(opts.device)
  local dtype_name, dtype = where.dtype(opts.dtype, device_name, source.desc.head_dim)
  local out = ffi.new("kvb_model *[1]")
  check(C.kvb_model_new(M.description(source, device, dtype), out))
  if opts.interactive then C.kvb_model_interactive(out[0]) end
  return ffi.gc(out[0], C.kvb_model_free), device_name, dtype_name
end

local function new_model(source, opts)
  local plan = require "kvbench.model.plan"
  local steps = plan.of(source)
  local tokenizer = M.tokenizer(source)
  local stop_ids = M.stop_ids(source, tokenizer)
  local handle, device, dtype = new_handle(source, opts)
  load_weights(handle, source, steps)
  return wrap(handle, source, { device = device, dtype = dtype, tokenizer = tokenizer, stop_ids = stop_ids,
    hash = source.hash(), tensor_types = plan.types(steps) })
end

local function check_options(call, opts, known)
  opts = given.options("model." .. call, opts, known)
  if opts.threads then
    check(C.kvb_threads_set(given.whole("model." .. call, "threads", opts.threads, 0)))
  end
  return opts
end

-- The tokenizer of another model, or of a folder that holds nothing else, for a model of random weights.
local function borrowed_tokenizer(name, source)
  local ok, result
  if C.kvb_path_kind(name) == 2 and C.kvb_path_kind(name .. "/config.json") == 0 then
    ok, result = true, require("kvbench.tokenizer").open(name)
  else
    local lender = M.source(name)
    ok, result = pcall(M.tokenizer, lender)
    lender.weights:close()
  end
  if not ok then error(result, 0) end
  if not result then error(("'%s' has no tokenizer to borrow"):format(name), 0) end
  if result.size > source.desc.vocab then
    error(("'%s': its tokenizer has %d tokens, random %s has %d"):format(name, result.size, source.name,
      source.desc.vocab), 0)
  end
  return result
end

--- A model with random weights of known shapes, made on the device from a seed: for benchmarks without weights.
-- preset: a name of model/random.lua ("llama3-8b", "llama3.2-3b", "qwen2.5-3b", "qwen2.5-7b", "qwen2.5-14b",
-- "smollm2"), or a table with its fields. opts: seed (1 unless told), device, dtype, threads, tokenizer (a model name,
-- file or folder whose tokenizer it borrows; else ids in, ids out).
function M.random(preset, opts)
  opts = check_options("random", opts, { device = true, dtype = true, threads = true, interactive = true,
    seed = true, tokenizer = true })
  local source = require("kvbench.model.random").source(preset)
  local tokenizer = opts.tokenizer and borrowed_tokenizer(tostring(opts.tokenizer), source)
  local seed = tostring(opts.seed or 1)
  local handle, device, dtype = new_handle(source, opts)
  check(C.kvb_model_random(handle, C.kvb_hash64(seed, #seed, 0)))
  check(C.kvb_model_ready(handle))
  return wrap(handle, source, { device = device, dtype = dtype, tokenizer = tokenizer,
    stop_ids = tokenizer and tokenizer.stop_ids or {}, hash = source.name .. "#" .. seed, tensor_types = {},
    random_seed = C.kvb_hash64(seed, #seed, 0) })
end

--- Loads a model. name_or_path: a registry name ("smollm2"), a .gguf file, or a Hugging Face folder.
-- opts: device "auto"|"cpu"|"ref"|"cuda"|"cuda:N", dtype "auto"|"f32"|"bf16"|"f16" (see model/where.lua), threads,
-- interactive (true: a lone row decodes faster on a GPU, with other roundings; not for sweeps);
-- "random:PRESET" is M.random(PRESET, opts);
-- what is not given is taken from kvbench's own command line. Fields of the model:
--   name, path, kind ("gguf"|"hf"), family, hash (hex, over weights and configuration), device, dtype, tier, buckets
--   layers, hidden, heads, kv_heads, group_size, head_dim, ffn, vocab, max_positions, norm_eps
--   sliding_window, sliding (nil, or whether each layer sees only the last sliding_window positions)
--   tied_embeddings, rope_scaling ({kind, theta, factor, ...}), tensor_types ({{type, tensors, bytes}...} as stored)
--   parameters, bytes (of the weights in memory), tokenizer (or nil: ids in, ids out), stop_ids
--   chat_template (the file's own text or nil), chat (name of the template in kvbench.prompt.chat, "none" if unknown)
function M.load(name_or_path, opts)
  local preset = type(name_or_path) == "string" and name_or_path:match("^random:(.+)$")
  if preset then return M.random(preset, opts) end
  opts = check_options("load", opts, known_options)
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
