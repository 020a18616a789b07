-- SPDX-License-Identifier: Apache-2.0
-- Tokenizers: text to ids with byte offsets, and back. The work is done in C (core/tokenizer*.c); here are the places a
-- tokenizer can come from and the names of its special ids.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local given = require "kvbench.given"
local json = require "kvbench.json"
local C, check = library.C, library.check

local M = {}
local Tokenizer = {}

Tokenizer.__index = function(self, key)
  if key == "handle" then error(("tokenizer '%s' was closed -> open it again"):format(self.where), 0) end
  return Tokenizer[key]
end

Tokenizer.__tostring = function(self)
  return ("tokenizer '%s' (%s, %d tokens)"):format(self.where, self.kind, self.size)
end

-- Tokens that end a turn in the chat formats of the families supported, whatever the configuration calls EOS.
local end_of_turn = { "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>" }

local function read_file(path)
  local file, problem = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  if not text then error(("cannot read '%s': %s"):format(path, (problem or "it is a folder"):match("([^:]*)$")), 0) end
  return text
end

local function is_file(path) return C.kvb_path_kind(path) == 1 end

-- A token in tokenizer_config.json is its text, or {content = text}; absent and null mean there is none.
local function id_of(self, value)
  if type(value) == "table" and value ~= json.null then value = value.content end
  return type(value) == "string" and self:id(value) or nil
end

local function valid_id(self, value)
  return type(value) == "number" and value >= 0 and value < self.size and value % 1 == 0 and value or nil
end

local function add_stop(self, id)
  if not id then return end
  for _, known in ipairs(self.stop_ids) do if known == id then return end end
  table.insert(self.stop_ids, id)
end

-- Common to all sources: `names` = {bos_id, eos_id, pad_id, add_bos, chat_template}, each may be nil.
local function wrap(handle, where, names)
  local self = setmetatable({
    handle = ffi.gc(handle, C.kvb_tokenizer_free), where = where, size = C.kvb_tokenizer_size(handle),
    kind = ffi.string(C.kvb_tokenizer_kind(handle)), stop_ids = {},
  }, Tokenizer)
  local own_bos = C.kvb_tokenizer_bos(handle)
  names = names(self)
  self.bos_id = names.bos_id or own_bos >= 0 and own_bos or nil
  self.eos_id, self.pad_id, self.chat_template = names.eos_id, names.pad_id, names.chat_template
  self.add_bos = names.add_bos
  if self.add_bos == nil then self.add_bos = own_bos >= 0 end
  if not self.bos_id then self.add_bos = false end
  add_stop(self, self.eos_id)
  for _, id in ipairs(names.stop_ids or {}) do add_stop(self, id) end
  for _, token in ipairs(end_of_turn) do
    local id = self:id(token)
    if id and self:is_special(id) then add_stop(self, id) end
  end
  return self
end

--- From the bytes of a tokenizer.json (plain, or packed with zstd). `where` names it in errors. `config`: the decoded
-- tokenizer_config.json, or nil. `generation`: the decoded generation_config.json, or nil.
function M.from_json(bytes, where, config, generation)
  if type(bytes) ~= "string" then error("tokenizer.from_json: expected the file's bytes, got " .. type(bytes), 0) end
  where, config, generation = where or "tokenizer.json", config or {}, generation or {}
  for name, value in pairs { tokenizer_config = config, generation_config = generation } do
    if type(value) ~= "table" or value == json.null then
      error(("tokenizer '%s': %s.json beside it is no object"):format(where, name), 0)
    end
  end
  local out = ffi.new "kvb_tokenizer *[1]"
  check(C.kvb_tokenizer_from_json(bytes, #bytes, where, out))
  return wrap(out[0], where, function(self)
    local stop, eos = {}, generation.eos_token_id
    for _, id in ipairs(type(eos) == "table" and eos ~= json.null and eos or { eos }) do
      stop[#stop + 1] = valid_id(self, id)
    end
    local template, add_bos = config.chat_template, config.add_bos_token
    return {
      bos_id = id_of(self, config.bos_token), eos_id = id_of(self, config.eos_token),
      pad_id = id_of(self, config.pad_token), stop_ids = stop,
      chat_template = type(template) == "string" and template or nil,
      add_bos = type(add_bos) == "boolean" and add_bos or nil,
    }
  end)
end

--- From the vocabulary of an open GGUF file (kvb_weights *, borrowed; nothing of it is kept).
function M.from_gguf(weights, where)
  local out = ffi.new "kvb_tokenizer *[1]"
  check(C.kvb_tokenizer_from_gguf(weights, where or "gguf", out))
  local function number(key)
    key = "tokenizer.ggml." .. key
    local scalar = C.kvb_weights_meta_count(weights, key) == 1 and C.kvb_weights_meta_is_string(weights, key) == 0
    return scalar and tonumber(C.kvb_weights_meta_number(weights, key, 0)) or nil
  end
  return wrap(out[0], where or "gguf", function(self)
    local bytes, template = ffi.new "int64_t[1]", nil
    if C.kvb_weights_meta_is_string(weights, "tokenizer.chat_template") ~= 0 then
      local text = C.kvb_weights_meta_string(weights, "tokenizer.chat_template", 0, bytes)
      template = text ~= nil and ffi.string(text, bytes[0]) or nil
    end
    return {
      bos_id = valid_id(self, number "bos_token_id"), eos_id = valid_id(self, number "eos_token_id"),
      pad_id = valid_id(self, number "padding_token_id"), stop_ids = { valid_id(self, number "eot_token_id") },
      chat_template = template, -- whether BOS is added was decided in C: own_bos
    }
  end)
end

local function open_gguf(path)
  local out = ffi.new "kvb_weights *[1]"
  check(C.kvb_weights_open(path, out))
  local weights = ffi.gc(out[0], C.kvb_weights_free)
  local ok, result = pcall(M.from_gguf, weights, path)
  C.kvb_weights_free(ffi.gc(weights, nil))
  if not ok then error(result, 0) end
  return result
end

local function optional(path) return is_file(path) and json.load(path) or nil end

local function open_folder(path)
  for _, name in ipairs { "tokenizer.json", "tokenizer.json.zst" } do
    local file = path .. "/" .. name
    if is_file(file) then
      return M.from_json(read_file(file), file, optional(path .. "/tokenizer_config.json"),
        optional(path .. "/generation_config.json"))
    end
  end
  local what = is_file(path .. "/tokenizer.model") and "only a SentencePiece tokenizer.model, which is not supported"
    or "no tokenizer.json"
  error(("folder '%s' has %s -> give a folder with tokenizer.json, or a .gguf file"):format(path, what), 0)
end

--- Opens the tokenizer of a folder (tokenizer.json, and tokenizer_config.json beside it if there), of a .gguf file
-- (`weights`: its open kvb_weights *, if at hand), or a tokenizer.json by its own name. Fields of the object:
--   size            ids are below it
--   kind, where     for people
--   bos_id, eos_id, pad_id   or nil
--   add_bos         the model's own rule: BOS goes in front of a text (encode does not do it unless asked)
--   stop_ids        EOS and what else ends a turn, without duplicates
--   chat_template   the file's own template text, or nil
function M.open(path, weights)
  if weights then return M.from_gguf(weights, path) end
  local kind = C.kvb_path_kind(path)
  if kind == 0 then error(("no tokenizer at '%s': nothing is there"):format(path), 0) end
  if kind == 2 then return open_folder(path) end
  if path:lower():find "%.gguf$" then return open_gguf(path) end
  return M.from_json(read_file(path), path)
end

local ids_out, spans_out, n_out = ffi.new "const int32_t *[1]", ffi.new "const int32_t *[1]", ffi.new "int32_t[1]"

local encode_options = { special = true, bos = true, offsets = true }

--- Ids (a Lua array) and their byte ranges in `text`: an array of {from, to}, 0-based and half-open. opts:
--   special = false   special tokens written out in the text stay plain text (default: they become their ids)
--   bos = true        BOS in front, covering {0, 0}; an error when there is none
--   offsets = false   no ranges (nil), for long texts
-- Text may hold any bytes. Bytes that are not UTF-8 become tokens of their own.
function Tokenizer:encode(text, opts)
  if type(text) ~= "string" then error("tok:encode: expected a text, got " .. type(text), 0) end
  opts = given.options("tok:encode", opts, encode_options)
  check(C.kvb_tokenizer_encode(self.handle, text, #text, opts.special == false and 0 or 1, ids_out, spans_out, n_out))
  local from, spans, n = ids_out[0], spans_out[0], n_out[0]
  local ids, offsets, first = {}, opts.offsets ~= false and {} or nil, 0
  if opts.bos then
    ids[1] = self.bos_id or error(("tokenizer '%s' has no BOS -> leave bos out"):format(self.where), 0)
    if offsets then offsets[1] = { 0, 0 } end
    first = 1
  end
  for i = 0, n - 1 do ids[first + i + 1] = from[i] end
  if offsets then
    for i = 0, n - 1 do offsets[first + i + 1] = { spans[2 * i], spans[2 * i + 1] } end
  end
  return ids, offsets
end

--- The exact bytes of ids (a Lua array; what generation stopped in may end inside a character).
-- opts: skip_special = true leaves special tokens out.
function Tokenizer:decode(ids, opts)
  if type(ids) ~= "table" then error("tok:decode: expected an array of ids, got " .. given.show(ids), 0) end
  local n = #ids
  local list = ffi.new("int32_t[?]", math.max(n, 1))
  for i = 1, n do
    local id = ids[i]
    if type(id) ~= "number" or id % 1 ~= 0 or id < 0 or id >= self.size then
      error(("tok:decode: element %d is %s -> ids are whole numbers from 0 to %d"):format(i, tostring(id),
        self.size - 1), 0)
    end
    list[i - 1] = id
  end
  local text, bytes = ffi.new "const char *[1]", ffi.new "int64_t[1]"
  check(C.kvb_tokenizer_decode(self.handle, list, n, opts and opts.skip_special and 1 or 0, text, bytes))
  return ffi.string(text[0], bytes[0])
end

--- The id of the token whose bytes are exactly these ("<|im_end|>", " the"), or nil.
function Tokenizer:id(token)
  if type(token) ~= "string" then error("tok:id: expected a token's text, got " .. type(token), 0) end
  local id = C.kvb_tokenizer_id(self.handle, token, #token)
  return id >= 0 and id or nil
end

--- Is this the id of a special token (one that never stands for text)?
function Tokenizer:is_special(id)
  return type(id) == "number" and C.kvb_tokenizer_is_special(self.handle, id) ~= 0
end

--- Frees it now rather than when collected; more calls do nothing.
function Tokenizer:close()
  local handle = rawget(self, "handle")
  if not handle then return end
  self.handle = nil
  C.kvb_tokenizer_free(ffi.gc(handle, nil))
end

return M
