-- SPDX-License-Identifier: Apache-2.0
-- Files that end too early, at every 4 KiB (and densely in their first 2 KiB, where headers are): a clear error that names
-- the file, or what the whole file gives (padding was cut). Never less than the whole in silence.
local ffi = require "ffi"
local paths = require "kvbench.paths"
local files = dofile(paths.at "tests/lua/model_files.lua")
local loop = dofile(paths.at "tests/fault/loop.lua")
local kv = require "kvbench"
local t = require "kvbench.testing"
local tokenizer = require "kvbench.tokenizer"
local C = require("kvbench.ffi").C

local base = os.tmpname()
os.remove(base)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read "*a"
  file:close()
  return content
end

local function write(path, content) t.eq(C.kvb_file_write(path, content, #content), 0) end

local function lengths(n)
  local list = {}
  for at = 0, math.min(n - 1, 2047), 61 do list[#list + 1] = at end
  for at = 4096, n - 1, 4096 do list[#list + 1] = at end
  list[#list + 1] = n - 1
  return list
end

-- open(path) returns a comparable value and leaves nothing open. Returns how many lengths were refused.
local function cut_everywhere(path, open, within)
  local content, expected = read(path), open()
  local before, refused, named = loop.live(), 0, within or path
  for _, n in ipairs(lengths(#content)) do
    local where = ("%s cut to %d of %d bytes"):format(path, n, #content)
    write(path, content:sub(1, n))
    local ok, result = pcall(open)
    if ok then
      t.eq(result, expected, where)
    else
      refused = refused + 1
      loop.clear(result, "", where)
      t.ok(tostring(result):find(named, 1, true), where .. ": the error does not name it: " .. tostring(result))
    end
    local now = loop.live(before)
    t.ok(now <= before, ("%s: %d bytes before, %d after"):format(where, before, now))
  end
  write(path, content)
  t.eq(open(), expected, path .. " whole again")
  return refused, #lengths(#content)
end

local function load(path, unhashed)
  return function()
    local model = kv.model.load(path, { device = "cpu", dtype = "f32" })
    local about = model.parameters .. " " .. (unhashed and "" or model.hash)
    model:close()
    return about
  end
end

t.case("gguf", function()
  local path = files.gguf(base .. ".gguf", {})
  local refused, tried = cut_everywhere(path, load(path))
  t.ok(refused == tried, ("%d of %d were refused"):format(refused, tried))
  os.remove(path)
end)

t.case("a folder with safetensors", function()
  local folder = files.hf(base .. "-hf", {})
  local refused, tried = cut_everywhere(folder .. "/model.safetensors", load(folder))
  t.ok(refused == tried, ("%d of %d were refused"):format(refused, tried))
  cut_everywhere(folder .. "/config.json", load(folder, true)) -- the hash covers its last newline too
  files.remove(folder)
end)

t.case("tokenizer.json, plain and packed", function()
  local source = paths.at "tests/golden/tokenizer/llama3_small/tokenizer.json"
  for _, kind in ipairs { ".json", ".json.zst" } do
    local path, sink = base .. kind, ffi.new "kvb_sink *[1]"
    local content = read(source)
    t.eq(C.kvb_sink_open(path, sink), 0)
    t.eq(C.kvb_sink_write(sink[0], content, #content), 0)
    t.eq(C.kvb_sink_close(sink[0]), 0)
    local function open()
      local it = tokenizer.open(path)
      local ids = it:encode "The Spire's 1954 fa\195\167ade"
      it:close()
      return ids
    end
    local refused, tried = cut_everywhere(path, open)
    t.ok(refused >= tried - 1, ("%s: %d of %d were refused"):format(kind, refused, tried)) -- the last: a line's end
    os.remove(path)
  end
end)

t.case("datasets, plain and packed", function()
  for _, kind in ipairs { ".jsonl.zst", ".jsonl" } do
    local path = base .. kind
    kv.dataset("base", { size = 24 }):save(path)
    local function open() return kv.dataset(path).hash end
    local content = read(path)
    if kind == ".jsonl" then -- a text file that ends at a line's end is a shorter file, not a broken one
      local at = content:sub(1, -2):find "\n[^\n]*$"
      write(path, content:sub(1, at))
      t.ok(open() ~= nil)
      write(path, content)
    end
    local refused, tried = cut_everywhere(path, open)
    t.ok(refused >= tried - 1, ("%s: %d of %d were refused"):format(kind, refused, tried))
    os.remove(path)
  end
end)
