-- SPDX-License-Identifier: Apache-2.0
-- Tiny random models written as files for tests: the same weights as a Hugging Face folder or as a GGUF file, with any
-- part changed, left out or added. GGUF's permuted q and k rows are made as llama.cpp's converter makes them.
local ffi = require "ffi"
local json = require "kvbench.json"
local rng = require "kvbench.rng"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}

local HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB, LAYERS = 32, 4, 2, 8, 48, 40, 2

--- config.json of the tiny model as a table; `changes` are merged in (json.null and false count, M.absent removes a
-- key).
M.absent = {}
function M.config(changes)
  local config = {
    model_type = "llama", architectures = { "LlamaForCausalLM" }, hidden_size = HIDDEN, num_attention_heads = HEADS,
    num_key_value_heads = KV_HEADS, head_dim = HEAD_DIM, intermediate_size = FFN, vocab_size = VOCAB,
    num_hidden_layers = LAYERS, max_position_embeddings = 512, rms_norm_eps = 1e-5, hidden_act = "silu",
    tie_word_embeddings = false, rope_theta = 10000, rope_scaling = json.null, eos_token_id = 2, attention_bias = false,
    mlp_bias = false,
  }
  for k, v in pairs(changes or {}) do config[k] = v ~= M.absent and v or nil end
  for k, v in pairs(changes or {}) do if v == false then config[k] = false end end
  return config
end

-- Names and shapes in file order.
local function layout(opt)
  local head_dim, list = opt.head_dim or HEAD_DIM, {}
  local q, kv = HEADS * head_dim, KV_HEADS * head_dim
  local function add(hf, gguf, ...) list[#list + 1] = { hf = hf, gguf = gguf, shape = { ... } } end
  add("model.embed_tokens.weight", "token_embd.weight", VOCAB, HIDDEN)
  for l = 0, LAYERS - 1 do
    local function layer(hf, gguf, ...) add(("model.layers.%d.%s"):format(l, hf), ("blk.%d.%s"):format(l, gguf),
      ...) end
    layer("input_layernorm.weight", "attn_norm.weight", HIDDEN)
    layer("self_attn.q_proj.weight", "attn_q.weight", q, HIDDEN)
    layer("self_attn.k_proj.weight", "attn_k.weight", kv, HIDDEN)
    layer("self_attn.v_proj.weight", "attn_v.weight", kv, HIDDEN)
    layer("self_attn.o_proj.weight", "attn_output.weight", HIDDEN, q)
    if opt.qkv_bias then
      layer("self_attn.q_proj.bias", "attn_q.bias", q)
      layer("self_attn.k_proj.bias", "attn_k.bias", kv)
      layer("self_attn.v_proj.bias", "attn_v.bias", kv)
    end
    if opt.qk_norm then
      layer("self_attn.q_norm.weight", "attn_q_norm.weight", head_dim)
      layer("self_attn.k_norm.weight", "attn_k_norm.weight", head_dim)
    end
    if opt.post_norms then
      layer("post_attention_layernorm.weight", "post_attention_norm.weight", HIDDEN)
      layer("pre_feedforward_layernorm.weight", "ffn_norm.weight", HIDDEN)
      layer("post_feedforward_layernorm.weight", "post_ffw_norm.weight", HIDDEN)
    else
      layer("post_attention_layernorm.weight", "ffn_norm.weight", HIDDEN)
    end
    layer("mlp.gate_proj.weight", "ffn_gate.weight", FFN, HIDDEN)
    layer("mlp.up_proj.weight", "ffn_up.weight", FFN, HIDDEN)
    layer("mlp.down_proj.weight", "ffn_down.weight", HIDDEN, FFN)
  end
  add("model.norm.weight", "output_norm.weight", HIDDEN)
  if not opt.tied then add("lm_head.weight", "output.weight", VOCAB, HIDDEN) end
  return list
end

local function elements(shape)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  return n
end

-- Values depend on the name alone, so every form of a model holds the same weights.
local function values_of(name, shape)
  local r, n = rng.new(name), elements(shape)
  local v = ffi.new("float[?]", n)
  for i = 0, n - 1 do v[i] = name:find("norm") and 1 + 0.1 * r:normal() or 0.3 * r:normal() end
  return v, n
end

-- (head, half, j) rows to (head, j, half).
local function permute(v, shape, head_dim)
  local rows, columns = shape[1], shape[2] or 1
  local out = ffi.new("float[?]", rows * columns)
  for head = 0, rows / head_dim - 1 do
    for half = 0, 1 do
      for j = 0, head_dim / 2 - 1 do
        local from, to = head * head_dim + half * head_dim / 2 + j, head * head_dim + 2 * j + half
        ffi.copy(out + to * columns, v + from * columns, columns * 4)
      end
    end
  end
  return out
end

-- The tensors after opt.drop (a set of names), opt.add and opt.reshape (name -> shape).
local function tensors(opt, naming)
  local list = {}
  for _, t in ipairs(layout(opt)) do
    if not (opt.drop and opt.drop[t[naming]]) then list[#list + 1] = t end
  end
  for name, shape in pairs(opt.add or {}) do list[#list + 1] = { hf = name, gguf = name, shape = shape } end
  for _, t in ipairs(list) do t.shape = opt.reshape and opt.reshape[t[naming]] or t.shape end
  return list
end

local function write(path, content) check(C.kvb_file_write(path, content, #content)) end

local function u32(n) return ffi.string(ffi.new("uint32_t[1]", n), 4) end
local function u64(n) return ffi.string(ffi.new("uint64_t[1]", n), 8) end
local function f32(x) return ffi.string(ffi.new("float[1]", x), 4) end

--- Writes config.json, model.safetensors and whatever opt.files holds (name -> text) into `folder`.
-- opt: config (changes), head_dim (8 unless told; GPUs want 16), tied, qkv_bias,
-- qk_norm, post_norms, drop, add, reshape.
function M.hf(folder, opt)
  opt = opt or {}
  check(C.kvb_dir_make(folder))
  local config = M.config(opt.config)
  config.head_dim = opt.head_dim or config.head_dim
  config.tie_word_embeddings = opt.tied or false
  json.save(folder .. "/config.json", config)
  local header, parts, at = { __metadata__ = { format = "pt" } }, {}, 0
  for _, t in ipairs(tensors(opt, "hf")) do
    local v, n = values_of(t.hf, t.shape)
    header[t.hf] = { dtype = "F32", shape = t.shape, data_offsets = { at, at + 4 * n } }
    at, parts[#parts + 1] = at + 4 * n, ffi.string(v, 4 * n)
  end
  local text = json.encode(header)
  write(folder .. "/model.safetensors", u64(#text) .. text .. table.concat(parts))
  for name, content in pairs(opt.files or {}) do write(folder .. "/" .. name, content) end
  return folder
end

local function text_value(s) return u64(#s) .. s end

local encoders = {
  u32 = function(v) return u32(4) .. u32(v) end,
  f32 = function(v) return u32(6) .. f32(v) end,
  string = function(v) return u32(8) .. text_value(v) end,
  u32s = function(v)
    local parts = { u32(9) .. u32(4) .. u64(#v) }
    for i, x in ipairs(v) do parts[i + 1] = u32(x) end
    return table.concat(parts)
  end,
}

--- Writes the same model as a GGUF file. opt as in hf, and: architecture ("llama"), permuted (true), meta (list of
-- plus_one (norms are stored as 1 more than in the folder), {key, kind, value}; a later entry of the same key wins,
-- value nil removes it), factors (rope_freqs.weight values).
function M.gguf(path, opt)
  opt = opt or {}
  local a = opt.architecture or "llama"
  local meta = {
    { "general.architecture", "string", a }, { a .. ".block_count", "u32", LAYERS },
      { a .. ".context_length", "u32", 512 },
    { a .. ".embedding_length", "u32", HIDDEN }, { a .. ".feed_forward_length", "u32", FFN },
    { a .. ".attention.head_count", "u32", HEADS }, { a .. ".attention.head_count_kv", "u32", KV_HEADS },
    { a .. ".attention.layer_norm_rms_epsilon", "f32", 1e-5 }, { a .. ".rope.freq_base", "f32", 10000 },
    { "tokenizer.ggml.eos_token_id", "u32", 2 },
  }
  for _, what in ipairs(opt.head_dim and { "key", "value" } or {}) do
    meta[#meta + 1] = { ("%s.attention.%s_length"):format(a, what), "u32", opt.head_dim }
  end
  for _, entry in ipairs(opt.meta or {}) do
    for i = #meta, 1, -1 do if meta[i][1] == entry[1] then table.remove(meta, i) end end
    if entry[3] ~= nil then meta[#meta + 1] = entry end
  end
  local list = tensors(opt, "gguf")
  if opt.factors then list[#list + 1] = { gguf = "rope_freqs.weight", hf = "rope_freqs.weight",
    shape = { #opt.factors } } end
  local head, data, at = { "GGUF", u32(3), u64(#list), u64(#meta) }, {}, 0
  for _, m in ipairs(meta) do head[#head + 1] = text_value(m[1]) .. encoders[m[2]](m[3]) end
  for _, t in ipairs(list) do
    local v, n = values_of(t.hf, t.shape)
    if opt.plus_one and t.gguf:find "norm" then for i = 0, n - 1 do v[i] = v[i] + 1 end end
    if t.gguf == "rope_freqs.weight" then v = ffi.new("float[?]", n, opt.factors) end
    if opt.permuted ~= false and (t.gguf:find("attn_q%.") or t.gguf:find("attn_k%.")) then v = permute(v, t.shape,
      opt.head_dim or HEAD_DIM) end
    local dims = {}
    for i = #t.shape, 1, -1 do dims[#dims + 1] = u64(t.shape[i]) end
    head[#head + 1] = text_value(t.gguf) .. u32(#t.shape) .. table.concat(dims) .. u32(0) .. u64(at)
    local bytes = ffi.string(v, 4 * n)
    data[#data + 1] = bytes .. ("\0"):rep(-#bytes % 32)
    at = at + #data[#data]
  end
  local text = table.concat(head)
  write(path, text .. ("\0"):rep(-#text % 32) .. table.concat(data))
  return path
end

--- Removes what hf and gguf wrote.
function M.remove(folder)
  local list = ffi.new("const char *[1]")
  if C.kvb_dir_list(folder, list) ~= 0 then return end
  for name in ffi.string(list[0]):gmatch("[^\n]+") do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end

return M
