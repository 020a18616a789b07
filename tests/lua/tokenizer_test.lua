-- SPDX-License-Identifier: Apache-2.0
-- The tokenizer object: where it can be opened from, ids with offsets, special ids, and what is refused.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local t = require "kvbench.testing"
local tokenizer = require "kvbench.tokenizer"

local small = paths.at "tests/golden/tokenizer/llama3_small"
local folder = os.tmpname()
os.remove(folder)
library.check(library.C.kvb_dir_make(folder))

local function write(name, text)
  local path = folder .. "/" .. name
  library.check(library.C.kvb_file_write(path, text, #text))
  return path
end

local read = t.read

-- ---- a GGUF of metadata only, written by the format's description ----

local function u32(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256, math.floor(n / 16777216))
end
local function u64(n) return u32(n) .. u32(0) end
local function str(s) return u64(#s) .. s end

local function value(v)
  if type(v) == "string" then return u32(8) .. str(v) end
  if type(v) == "boolean" then return u32(7) .. string.char(v and 1 or 0) end
  if type(v) == "number" then return u32(4) .. u32(v) end
  if v.f32 then return u32(9) .. u32(6) .. u64(#v.f32) .. ffi.string(ffi.new("float[?]", #v.f32, v.f32), 4 * #v.f32) end
  local parts = {}
  for i, x in ipairs(v) do parts[i] = type(x) == "string" and str(x) or u32(x) end
  return u32(9) .. u32(type(v[1]) == "string" and 8 or 4) .. u64(#v) .. table.concat(parts)
end

-- Changes to the file below: a new value, or false = the key is left out.
local function gguf(changes)
  local keys = {
    { "general.architecture", "llama" }, { "tokenizer.ggml.model", "gpt2" }, { "tokenizer.ggml.pre", "smollm" },
    { "tokenizer.ggml.tokens", { "a", "b", "1", "Ġ", "ab", "Ġa", "11", "<end>", "<tool>", "[PAD]" } },
    { "tokenizer.ggml.token_type", { 1, 1, 1, 1, 1, 1, 1, 3, 4, 5 } },
    { "tokenizer.ggml.merges", { "a b", "Ġ a", "1 1" } },
    { "tokenizer.ggml.bos_token_id", 7 }, { "tokenizer.ggml.eos_token_id", 7 },
    { "tokenizer.ggml.add_bos_token", true }, { "tokenizer.ggml.scores" },
    { "tokenizer.ggml.add_space_prefix", true },
  }
  local parts, n = {}, 0
  for _, item in ipairs(keys) do
    local v = item[2]
    if changes and changes[item[1]:match "[%w_]+$"] ~= nil then v = changes[item[1]:match "[%w_]+$"] end
    if v ~= nil and not (v == false and type(item[2]) ~= "boolean") then
      parts[#parts + 1], n = str(item[1]) .. value(v), n + 1
    end
  end
  return write("tiny.gguf", "GGUF" .. u32(3) .. u64(0) .. u64(n) .. table.concat(parts) .. ("\0"):rep(64))
end

-- ---- cases ----

t.case("text to ids, offsets and back", function()
  local tok = tokenizer.open(small)
  local text = "Who designed it?\nI don't know: 12345 naïve 日本 <|begin_of_text|>"
  local ids, offsets = tok:encode(text)
  t.eq(#ids, #offsets)
  t.eq(tok:decode(ids), text)
  local at = 0
  for i, span in ipairs(offsets) do
    t.eq(span[1], at, "token " .. i .. " starts where the one before ends")
    t.eq(tok:decode { ids[i] }, text:sub(span[1] + 1, span[2]), "token " .. i)
    at = span[2]
  end
  t.eq(at, #text)
  t.eq({ tok:encode "" }, { {}, {} })
  t.eq(select(2, tok:encode(text, { offsets = false })), nil)
end)

t.case("special tokens", function()
  local tok = tokenizer.open(small)
  local id = tok:id "<|begin_of_text|>"
  t.ok(id and tok:is_special(id))
  t.eq(tok:is_special(0), false)
  t.eq(tok:is_special(-1), false)
  t.eq(tok:is_special(nil), false)
  t.eq(tok:id "no such token", nil)
  t.eq((tok:encode "<|begin_of_text|>"), { id })
  local plain = tok:encode("<|begin_of_text|>", { special = false })
  t.ok(#plain > 3)
  for _, part in ipairs(plain) do t.ok(not tok:is_special(part)) end
  t.eq(tok:decode(plain), "<|begin_of_text|>")
  t.eq(tok:decode { id, plain[1] }, "<|begin_of_text|><")
  t.eq(tok:decode({ id, plain[1] }, { skip_special = true }), "<")
end)

t.case("bytes that are not text, and NUL", function()
  local tok = tokenizer.open(small)
  for _, text in ipairs { "a\0b", "\255\254", "caf\195", "x\237\160\128y", "\244\144\128\128", ("\128"):rep(50) } do
    local ids, offsets = tok:encode(text)
    t.eq(tok:decode(ids), text)
    t.eq(offsets[#offsets][2], #text)
  end
end)

t.case("tokenizer_config.json and generation_config.json", function()
  local name = "<|end_of_text|>"
  write("tokenizer.json", read(small .. "/tokenizer.json"))
  local plain = tokenizer.open(folder)
  t.eq({ plain.eos_id, plain.bos_id, plain.add_bos, #plain.stop_ids, plain.chat_template }, { nil, nil, false, 0, nil })
  write("tokenizer_config.json", json.encode { bos_token = "<|begin_of_text|>", eos_token = { content = name },
    add_bos_token = true, chat_template = "{{ x }}" })
  write("generation_config.json", json.encode { eos_token_id = { plain:id(name), 3, 10 ^ 9, -1 } })
  local tok = tokenizer.open(folder)
  t.eq(tok.eos_id, plain:id(name))
  t.eq(tok.bos_id, plain:id "<|begin_of_text|>")
  t.eq(tok.add_bos, true)
  t.eq(tok.stop_ids, { plain:id(name), 3 })
  t.eq(tok.chat_template, "{{ x }}")
  local ids, offsets = tok:encode("a", { bos = true })
  t.eq(ids[1], tok.bos_id)
  t.eq(offsets, { { 0, 0 }, { 0, 1 } })
  t.fails(function() plain:encode("a", { bos = true }) end, "has no BOS")
  for _, file in ipairs { "tokenizer_config.json", "generation_config.json" } do os.remove(folder .. "/" .. file) end
end)

t.case("a configuration that is no object is refused", function()
  local file = assert(io.open(paths.at "tests/golden/tokenizer/qwen2_small/tokenizer.json", "rb"))
  local text = file:read "*a"
  file:close()
  for _, bad in ipairs { 4, "x", true, json.null } do
    t.fails(function() tokenizer.from_json(text, "here", bad) end,
      "'here': tokenizer_config.json beside it is no object")
    t.fails(function() tokenizer.from_json(text, "here", nil, bad) end,
      "'here': generation_config.json beside it is no")
  end
end)

t.case("a GGUF vocabulary", function()
  local tok = tokenizer.open(gguf())
  t.eq(tok.size, 10)
  t.ok(tok.kind:find("smollm", 1, true))
  t.eq((tok:encode "ab a11"), { 4, 5, 2, 2 }) -- smollm splits digits, so that 11 never forms
  t.eq((tok:encode "a<end><tool>[PAD]b"), { 0, 7, 8, 0 + 1 }) -- PAD is unused: its letters have no tokens here
  t.eq((tok:encode("<end><tool>", { special = false })), { 8 })
  t.eq({ tok:is_special(7), tok:is_special(8), tok:is_special(9) }, { true, false, false })
  t.eq({ tok.bos_id, tok.eos_id, tok.add_bos }, { 7, 7, true })
  t.eq(tok.stop_ids, { 7 })
  t.eq(tok:decode { 5, 9, 7 }, " a[PAD]<end>")
  t.eq((tokenizer.open(gguf { pre = "gpt-2" }):encode "a11"), { 0, 6 })
  t.eq(tokenizer.open(gguf { add_bos_token = false }).add_bos, false)
  t.eq(tokenizer.open(gguf { bos_token_id = false }).bos_id, nil)
end)

t.case("GGUF vocabularies that are refused", function()
  local cases = {
    { { pre = "nonesuch" }, "unknown pre%-tokenizer 'nonesuch'.*known: .*smollm.*llama%-bpe.*qwen2" },
    { { model = "t5" }, "model 't5' is not supported" },
    { { model = false }, "has no tokenizer" },
    { { tokens = false }, "no list of strings" },
    { { tokens = 3 }, "no list of strings" },
    { { token_type = { 1, 1 } }, "10 tokens have 2 types" },
    { { token_type = { 1, 1, 1, 1, 1, 1, 1, 3, 4, 77 } }, "token 9 has unknown type" },
    { { merges = false }, "has no merges" },
    { { merges = { "ab" } }, "merge 0 is not two tokens" },
    { { merges = { "a z" } }, "its right side is no token" },
    { { tokens = { "a", "a", "1", "Ġ", "ab", "Ġa", "11", "<end>", "<tool>", "[PAD]" } },
      "tokens 0 and 1 are the same" },
    { { bos_token_id = 10 }, "bos_token_id 10" },
  }
  for _, case in ipairs(cases) do
    local path = gguf(case[1])
    t.fails(function() tokenizer.open(path) end, case[2])
  end
end)

-- SentencePiece: pieces with scores. 0-3 special, 4-6 bytes of U+20AC, then pieces; "<h1>" is user-defined.
local pieces = { "<unk>", "<s>", "</s>", "<pad>", "<0xE2>", "<0x82>", "<0xAC>", "▁", "a", "b", "c", "ab", "bc", "▁a",
  "▁ab", "<h1>", "<", "s", ">", "<s" }
local piece_types = { 2, 3, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 1, 1, 1 }
local scores = { 0, 0, 0, 0, 0, 0, 0, -9, -9, -9, -9, -2, -1, -3, -4, 0, -9, -9, -9, -5 }
local function spm(changes)
  local all = { model = "llama", pre = "default", tokens = pieces, token_type = piece_types, scores = { f32 = scores },
    merges = false, bos_token_id = 1, eos_token_id = 2, add_bos_token = true, add_space_prefix = false }
  for k, v in pairs(changes or {}) do all[k] = v end
  return gguf(all)
end

t.case("a SentencePiece vocabulary", function()
  local tok = tokenizer.open(spm())
  t.eq({ tok.size, tok.bos_id, tok.eos_id, tok.add_bos, tok.kind },
    { 20, 1, 2, true, "SentencePiece BPE, byte fallback" })
  t.eq((tok:encode "abc"), { 8, 12 }) -- "bc" has the higher score, although "ab" stands further left
  t.eq({ tok:encode "ab ab" }, { { 11, 14 }, { { 0, 2 }, { 2, 5 } } })
  t.eq({ tok:encode "a a" }, { { 8, 13 }, { { 0, 1 }, { 1, 3 } } })
  t.eq({ tok:encode "▁ab" }, { { 14 }, { { 0, 5 } } }) -- the visible space is a space, three bytes long
  t.eq({ tok:encode "a€b" }, { { 8, 4, 5, 6, 9 }, { { 0, 1 }, { 1, 2 }, { 2, 3 }, { 3, 4 }, { 4, 5 } } })
  t.eq({ tok:encode "z" }, { { 0 }, { { 0, 1 } } }) -- neither piece nor bytes of it: unknown
  t.eq({ tok:encode "\226\130" }, { { 4, 5 }, { { 0, 1 }, { 1, 2 } } }) -- not UTF-8
  t.eq((tok:encode "a<s>b<h1>"), { 8, 1, 9, 15 })
  t.eq((tok:encode("<s><h1>", { special = false })), { 19, 18, 15 }) -- merging never makes a control piece
  t.eq((tok:encode "<0xE2>"), { 16, 0, 0, 0, 0, 18 }) -- nor a byte
  t.eq(tok:decode { 14, 4, 5, 6, 7, 1 }, " ab€ <s>")
  t.eq({ tok:is_special(0), tok:is_special(1), tok:is_special(15), tok:is_special(4) }, { true, true, false, false })
  t.eq({ tok:id " ab", tok:id "<h1>", tok:id "\226", tok:id "q" }, { 14, 15, 4, nil })
end)

t.case("a space in front, as LLaMA 2 wants it", function()
  local tok = tokenizer.open(spm { add_space_prefix = true })
  t.eq({ tok:encode "ab" }, { { 14 }, { { 0, 2 } } })
  t.eq({ tok:encode "c" }, { { 7, 10 }, { { 0, 0 }, { 0, 1 } } }) -- the space is nobody's byte
  t.eq({ tok:encode "a<s>ab c" }, { { 13, 1, 14, 7, 10 }, { { 0, 1 }, { 1, 4 }, { 4, 6 }, { 6, 7 }, { 7, 8 } } })
  -- no flag: llama.cpp's default
  t.eq((tokenizer.open(spm { add_space_prefix = { 1, 2 } }).kind):match "front", "front")
end)

t.case("a long stretch merges as a short one", function()
  local tok = tokenizer.open(spm())
  local ids, offsets = tok:encode(("ab "):rep(20000))
  t.eq({ #ids, ids[1], ids[2], ids[20000], ids[20001] }, { 20001, 11, 14, 14, 7 })
  t.eq(offsets[20001], { 59999, 60000 })
end)

t.case("SentencePiece in a tokenizer.json gives the ids and texts of the tokenizers library", function()
  for _, name in ipairs { "pieces", "pieces_first", "pieces_every" } do -- tests/golden/make_pieces_tokenizer.py
    local tok, n = tokenizer.open(paths.at("tests/golden/tokenizer/" .. name)), 0
    for line in io.lines(paths.at("tests/golden/tokenizer/" .. name .. ".jsonl")) do
      local case = json.decode(line)
      local ids, spans = tok:encode(case.text)
      t.eq(ids, case.ids, name .. ": " .. case.text)
      t.eq(tok:decode(ids), case.decoded, name .. ": " .. case.text)
      local at = 0
      for _, span in ipairs(spans) do -- offsets go forward and cover the text
        t.ok(span[1] >= at - 3 and span[2] <= #case.text and span[1] <= span[2], name .. ": " .. case.text)
        at = span[2]
      end
      n = n + 1
    end
    t.ok(n > 80)
    t.eq(tok:decode(tok:encode(" a b")), name == "pieces" and " a b" or name == "pieces_first" and "a b" or "  a b")
    t.ok(tok.kind:find "^SentencePiece BPE")
  end
end)

t.case("a tokenizer.json of pieces that is not SentencePiece's is refused by what differs", function()
  local spec = json.load(paths.at "tests/golden/tokenizer/pieces/tokenizer.json")
  local function refused(key, with, pattern)
    local old = spec[key]
    spec[key] = with
    write("tokenizer.json", json.encode(spec))
    t.fails(function() tokenizer.open(folder) end, pattern)
    spec[key] = old
  end
  refused("normalizer", json.null, "pre_tokenizer 'Split'")
  refused("normalizer", { type = "Replace", pattern = { String = "a" }, content = "b" }, "normalizer 'Replace'")
  refused("pre_tokenizer", { type = "Metaspace", replacement = "▁", prepend_scheme = "first", split = true },
    "pre_tokenizer 'Metaspace'")
  refused("decoder", { type = "ByteLevel" }, "decoder 'ByteLevel'")
  local byte = spec.model.vocab["<0x41>"]
  spec.model.vocab["<0x41>"] = nil
  spec.model.vocab["<0x4g>"] = byte
  write("tokenizer.json", json.encode(spec))
  t.fails(function() tokenizer.open(folder) end, "<0x41>")
  os.remove(folder .. "/tokenizer.json")
end)

t.case("SentencePiece vocabularies that are refused", function()
  local short, double = { unpack(scores) }, { unpack(pieces) }
  short[20], double[10] = nil, "a"
  local named = { unpack(pieces) }
  named[5] = "<0xZZ>"
  local nan = { unpack(scores) }
  nan[3] = 0 / 0
  for _, case in ipairs {
    { { scores = false }, "20 tokens have 0 scores" }, { { scores = { f32 = short } }, "20 tokens have 19 scores" },
    { { scores = { f32 = nan } }, "score of token 2 is not a number" },
    { { tokens = double }, "tokens 8 and 9 are the same" },
    { { tokens = named }, "byte token 4 is '<0xZZ>', expected <0x00> to <0xFF>" },
    { { token_type = { 1 } }, "20 tokens have 1 types" }, { { bos_token_id = 20 }, "bos_token_id 20" },
  } do
    local path = spm(case[1])
    t.fails(function() tokenizer.open(path) end, case[2])
  end
end)

t.case("what cannot be opened", function()
  t.fails(function() tokenizer.open(folder .. "/nothing") end, "nothing is there")
  os.remove(folder .. "/tokenizer.json")
  t.fails(function() tokenizer.open(folder) end, "has no tokenizer.json %-> give")
  t.fails(function() tokenizer.from_json("", "empty.json") end, "empty.json.*not valid JSON")
  t.fails(function() tokenizer.from_json("\40\181\47\253garbage", "x.zst") end, "x.zst.*zstd")
  t.fails(function() tokenizer.from_json(nil) end, "expected the file's bytes")
end)

t.case("wrong use", function()
  local tok = tokenizer.open(small)
  t.fails(function() tok:encode(nil) end, "expected a text, got nil")
  t.fails(function() tok:encode("a", { specials = false }) end, "no option 'specials' %-> did you mean 'special'")
  t.fails(function() tok:decode { 1, 2, 3.5 } end, "element 3 is 3.5")
  t.fails(function() tok:decode { tok.size } end, "whole numbers from 0 to " .. tok.size - 1)
  t.fails(function() tok:decode { "1" } end, "element 1")
  tok:close()
  tok:close()
  t.fails(function() tok:encode "a" end, "was closed")
end)

ffi.C.kvb_diag_clear()
for _, name in ipairs { "tokenizer.json", "tiny.gguf" } do os.remove(folder .. "/" .. name) end
os.remove(folder)
