-- SPDX-License-Identifier: Apache-2.0
-- Loading models: the same weights through every door give the same logits, what cannot be computed is refused, and
-- nothing leaks. (That the forward pass is right is for the goldens.)
local ffi = require "ffi"
local t = require "kvbench.testing"
local here = debug.getinfo(1, "S").source:gsub("^@", ""):match("^(.*)/[^/]*$") or "."
local files = dofile(here .. "/model_files.lua")
local json = require "kvbench.json"
local model = require "kvbench.model"
local registry = require "kvbench.registry"
local rope = require "kvbench.model.rope"
local C = require("kvbench.ffi").C

ffi.cdef "int setenv(const char *name, const char *value, int overwrite); int unsetenv(const char *name);"

local base = os.tmpname()
os.remove(base)
local IDS = { 1, 7, 3, 39, 0, 12, 25, 25, 8, 31, 2, 19 }

local function logits_of(m)
  local ctx = m:prefill(IDS, { logits = true })
  local values = ffi.cast("float *", ctx.prefill_logits.data)
  local list = {}
  for i = 1, #IDS * m.vocab do list[i] = tonumber(values[i - 1]) end
  ctx:close()
  return list
end

local function load_hf(opt, options)
  files.remove(base)
  files.hf(base, opt)
  return model.load(base, options or { dtype = "f32" })
end

local function hf_logits(opt)
  local m = load_hf(opt)
  local logits = logits_of(m)
  m:close()
  return logits
end

local function gguf_logits(opt)
  local path = base .. ".gguf"
  files.gguf(path, opt)
  local m = model.load(path, { dtype = "f32" })
  local logits = logits_of(m)
  m:close()
  os.remove(path)
  return logits
end

local function differ(a, b)
  for i = 1, #a do if a[i] ~= b[i] then return true end end
  return false
end

t.case("fields of a loaded model", function()
  local m = load_hf { files = { ["generation_config.json"] = '{"eos_token_id":[2,5]}' } }
  t.eq({ m.layers, m.hidden, m.heads, m.kv_heads, m.group_size, m.head_dim, m.ffn, m.vocab, m.max_positions },
    { 2, 32, 4, 2, 2, 8, 48, 40, 512 })
  t.eq({ m.family, m.kind, m.dtype, m.device, m.path }, { "llama", "hf", "f32", "cpu", base })
  t.eq(m.stop_ids, { 2, 5 })
  t.eq(m.tokenizer, nil)
  t.eq(#m.hash, 16)
  local per_layer = 32 + 32 * 32 + 2 * 16 * 32 + 32 * 32 + 32 + 3 * 48 * 32
  t.eq(m.parameters, 2 * 40 * 32 + 32 + 2 * per_layer)
  t.eq(m.tensor_types, { { type = "F32", tensors = 21, bytes = m.parameters * 4 } })
  m:close()
end)

t.case("GGUF with permuted rows equals the folder bit for bit", function()
  local expected = hf_logits {}
  t.eq(gguf_logits {}, expected)
  t.ok(differ(gguf_logits { permuted = false }, expected), "unpermuted rows must give other logits")
  t.eq(gguf_logits { tied = true }, hf_logits { tied = true })
end)

t.case("qwen2 and qwen3: biases and norms, rows not permuted in GGUF", function()
  local qwen2 = { qkv_bias = true, config = { model_type = "qwen2", use_sliding_window = false, sliding_window = 64 } }
  t.eq(gguf_logits { qkv_bias = true, architecture = "qwen2", permuted = false }, hf_logits(qwen2))
  local qwen3 = { qk_norm = true, config = { model_type = "qwen3" } }
  t.eq(gguf_logits { qk_norm = true, architecture = "qwen3", permuted = false }, hf_logits(qwen3))
  t.ok(differ(hf_logits(qwen3), hf_logits {}))
  t.eq(hf_logits { config = { model_type = "mistral", sliding_window = json.null } }, hf_logits {})
end)

local function gemma3(changes)
  local config = { model_type = "gemma3_text", hidden_act = files.absent, sliding_window = 3, query_pre_attn_scalar = 8,
    layer_types = { "sliding_attention", "full_attention" }, rope_theta = 1e6, rope_local_base_freq = 10000 }
  for k, v in pairs(changes or {}) do config[k] = v end
  return { qk_norm = true, post_norms = true, tied = true, config = config }
end

t.case("gemma3: the folder and the GGUF give equal logits, and every part counts", function()
  local function file(meta)
    local all = { { "gemma3.attention.sliding_window", "u32", 3 }, { "gemma3.rope.freq_base", "f32", 1e6 },
      { "gemma3.attention.sliding_window_pattern", "u32", 2 }, { "gemma3.attention.key_length", "u32", 8 } }
    for _, entry in ipairs(meta or {}) do all[#all + 1] = entry end
    return { qk_norm = true, post_norms = true, plus_one = true, tied = true, architecture = "gemma3", permuted = false,
      meta = all }
  end
  local expected = hf_logits(gemma3())
  t.eq(gguf_logits(file()), expected)
  t.eq(hf_logits(gemma3 { layer_types = files.absent, sliding_window_pattern = 2 }), expected)
  t.eq(hf_logits(gemma3 { rope_theta = files.absent, rope_local_base_freq = files.absent, rope_parameters = {
    full_attention = { rope_type = "default", rope_theta = 1e6 },
    sliding_attention = { rope_type = "default", rope_theta = 10000 } } }), expected)
  for what, changes in pairs { window = { sliding_window = 2 }, scale = { query_pre_attn_scalar = 16 },
    theta = { rope_theta = 1e4 }, ["theta of sliding layers"] = { rope_local_base_freq = 100 },
    ["kinds of layers"] = { layer_types = { "full_attention", "sliding_attention" } } } do
    t.ok(differ(hf_logits(gemma3(changes)), expected), what .. " must matter")
  end
  t.ok(differ(gguf_logits(file { { "gemma3.attention.sliding_window_pattern", "u32", 6 } }), expected))
  local m = load_hf(gemma3())
  t.eq({ m.sliding_window, m.sliding, m.rope_scaling.sliding_theta }, { 3, { true, false }, 10000 })
  m:close()
end)

t.case("gemma3: what it asks for and the decoder lacks is refused", function()
  for _, case in ipairs {
    { { layer_types = { "full_attention" } }, "layer_types has 1 entries for 2 layers" },
    { { layer_types = { "full_attention", "chunked_attention" } }, "attention of type 'chunked_attention'" },
    { { sliding_window = 0 }, "sliding_window is 0" }, { { sliding_window = json.null }, "sliding_window is nil" },
    { { hidden_activation = "silu" }, "hidden_act 'silu' is not supported %-> supported is gelu_pytorch_tanh" },
    { { final_logit_softcapping = 30 }, "final_logit_softcapping is 30" },
    { { use_bidirectional_attention = true }, "use_bidirectional_attention is true" },
    { { rope_parameters = { sliding_attention = { rope_type = "linear", factor = 2, rope_theta = 1e4 } } },
      "RoPE scaling 'linear" },
  } do
    t.fails(function() load_hf(gemma3(case[1])) end, case[2])
  end
end)

local LLAMA3 = { factor = 8, low_freq_factor = 1, high_freq_factor = 4, original_max_position_embeddings = 32 }

local function with(t1, t2)
  local r = {}
  for k, v in pairs(t1) do r[k] = v end
  for k, v in pairs(t2) do r[k] = v end
  return r
end

t.case("RoPE: both layouts of config.json and both keys mean the same", function()
  local absent = { rope_theta = files.absent, rope_scaling = files.absent }
  local plain = hf_logits {}
  t.eq(hf_logits { config = with(absent, { rope_parameters = { rope_type = "default", rope_theta = 10000 } }) }, plain)
  t.eq(hf_logits { config = absent }, plain, "10000 is the default")
  t.ok(differ(hf_logits { config = { rope_theta = 500000 } }, plain))
  local scaled = hf_logits { config = { rope_scaling = with(LLAMA3, { rope_type = "llama3" }) } }
  t.ok(differ(scaled, plain))
  t.eq(hf_logits { config = { rope_scaling = with(LLAMA3, { type = "llama3" }) } }, scaled)
  t.eq(hf_logits { config = with(absent, { rope_parameters = with(LLAMA3, { rope_type = "llama3",
    rope_theta = 10000 }) }) }, scaled)
  local linear = hf_logits { config = { rope_scaling = { type = "linear", factor = 4 } } }
  t.ok(differ(linear, plain) and differ(linear, scaled))
  t.eq(gguf_logits { factors = { 4, 4, 4, 4 } }, linear)
  t.eq(gguf_logits { meta = { { "llama.rope.scaling.type", "string", "linear" }, { "llama.rope.scaling.factor", "f32",
    4 } } }, linear)
  t.eq(gguf_logits { factors = { 1, 1, 1, 1 } }, plain)
end)

t.case("RoPE: llama3 scaling is recognised in GGUF's frequency factors", function()
  -- theta 10000, 8 channels: wavelengths 6.28, 62.8, 628, 6283; original positions 128 leave one between the plateaus
  local config = { rope_scaling = with(LLAMA3, { rope_type = "llama3", original_max_position_embeddings = 128 }) }
  t.eq(gguf_logits { factors = { 1, 2.33911679, 8, 8 } }, hf_logits { config = config })
  t.fails(function() gguf_logits { factors = { 1, 3, 7, 8 } } end, "fit neither")
  t.fails(function() gguf_logits { factors = { 1, 1, 8 } } end, "has 3 factors, heads of 8 channels need 4")
  -- Llama-3.2-1B's rope_freqs.weight, computed in float32 by the converter's formula
  local published = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.65132928, 3.29226279, 9.66673088 }
  for i = 19, 32 do published[i] = 32 end
  t.eq(rope.from_factors(published, 500000, "test"), { kind = "llama3", theta = 500000, factor = 32, low_freq = 1,
    high_freq = 4,
    original_positions = 8192 })
  published[16] = 1.7
  t.fails(function() rope.from_factors(published, 500000, "test") end,
    "test: the 32 factors of rope_freqs.weight %(1 to 32%) fit neither")
end)

t.case("what config.json asks for and the decoder lacks is refused", function()
  local cases = {
    { { attention_bias = true }, "attention_bias is true" }, { { mlp_bias = true }, "mlp_bias is true" },
    { { hidden_act = "gelu" }, "hidden_act 'gelu' is not supported" },
    { { rope_scaling = { rope_type = "yarn", factor = 4 } }, "RoPE scaling 'yarn' is not supported" },
    { { rope_scaling = { type = "dynamic", factor = 4 } }, "RoPE scaling 'dynamic'" },
    { { rope_scaling = { factor = 4 } }, "without a type" },
    { { rope_scaling = { rope_type = "llama3", factor = 4 } }, "lacks a number 'low_freq_factor'" },
    { { partial_rotary_factor = 0.5 }, "partial_rotary_factor 0.5" },
    { { model_type = "mistral", sliding_window = 64 }, "sliding%-window attention over 64 of 512" },
    { { model_type = "mistral", max_position_embeddings = 32768 }, "sliding%-window attention over 4096 of 32768" },
    { { model_type = "qwen2", use_sliding_window = true, sliding_window = 64 }, "sliding%-window" },
    { { layer_types = { "full_attention", "sliding_attention" } }, "attention of type 'sliding_attention'" },
    { { quantization_config = { quant_method = "gptq" } }, "method 'gptq'" },
    { { model_type = "gemma4_text" },
      "'gemma4_text' is not supported %-> supported are gemma3_text, llama, mistral, qwen2, qwen3" },
    { { model_type = files.absent }, "model_type is missing" },
    { { hidden_size = files.absent }, "hidden_size is missing" }, { { num_hidden_layers = 1.5 },
      "num_hidden_layers is 1.5" },
    { { num_hidden_layers = "2" }, "num_hidden_layers is 2, expected a whole number" },
    { { vocab_size = -1 }, "vocab_size is %-1" }, { { rms_norm_eps = files.absent }, "rms_norm_eps is missing" },
    { { head_dim = files.absent, num_attention_heads = 5, num_key_value_heads = 5 }, "head_dim is 6.4" },
    { { num_key_value_heads = 3 }, "'model.layers.0.self_attn.k_proj.weight' is %[16, 32%], .* asks for %[24, 32%]" },
    { { vocab_size = 50 }, "is %[40, 32%], .* asks for %[50, 32%] %-> vocabulary and weights are mixed up" },
    { { num_hidden_layers = 3 }, "tensor 'model.layers.2.input_layernorm.weight' is missing" },
    { { num_hidden_layers = 1 }, "'model.layers.1.input_layernorm.weight' has no place in family llama with 1 layers" },
    { { eos_token_id = { 2, 40 } }, "stop token 40 is outside the vocabulary of 40" },
  }
  for _, case in ipairs(cases) do
    local message = t.fails(function() load_hf { config = case[1] } end, case[2])
    t.ok(not message:gsub("\n%->", " ->"):find("\n"), "more than one line: " .. message)
  end
end)

t.case("what GGUF metadata asks for and the decoder lacks is refused", function()
  local cases = {
    { { { "llama.expert_count", "u32", 8 } }, "llama.expert_count is 8" },
    { { { "llama.attention.sliding_window", "u32", 64 } }, "sliding%-window attention over 64 of 512" },
    { { { "llama.rope.scaling.type", "string", "yarn" } }, "RoPE scaling 'yarn'" },
    { { { "llama.rope.dimension_count", "u32", 4 } }, "rope.dimension_count is 4, but the heads have 8" },
    { { { "llama.attention.value_length", "u32", 16 } }, "value_length is 16" },
    { { { "general.architecture", "string", "lama" } }, "'lama' is not supported" },
    { { { "general.architecture" } }, "general.architecture is missing" },
    { { { "llama.block_count" } }, "llama.block_count is missing" },
    { { { "llama.attention.head_count_kv", "u32s", { 2, 1 } } }, "head_count_kv differs from layer to layer" },
    { { { "llama.vocab_size", "u32", 41 } }, "vocabulary and weights are mixed up" },
    { { { "tokenizer.ggml.eos_token_id", "u32", 99 } }, "stop token 99" },
  }
  for _, case in ipairs(cases) do t.fails(function() gguf_logits { meta = case[1] } end, case[2]) end
  t.eq(gguf_logits { meta = { { "llama.attention.head_count_kv", "u32s", { 2, 2 } } } }, gguf_logits {})
end)

t.case("tensors: missing, misshapen, left over", function()
  t.fails(function() load_hf { drop = { ["model.norm.weight"] = true } } end, "tensor 'model.norm.weight' is missing")
  t.fails(function() load_hf { drop = { ["lm_head.weight"] = true } } end, "tensor 'lm_head.weight' is missing")
  t.fails(function() load_hf { reshape = { ["model.layers.1.mlp.up_proj.weight"] = { 48, 31 } } } end,
    "'model.layers.1.mlp.up_proj.weight' is %[48, 31%], the configuration asks for %[48, 32%]")
  t.fails(function() load_hf { qkv_bias = true } end,
    "'model.layers.%d.self_attn.%a_proj.bias' has no place in family llama")
  local plain = hf_logits { tied = true }
  t.eq(hf_logits { tied = true, add = { ["lm_head.weight"] = { 40, 32 } } }, plain,
    "a tied model ignores a stored head")
  t.eq(hf_logits { tied = true, add = { ["model.layers.0.self_attn.rotary_emb.inv_freq"] = { 4 } } }, plain)
end)

t.case("paths: nearest name, folders, parts of a model", function()
  t.fails(function() model.load "smolm2" end, "no model 'smolm2': .* %-> did you mean 'smollm2'%?")
  t.fails(function() model.load "/nowhere/model.gguf" end, "no model '/nowhere/model.gguf'")
  t.fails(function() model.load(here) end, "is a folder without config.json")
  t.fails(function() model.load(here .. "/model_test.lua") end, "neither a GGUF nor a safetensors file")
  t.fails(function() model.load(here .. "/../golden/gguf") end, "give the file in it: '.*/golden/gguf/meta.gguf'")
  t.fails(function() model.load(here .. "/../golden/gguf/meta.gguf") end, "model type 'none' is not supported")
  t.fails(function() model.load "" end, "empty text")
  t.fails(function() model.load(nil) end, "got nil")
  load_hf {}:close()
  t.fails(function() model.load(base .. "/model.safetensors") end, "part of a model folder")
  os.remove(base .. "/model.safetensors")
  t.fails(function() model.load(base) end, "no model.safetensors and no model.safetensors.index.json")
end)

t.case("registry: the cache folder, and what to do when it is empty", function()
  local before = os.getenv "KVBENCH_CACHE"
  ffi.C.setenv("KVBENCH_CACHE", "/nowhere/cache", 1)
  t.fails(function() model.load "smollm2" end,
    "'smollm2' is not in the cache: no file '/nowhere/cache/SmolLM2%-135M%-Instruct.Q4_1.gguf' %-> run `make setup`")
  if before then ffi.C.setenv("KVBENCH_CACHE", before, 1) else ffi.C.unsetenv "KVBENCH_CACHE" end
  t.eq(registry.names(), { "gemma3-270m", "smollm2" })
  t.eq({ registry.resolve(here .. "/") }, { here, here:match "[^/]+$" })
end)

t.case("device, dtype and options", function()
  if require("kvbench.ffi").C.kvb_cuda_devices() == 0 then
    t.fails(function() load_hf({}, { device = "cuda" }) end, "^cuda: .*%-> .*cpu")
  end
  t.fails(function() load_hf({}, { device = "tpu" }) end, "device 'tpu' is unknown")
  t.fails(function() load_hf({}, { dtype = "f64" }) end, "dtype 'f64' is unknown")
  t.fails(function() load_hf({}, { dtype = "f16", device = "cpu" }) end, "dtype f16 needs a GPU")
  t.fails(function() load_hf({}, { dtpye = "f32" }) end, "no option 'dtpye' %-> did you mean 'dtype'")
  t.fails(function() load_hf({}, { threads = 100000 }) end, "threads 100000")
  t.eq(load_hf({}, { dtype = "auto" }).dtype, "f32", "heads of 8 channels cannot use bf16 units")
  local ref = load_hf({}, { device = "ref" })
  t.eq({ ref.device, ref.dtype, ref.tier }, { "ref", "f32", "ref" })
  local expected, got = hf_logits {}, logits_of(ref)
  for i = 1, #got do t.near(got[i], expected[i], 1e-4) end
end)

t.case("use after close is an error, not a crash; closing twice is fine", function()
  local m = load_hf {}
  m:close()
  m:close()
  t.fails(function() m:pointer() end, "was closed %-> load it again")
  t.fails(function() m:prefill { 1, 2 } end, "was closed")
  t.fails(function() return m.handle end, "was closed")
end)

t.case("loading again and again, or failing again and again, gives the memory back", function()
  load_hf {}:close()
  collectgarbage() collectgarbage()
  local before = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
  for _ = 1, 20 do
    model.load(base, { dtype = "f32" }):close()
    pcall(model.load, base, { device = "cuda" })
  end
  collectgarbage() collectgarbage()
  t.eq(tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL)), before)
end)

t.case("info agrees with load and reads no weights", function()
  local m = load_hf({}, { device = "ref" }) -- the reference packs without padding
  local info = model.info(base)
  t.eq({ info.parameters, info.bytes_f32, info.family, info.layers, info.group_size },
    { m.parameters, m.bytes, "llama", 2, 2 })
  t.eq(info.cache_bytes_f32, 2 * 2 * 8 * 2 * 4)
  m:close()
  local page = tostring(info)
  for _, part in ipairs { "family +llama", "21 F32", "token ids in", "vocabulary +40", "chat template +none" } do
    t.ok(page:find(part), "missing in the page: " .. part .. "\n" .. page)
  end
  t.fails(function() files.hf(base, { config = { num_hidden_layers = 3 } }) model.info(base) end, "is missing")
end)

-- A byte-level BPE tokenizer of n one-letter tokens without merges.
local function tokenizer_json(n)
  local vocab = {}
  for i = 0, n - 1 do vocab[string.char(33 + i)] = i end
  return json.encode {
    version = "1.0", added_tokens = {}, model = { type = "BPE", vocab = vocab, merges = {} },
    pre_tokenizer = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true },
    decoder = { type = "ByteLevel", add_prefix_space = true, trim_offsets = true, use_regex = true },
  }
end

t.case("a tokenizer in the folder is used; one that is larger than the model is refused", function()
  local m = load_hf { files = { ["tokenizer.json"] = tokenizer_json(40) } }
  t.eq(m.tokenizer.size, 40)
  t.eq(m:ids "#!", { 2, 0 })
  m:close()
  t.ok(tostring(model.info(base)):find "tokenizer +byte")
  t.fails(function() load_hf { files = { ["tokenizer.json"] = tokenizer_json(41) } } end,
    "the tokenizer has 41 tokens, the model 40 %-> take vocabulary and weights from one model")
end)

t.case("chat templates: where transformers puts them", function()
  local chatml = "{{'<|im_start|>'}} named SmolLM"
  local m = load_hf { files = { ["tokenizer_config.json"] = json.encode { chat_template = chatml } } }
  t.eq({ m.chat_template, m.chat }, { chatml, "smollm2" })
  m = load_hf { files = { ["tokenizer_config.json"] = json.encode { chat_template = { { name = "tool", template = "x" },
    { name = "default", template = chatml } } } } }
  t.eq(m.chat_template, chatml)
  m = load_hf { files = { ["chat_template.jinja"] = "[INST]" } }
  t.eq({ m.chat_template, m.chat }, { "[INST]", "mistral" })
end)

t.case("the hash follows weights and configuration", function()
  local a, b, c = load_hf({}).hash, load_hf({}).hash, load_hf({ config = { rope_theta = 20000 } }).hash
  t.eq(a, b)
  t.ok(a ~= c, "another theta is another model")
end)

files.remove(base)
