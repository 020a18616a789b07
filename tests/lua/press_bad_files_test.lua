-- SPDX-License-Identifier: Apache-2.0
-- Files that a press reads and that are missing, damaged, or another model's: one table of cases with the line that
-- each must give.
local t = require "kvbench.testing"
local kv = require "kvbench"
local tensor = require "kvbench.tensor"
local line_of = dofile(require("kvbench.paths").at "tests/lua/press_helpers.lua").line_of

local folder = os.tmpname()
os.remove(folder)
assert(os.execute(("mkdir -p '%s/duo'"):format(folder)) == 0)
local function write(name, content)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(content)
  file:close()
end
local function npy(shape, numbers)
  local header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"):format(shape)
  write("curve.npy", "\147NUMPY\1\0" .. string.char(#header, 0) .. header .. numbers)
end
local function tensors(name, given, cut)
  require("kvbench.weights_write").write(folder .. "/" .. name, given)
  local file = assert(io.open(folder .. "/" .. name, "rb"))
  local content = file:read "*a"
  file:close()
  if cut then write(name, content:sub(1, -1 - cut)) end
end
local function pattern(rows, sizes)
  write("duo/full_attention_heads.tsv", rows)
  write("duo/config.json", sizes or "{}")
end

local function gates(family)
  local path = require("kvbench.paths").at("tests/golden/presses/" .. family .. "/gates.pt")
  local file = assert(io.open(path, "rb"))
  local content = file:read "*a"
  file:close()
  return content
end

local model = kv.model.load(require("kvbench.paths").at "tests/golden/models/llama", { dtype = "f32" })
local ids = {}
for i = 1, 40 do ids[i] = 3 + i * 29 % 120 end
local real = model:prefill(ids, { queries = true, hidden = true })
local MODEL = ", this model needs [2, 2, 16] -> take the file of this model"

-- What lies in DIR, the press, its parameters, the line.
local read = {
  { "no filters", nil, "qfilter", { path = "DIR/none" }, "press 'qfilter' needs filters of llama: there is no file "
    .. "'DIR/none' -> kvbench scripts/calibrate.lua --model MODEL makes them; published ones: nthngdy/MODEL_qfilt on "
    .. "Hugging Face; or path = \"...\"" },
  { "no statistics", nil, "expected_attention_stats", { stats_folder = "DIR" },
    "press 'expected_attention_stats' needs "
    .. "query statistics of llama: there is no file 'DIR/model.safetensors' -> kvbench scripts/calibrate.lua --model "
      .. "MODEL "
    .. "makes them; published ones: alessiodevoto/exp_att_stats_* on Hugging Face; or stats_folder = \"...\"" },
  { "no surrogate", nil, "kvzap", { path = "DIR", model_type = "linear" },
    "press 'kvzap' needs the trained surrogate of "
    .. "llama: there is no file 'DIR/model.safetensors' -> published ones: nvidia/KVzap-linear-MODEL on Hugging Face; "
      .. "or "
    .. "path = \"...\"" },
  { "no gates", nil, "fastkvzip", { path = "DIR" }, "press 'fastkvzip' needs trained gates of llama: there is no file "
    .. "'DIR/q2_dim16_sink16.pt' -> published ones: Jang-Hyun/Fast-KVzip on Hugging Face; or path = \"...\"" },
  { "no restore tokens", nil, "restorekv_plus", { path = "DIR" }, "press 'restorekv_plus' needs restore embeddings of "
    .. "llama: there is no file 'DIR/restore_embeddings.safetensors' -> published for Llama-3.1-8B-Instruct and "
      .. "Qwen3-8B: "
    .. "higokri/RestoreKV-MODEL_plus on Hugging Face; or path = \"...\"" },
  { "no curve", nil, "lukv", { path = "DIR/none.npy" }, "press 'lukv' needs a budget curve of llama: there is no file "
    .. "'DIR/none.npy' -> published ones: evaluation/curve_data of baidu-baige/LU-KV; or path = \"...\"" },
  { "no pattern", nil, "duo_attention", { path = "DIR/none" }, "press 'duo_attention' needs a head pattern of llama: "
    .. "there "
    .. "is no file 'DIR/none' -> kvbench scripts/calibrate.lua --model MODEL makes one; published ones: attn_patterns "
      .. "of "
    .. "mit-han-lab/duo-attention; or path = \"...\"" },
  { "a text", function() write("a", "these are not the weights you are looking for") end, "qfilter", { path = "DIR/a" },
    "press 'qfilter': 'DIR/a' is neither a GGUF nor a safetensors file: it begins with 'these ar' -> expected a "
    .. "safetensors file" },
  { "nothing in it", function() write("a", "") end, "kvzap", { path = "DIR/a" },
    "press 'kvzap': the model file 'DIR/a' is empty (0 bytes) -> expected a safetensors file" },
  { "its numbers cut short", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }, 10) end, "qfilter",
    { path = "DIR/a" }, "press 'qfilter': safetensors 'DIR/a': tensor 'q_filters' ends at byte 336, the file has 326 "
      .. "bytes "
    .. "-> the file may be cut short: fetch it again" },
  { "its header cut short", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }, 316) end, "qfilter",
    { path = "DIR/a" }, "press 'qfilter': safetensors 'DIR/a': the header claims 72 bytes, the file has 20 (and the "
      .. "format "
    .. "allows 100000000) -> the file is cut short or no safetensors file: fetch it again" },
  { "another model's", function() tensors("a", { q_filters = tensor.ones(2, 2, 7) }) end, "qfilter", { path = "DIR/a" },
    "press 'qfilter': 'DIR/a' has q_filters of shape [2, 2, 7]" .. MODEL },
  { "another press's", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }) end, "expected_attention_stats",
    { stats_folder = "DIR/a" },
    "press 'expected_attention_stats': 'DIR/a' has no tensor 'query_cov' -> take the file that belongs to this press" },
  { "NaN in it", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) * (0 / 0) }) end, "qfilter", {
    path = "DIR/a" },
    "press 'qfilter': 'DIR/a' has NaN in q_filters -> fetch it again" },
  { "gates that are a text", function() write("g.pt", "import os") end, "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': this is no zip file, as torch.save writes them since version 1.6" },
  { "gates cut short", function() write("g.pt", gates "llama":sub(1, -2000)) end, "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': this is no zip file, as torch.save writes them since version 1.6" },
  { "gates that run code", function() write("g.pt", (gates "llama":gsub("torch%._utils\n", "posix.system\n"))) end,
    "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': layer 0 has no 'q_norm.weight' -> expected gates of Fast KVzip" },
  { "gates with another instruction", function() write("g.pt", (gates "llama":gsub("\128\2}", "\128\2i"))) end,
    "fastkvzip",
    { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': its program has the instruction 0x69, which builds nothing that is read here" },
  { "another model's gates", function() write("g.pt", gates "llama") end, "fastkvzip", { path = "DIR/g.pt" }, "press "
    .. "'fastkvzip': 'DIR/g.pt': layer 0 has q_proj.weight of shape [48, 48], this model needs [32, 64] -> take the "
      .. "file "
    .. "of this model" },
  { "restore tokens of another model", function() tensors("restore_embeddings.safetensors", { restore_embeddings =
    tensor.ones(5, 48) }) end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/restore_embeddings.safetensors' "
      .. "has "
    .. "restore_embeddings of shape [5, 48], this model needs [-1, 64] -> take the file of this model" },
  { "no adapter", function() tensors("restore_embeddings.safetensors", { restore_embeddings = tensor.ones(5, 64) }) end,
    "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_config.json': No such file or directory -> the "
    .. "adapter's configuration lies beside its weights" },
  { "no LoRA", function() write("adapter_config.json", '{"peft_type": "IA3"}') end, "restorekv", { path = "DIR" },
    "press 'restorekv': 'DIR/adapter_config.json': peft_type is IA3, expected LORA" },
  { "a rank of nothing", function() write("adapter_config.json", '{"peft_type": "LORA", "r": 0}') end, "restorekv",
    { path = "DIR" }, "press 'restorekv': 'DIR/adapter_config.json': r is 0, expected a number" },
  { "DoRA", function() write("adapter_config.json",
    '{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": true}') end,
    "restorekv", { path = "DIR" },
    "press 'restorekv': 'DIR/adapter_config.json': 'use_dora' is set, which is not supported here" },
  { "an adapter of something else", function()
    write("adapter_config.json", '{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    tensors("adapter_model.safetensors", { ["base_model.model.lm_head.lora_A.weight"] = tensor.ones(2, 32) })
  end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_model.safetensors' has a tensor "
    .. "'base_model.model.lm_head.lora_A.weight' that is not of a LoRA on a decoder's projections" },
  { "an adapter of another model", function()
    local name = "base_model.model.model.layers.0.self_attn.q_proj.lora_%s.weight"
    tensors("adapter_model.safetensors", { [name:format "A"] = tensor.ones(2, 48), [name:format "B"] = tensor.ones(32,
      2) })
  end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_model.safetensors' has base_model.model.model."
    .. "layers.0.self_attn.q_proj.lora_A.weight of shape [2, 48], this model needs [2, 64] -> take the adapter of this "
      .. "model" },
  { "a curve that is none", function() write("curve.npy", "hello, world") end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': this is not a .npy file -> take the published .npy" },
  { "a curve cut short", function() npy("99, 2, 2", "") end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': 0 bytes of numbers, its shape needs 1584 -> take the published .npy" },
  { "a curve of another model", function() npy("99, 2, 3", ("\0"):rep(2376)) end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': 'DIR/curve.npy' has shape [99, 2, 3], this model needs [99, 2, 2] -> take the curve of this model" },
  { "a curve of NaN", function() npy("99, 2, 2", ("\255"):rep(1584)) end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': it holds NaN or infinity -> take the published .npy" },
  { "a curve that is no share", function() npy("99, 2, 2", ("\0\0\0\64"):rep(396)) end, "lukv", {
    path = "DIR/curve.npy" },
    "press 'lukv': 'DIR/curve.npy' holds 2 to 2, expected shares evicted, 0 to 1" },
  { "an empty pattern", function() pattern "" end, "duo_attention", { path = "DIR/duo" }, "press 'duo_attention': "
    .. "'DIR/duo/full_attention_heads.tsv' has 0 layers of 0 heads, the model 2 of 2 -> take the file of this model" },
  { "a pattern with a hole", function() pattern "0.1 0.2\n0.1\n" end, "duo_attention", { path = "DIR/duo" }, "press "
    .. "'duo_attention': 'DIR/duo/full_attention_heads.tsv' has 2 layers of 1 heads, the model 2 of 2 -> take the file "
      .. "of "
    .. "this model" },
  { "a pattern with a word", function() pattern "0.1 0.2\n0.1 x\n" end, "duo_attention", { path = "DIR/duo" },
    "press 'duo_attention': 'DIR/duo/full_attention_heads.tsv': 'x' is not a number" },
  { "sizes that are no JSON", function() pattern("0.1 0.2\n0.1 0.3\n", "{") end, "duo_attention", { path = "DIR/duo" },
    "press 'duo_attention': 'DIR/duo/config.json' is no JSON object: JSON text: not valid JSON at line 1, column 1 "
      .. "(byte 1 "
    .. "of 1): string or '}' expected near end of file" },
  { "a size that is a word", function() pattern("0.1 0.2\n0.1 0.3\n", "{\"sink_size\": \"a\"}") end, "duo_attention",
    { path = "DIR/duo" }, "press 'duo_attention': 'DIR/duo/config.json': sink_size = a, expected a whole number" },
}

for _, case in ipairs(read) do
  t.case("files: " .. case[1], function()
    local params = {}
    for name, value in pairs(case[4]) do params[name] = value:gsub("DIR", folder) end
    if case[2] then case[2]() end
    local got = line_of(function() kv.press(case[3], params):keep(real, 0.5) end)
    t.eq(got, (case[5]:gsub("DIR", folder)))
  end)
end
os.execute(("rm -rf '%s'"):format(folder))
