-- SPDX-License-Identifier: Apache-2.0
-- Files that end too early, at every 4 KiB (and densely in their first 2 KiB, where headers are): a clear error that
-- names the file, or what the whole file gives (padding was cut). Never less than the whole in silence.
local ffi = require "ffi"
local paths = require "kvbench.paths"
local files = dofile(paths.at "tests/lua/model_files.lua")
local loop = dofile(paths.at "tests/fault/loop.lua")
local json = require "kvbench.json"
local kv = require "kvbench"
local t = require "kvbench.testing"
local tokenizer = require "kvbench.tokenizer"
local C = require("kvbench.ffi").C

local base = os.tmpname()
os.remove(base)

local read = t.read

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

-- A run that was stored: all rows, all keep-sets.
local function whole_run(folder)
  return function()
    local run, parts = kv.runs.open(folder), {}
    for i, row in ipairs(run.rows) do parts[i] = json.encode(row) end
    kv.runs.with(folder, function(db)
      t.eq((db:row "PRAGMA integrity_check"), "ok")
      for row in db:rows "SELECT p.name, l.press, l.ratios FROM ledger l JOIN passages p ON p.id = l.passage" do
        for _, ratio in ipairs(json.decode(row[3], "ratios")) do
          parts[#parts + 1] = run:keep(row[1], row[2], ratio):hash()
        end
      end
    end)
    return table.concat(parts, "\n")
  end
end

local function copy_run(folder)
  C.kvb_dir_make(folder)
  write(folder .. "/run.sqlite", read(paths.at "tests/lua/stores/version-1/run.sqlite"))
  return folder .. "/run.sqlite"
end

t.case("a run's store, the ledger in it", function()
  local folder = base .. "-run"
  local path = copy_run(folder)
  local refused, tried = cut_everywhere(path, whole_run(folder))
  t.ok(refused >= tried - 1, ("%d of %d were refused"):format(refused, tried)) -- the last page ends in nothing
  files.remove(folder)
end)

t.case("a store's journal: what is lost is whole transactions at the end", function()
  local folder, cut = base .. "-journal", base .. "-cut"
  copy_run(folder)
  copy_run(cut)
  local database = require "kvbench.store.db"
  local db = database.open(folder .. "/run.sqlite", "write")
  db:run "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0"
  for i = 1, 40 do -- transactions of two rows each
    db:transaction(function()
      for _, name in ipairs { "a", "b" } do db:exec("INSERT INTO notes VALUES (?, ?)", name .. i, ("x"):rep(900)) end
    end)
  end
  local file, journal = read(folder .. "/run.sqlite"), read(folder .. "/run.sqlite-wal")
  db:close()
  t.ok(#journal > 16 * 4096)
  local most = 0
  for _, n in ipairs(lengths(#journal)) do
    os.remove(cut .. "/run.sqlite-shm")
    write(cut .. "/run.sqlite", file)
    write(cut .. "/run.sqlite-wal", journal:sub(1, n))
    local some = database.open(cut .. "/run.sqlite", "write")
    t.eq((some:row "PRAGMA integrity_check"), "ok")
    local a, b = some:row "SELECT SUM(name LIKE 'a%'), SUM(name LIKE 'b%') FROM notes WHERE name GLOB '[ab][0-9]*'"
    t.eq(a, b, ("a journal of %d bytes"):format(n))
    t.ok((a or 0) >= most)
    most = a or 0
    some:close()
  end
  t.ok(most >= 38)
  for _, name in ipairs { folder, cut } do files.remove(name) end
end)

t.case("ledger entries", function()
  local ctx = require("kvbench.fake_context").new { layers = 4, heads = 8, kv_heads = 8, tokens = 900, head_dim = 8 }
  local keeps = kv.press("random"):keeps(ctx, { .1, .2, .3, .4, .5, .6, .7, .8, .9 })
  local handles, data, bytes = ffi.new "const kvb_keep *[9]", ffi.new "const void *[1]", ffi.new "int64_t[1]"
  for i, keep in ipairs(keeps) do
    t.eq(C.kvb_keep_fetch(keep.handle), 0)
    handles[i - 1] = keep.handle
  end
  t.eq(C.kvb_ledger_pack(handles, 9, data, bytes), 0)
  local blob, out = ffi.string(data[0], bytes[0]), ffi.new "kvb_keep *[1]"
  t.ok(#blob > 2 * 4096)
  local before = loop.live()
  for _, n in ipairs(lengths(#blob)) do
    t.ok(C.kvb_ledger_unpack(blob, n, 0, out) ~= 0, "cut to " .. n)
    loop.clear(require("kvbench.ffi").diagnostic(), "", "cut to " .. n)
    t.ok(loop.live(before) <= before)
  end
  t.eq(C.kvb_ledger_unpack(blob, #blob, 8, out), 0)
  C.kvb_keep_free(out[0])
end)
