-- SPDX-License-Identifier: Apache-2.0
-- kvbench model info X: what a model is, without reading its weights. Everything that loading would refuse is refused
-- here.
local ffi = require "ffi"
local C = require("kvbench.ffi").C
local plan = require "kvbench.model.plan"
local text = require "kvbench.text"

local M = {}

local function describe_rope(r)
  if r.kind == "default" then return ("theta %g"):format(r.theta) end
  if r.kind == "linear" then return ("theta %g, linear scaling by %g"):format(r.theta, r.factor) end
  return ("theta %g, llama3 scaling by %g (low %g, high %g, original positions %d)"):format(r.theta, r.factor,
    r.low_freq,
    r.high_freq, r.original_positions)
end

local function describe_types(types)
  local parts = {}
  for i, row in ipairs(types) do parts[i] = ("%d %s (%s)"):format(row.tensors, row.type, text.bytes(row.bytes)) end
  return table.concat(parts, ", ")
end

local function describe_flags(family, d)
  local flags = {}
  if family.qkv_bias then flags[#flags + 1] = "biases on q, k, v" end
  if family.qk_norm then flags[#flags + 1] = "RMSNorm on q and k" end
  if family.post_norms then flags[#flags + 1] = "norms before and after each half" end
  if family.activation == "gelu" then flags[#flags + 1] = "GeGLU" end
  flags[#flags + 1] = d.tied_embeddings and "tied embeddings" or "LM head of its own"
  return table.concat(flags, ", ")
end

local function describe_window(info)
  local full = {}
  for l, slides in ipairs(info.sliding) do if not slides then full[#full + 1] = l - 1 end end
  return ("%d positions in %d layers (RoPE theta %g); layers %s see everything"):format(info.sliding_window,
    info.layers - #full, info.rope_scaling.sliding_theta, table.concat(full, ", "))
end

local function rows_of(info)
  return {
    { "model", info.name }, { "path", info.path }, { "file", info.kind == "gguf" and "GGUF" or "Hugging Face folder" },
    { "family", info.family .. " (" .. info.features .. ")" },
    { "layers", info.layers }, { "hidden", info.hidden },
    { "heads", ("%d query, %d key-value, %d channels each"):format(info.heads, info.kv_heads, info.head_dim) },
    { "window", info.sliding and describe_window(info) or "none" },
    { "ffn", info.ffn }, { "vocabulary", info.vocab }, { "positions", info.max_positions },
    { "RoPE", describe_rope(info.rope_scaling) }, { "parameters", text.count(info.parameters) },
    { "stored as", describe_types(info.tensor_types) },
    { "memory", ("%s in f32, %s in bf16"):format(text.bytes(info.bytes_f32), text.bytes(info.bytes_bf16)) },
    { "cache", ("%s a token in f32, %s in bf16"):format(text.bytes(info.cache_bytes_f32),
      text.bytes(info.cache_bytes_f32 / 2)) },
    { "auto dtype", info.auto_dtype .. " on this CPU (" .. info.cpu_tier .. ")" },
    { "tokenizer", info.tokenizer or "none: token ids in, token ids out" },
    { "stop tokens", #info.stop_ids > 0 and table.concat(info.stop_ids, ", ") or "none given" },
    { "chat template", info.chat ~= "none" and "known: " .. info.chat
      or info.chat_template and "not known (the file has one); prompts are plain text"
        or "none; prompts are plain text" },
  }
end

local meta = {
  __tostring = function(info)
    local lines = {}
    for i, row in ipairs(rows_of(info)) do lines[i] = ("%-14s %s"):format(row[1], tostring(row[2])) end
    return table.concat(lines, "\n")
  end,
}

local function collect(source)
  local model, steps = require "kvbench.model", plan.of(source)
  local tokenizer = model.tokenizer(source)
  local info = {
    name = source.name, path = source.path, kind = source.kind, family = source.family.name,
      stop_ids = model.stop_ids(source, tokenizer),
    features = describe_flags(source.family, source.desc), rope_scaling = source.rope,
      chat_template = source.chat_template,
    tensor_types = plan.types(steps), tokenizer = tokenizer and tokenizer.kind, cpu_tier = ffi.string(C.kvb_cpu_tier()),
  }
  for field, value in pairs(source.desc) do info[field] = value end
  info.group_size = info.heads / info.kv_heads
  info.parameters, info.bytes_f32 = plan.totals(steps, 4)
  info.bytes_bf16 = select(2, plan.totals(steps, 2))
  if info.tied_embeddings then -- the LM head is packed for multiplication, the embedding is not: two copies
    info.bytes_f32 = info.bytes_f32 + info.vocab * info.hidden * 4
    info.bytes_bf16 = info.bytes_bf16 + info.vocab * info.hidden * 2
  end
  info.cache_bytes_f32 = info.layers * info.kv_heads * info.head_dim * 2 * 4
  info.auto_dtype = info.cpu_tier == "amx-bf16" and info.head_dim % 16 == 0 and "bf16" or "f32"
  info.chat = require("kvbench.prompt").chat.detect(info)
  return setmetatable(info, meta)
end

--- {name, path, kind, family, features, layers ... max_positions, parameters, bytes_f32, bytes_bf16, cache_bytes_f32
-- (one token), tensor_types, rope_scaling, tokenizer (its kind or nil), stop_ids, chat, chat_template, auto_dtype,
-- cpu_tier}.
function M.of(name_or_path)
  if tostring(name_or_path):find "^random:" then
    error(("model info reads files, and '%s' has none -> kv.model.load(\"%s\") makes it and shows its fields"):format(
      name_or_path, name_or_path), 0)
  end
  local source = require("kvbench.model").source(name_or_path)
  local ok, result = pcall(collect, source)
  source.weights:close()
  if not ok then error(result, 0) end
  return result
end

return M
