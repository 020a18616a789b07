-- SPDX-License-Identifier: Apache-2.0
-- Stores of other versions: one that version 1 wrote (stores/version-1, with its rows.csv) is read where it lies
-- without a byte of it changing, and becomes a store of this version when it is written to; a later one is refused.
local t = require "kvbench.testing"
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local schema = require "kvbench.store.schema"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "tests/lua"
local old = here .. "/stores/version-1"
local root = os.tmpname()
os.remove(root)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Runs a verb of kvbench runs: its exit status and what it prints.
local function runs(verb, ...)
  local lines, real = {}, print
  print = function(line) lines[#lines + 1] = line end
  local ok, status = pcall(require("kvbench.runs." .. verb), { ... })
  print = real
  if not ok then error(status, 0) end
  return status, table.concat(lines, "\n")
end

-- A copy to write to.
local made = 0
local function copy()
  made = made + 1
  local folder = root .. "/" .. made
  C.kvb_dir_make(folder)
  for _, name in ipairs { "run.sqlite", "run.json", "rows.csv", "rows.jsonl" } do
    local text = read(old .. "/" .. name)
    C.kvb_file_write(folder .. "/" .. name, text, #text)
  end
  return folder
end

local function version_of(folder)
  local db = require("kvbench.store.db").open(folder .. "/run.sqlite", "read")
  local version = db:row "PRAGMA user_version"
  db:close()
  return version
end

t.case("a store of version 1 is read as it lies", function()
  local before = read(old .. "/run.sqlite")
  t.eq(version_of(old), 1)
  local run = kv.runs.open(old)
  t.eq(#run.rows, 28)
  local keep = run:keep(run.rows[1].passage_id, "knorm", .9)
  t.ok(keep:evicted() > 0)
  local status, said = runs("verify", old)
  t.eq(status, 0, said)
  t.ok(said:find "%(8 rows of variants are not in it%)", said)
  t.fails(function() run:keep(run.rows[1].passage_id, "knorm", .9, { question = 1, variant = "halved" }) end,
    "has no variant 'halved'")
  t.eq(runs("show", old), 0)
  t.eq(runs("export", old, "--to", root .. ".csv"), 0)
  t.ok(read(root .. ".csv") == read(old .. "/rows.csv"), "the export differs from what version 1 exported")
  t.ok(read(old .. "/run.sqlite") == before, "reading has changed the file")
end)

t.case("it is migrated when it is written to, and keeps what it holds", function()
  local folder = copy()
  kv.runs.with(folder, function(db) t.eq(schema.version(db), schema.VERSION) end, "write")
  t.eq(version_of(folder), schema.VERSION)
  local status, said = runs("verify", folder)
  t.eq(status, 0, said)
  t.ok(said:find "%(8 rows of variants are not in it%)", said)
  t.eq(runs("diff", old, folder), 0)
  local merged = root .. "/merged" -- a merge brings up to date what it takes
  t.eq(runs("merge", merged, copy()), 0)
  t.eq(version_of(merged), schema.VERSION)
  t.ok(read(merged .. "/rows.csv") == read(old .. "/rows.csv"))
end)

t.case("a migration that fails leaves the store as it was", function()
  local folder = copy()
  local db = require("kvbench.store.db").open(folder .. "/run.sqlite", "write")
  db:run "ALTER TABLE ledger ADD COLUMN layers TEXT" -- the second of two columns is there already
  t.fails(function() schema.migrate(db) end, "duplicate column name: layers")
  t.eq(schema.version(db), 1)
  t.eq((db:row "SELECT COUNT(*) FROM pragma_table_info('ledger') WHERE name = 'base'"), 0)
  db:close()
end)

t.case("a store of a later version is refused, and not a byte of it changes", function()
  local folder = copy()
  local db = require("kvbench.store.db").open(folder .. "/run.sqlite", "write")
  db:run(("PRAGMA user_version = %d"):format(schema.VERSION + 1))
  db:close()
  local before = read(folder .. "/run.sqlite")
  local pattern = ("written by a newer kvbench %%(store version %d, this one reads up to %d%%) %%-> update kvbench")
    :format(schema.VERSION + 1, schema.VERSION)
  for _, verb in ipairs { "show", "export", "verify", "merge", "prune" } do
    t.fails(function() runs(verb, folder, verb == "prune" and "--ledger" or nil) end, pattern)
  end
  t.fails(function() runs("diff", folder, old) end, pattern)
  t.fails(function() runs("merge", root .. "/new", folder) end, pattern)
  t.fails(function() kv.runs.open(folder) end, pattern)
  t.ok(read(folder .. "/run.sqlite") == before)
end)

os.remove(root .. ".csv")
os.execute(("rm -rf '%s'"):format(root))
