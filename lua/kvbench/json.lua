-- SPDX-License-Identifier: Apache-2.0
-- JSON: text to Lua tables through the C parser, and back with a stable key order (kvbench.json_encode).
--
-- null becomes json.null (a table would otherwise lose the key), arrays carry the metatable json.array and empty
-- objects json.object, so that what was read is written back the same. Numbers are doubles. Duplicate keys are errors.
local encoder = require "kvbench.json_encode"
local given = require "kvbench.given"

local M = { null = encoder.null, object = encoder.object, array = { array = true }, encode = encoder.encode }

local NULL, FALSE, TRUE, NUMBER, STRING, ARRAY = 0, 1, 2, 3, 4, 5 -- enum KVB_JSON_*

local ffi, C, check -- fetched on first use: encoding works without the C library
local key_out, bytes_out, value_out

local function prepare()
  ffi = require "ffi"
  local library = require "kvbench.ffi"
  C, check = library.C, library.check
  key_out, bytes_out = ffi.new("const char *[1]"), ffi.new("int64_t[1]")
  value_out = ffi.new("const kvb_json *[1]")
end

local convert

local function convert_array(value)
  local t = setmetatable({}, M.array)
  for i = 0, C.kvb_json_count(value) - 1 do t[i + 1] = convert(C.kvb_json_at(value, i)) end
  return t
end

local function convert_object(value)
  local t = {}
  local position = C.kvb_json_next(value, nil, key_out, bytes_out, value_out)
  while position ~= nil do
    t[ffi.string(key_out[0], bytes_out[0])] = convert(value_out[0])
    position = C.kvb_json_next(value, position, key_out, bytes_out, value_out)
  end
  return next(t) == nil and setmetatable(t, M.object) or t
end

convert = function(value)
  local kind = C.kvb_json_kind(value)
  if kind == NUMBER then return C.kvb_json_number(value) end
  if kind == STRING then
    local s = C.kvb_json_string(value, bytes_out)
    return ffi.string(s, bytes_out[0])
  end
  if kind == ARRAY then return convert_array(value) end
  if kind == NULL then return M.null end
  if kind == TRUE or kind == FALSE then return kind == TRUE end
  return convert_object(value)
end

--- The value a JSON text stands for. `where` names the text in errors (default "JSON text"). Raises one line.
function M.decode(text, where)
  if type(text) ~= "string" then
    error(("%s: expected a text, got a %s"):format(where or "json.decode", type(text)), 0)
  end
  if not C then prepare() end
  local out = ffi.new("kvb_json *[1]")
  check(C.kvb_json_parse(text, #text, where or "JSON text", out))
  local root = ffi.gc(out[0], C.kvb_json_free)
  local value = convert(root)
  C.kvb_json_free(ffi.gc(root, nil))
  return value
end

--- True for a decoded array, an empty one included.
function M.is_array(value) return type(value) == "table" and getmetatable(value) == M.array end

--- The file's value. A missing file is an error that names it.
function M.load(path)
  local file, problem = io.open(given.path("json.load", path), "rb")
  if not file then error("cannot read '" .. path .. "': " .. (problem:match(": (.*)$") or problem), 0) end
  local text = file:read("*a")
  file:close()
  if not text then error("cannot read '" .. path .. "': it is a folder", 0) end
  return M.decode(text, path)
end

--- Writes value as one line to a file, atomically. `order`: keys that come first, as in encode.
function M.save(path, value, order)
  if not C then prepare() end
  given.path("json.save", path)
  local text = M.encode(value, order) .. "\n"
  check(C.kvb_file_write(path, text, #text))
end

return M
