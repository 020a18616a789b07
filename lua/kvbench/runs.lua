-- SPDX-License-Identifier: Apache-2.0
-- kv.runs: stored runs, read without a model. kv.runs.open(folder) gives the Run that the sweep gave: .rows, :curves,
-- :keep, :index. On the command line: kvbench runs VERB, one file a verb in runs/.
local database = require "kvbench.store.db"
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local run_of = require "kvbench.sweep.run"
local schema = require "kvbench.store.schema"
local words = require "kvbench.words"
local C, check = library.C, library.check

local M = {}

--- A folder's store, open for reading (mode "write": for writing and brought up to date). The caller closes it.
function M.store(folder, mode)
  local path = folder:gsub("/+$", "") .. "/run.sqlite"
  if C.kvb_path_kind(folder) == 1 then
    error(("'%s' is a file, a run is a folder -> kvbench runs list"):format(folder), 0)
  end
  if C.kvb_path_kind(path) ~= 1 then
    local old = C.kvb_path_kind(folder .. "/rows.jsonl") == 1
    error(("no run in '%s'%s"):format(folder, old and ": it is of a version that kept rows.jsonl alone -> start its "
      .. "script once more, which takes the rows into a store" or " (run.sqlite is missing) -> kvbench runs list"), 0)
  end
  local db = database.open(path, mode or "read")
  local ok, err = pcall(mode == "write" and schema.migrate or schema.present, db)
  if not ok then
    db:close()
    error(err, 0)
  end
  return db
end

--- fn(db) with a folder's store.
function M.with(folder, fn, mode)
  local db = M.store(folder, mode)
  local ok, a, b = pcall(fn, db)
  if mode == "write" then db:settle() end
  db:close()
  if not ok then error(a, 0) end
  return a, b
end

--- The manifest of a run: what was run.
function M.manifest(db)
  local text = db:row "SELECT manifest FROM runs"
  if not text then error(("'%s' holds no run yet"):format(db.path), 0) end
  return json.decode(text, db.path)
end

--- The run in a folder, for reading.
function M.open(folder)
  folder = folder:gsub("(.)/+$", "%1")
  return M.with(folder, function(db) return run_of.stored(folder, M.manifest(db)) end)
end

--- Folders below `root` (itself included, 4 levels) that hold a run, shards left out.
function M.find(root)
  local found = {}
  local function look(folder, depth)
    if C.kvb_path_kind(folder .. "/run.sqlite") == 1 then found[#found + 1] = folder end
    if depth == 0 then return end
    local list = ffi.new "const char *[1]"
    if C.kvb_dir_list(folder, list) ~= 0 then return end
    for name in ffi.string(list[0]):gmatch "[^\n]+" do
      if name:find "/$" and not name:find "^%." and not name:find "^shard%-%d+%-of%-%d+/$" then
        look((folder == "." and "" or folder .. "/") .. name:sub(1, -2), depth - 1)
      end
    end
  end
  check(C.kvb_path_kind(root) == 2 and C.KVB_OK or C.kvb_dir_list(root, ffi.new "const char *[1]"))
  look(root, 4)
  return found
end

M.overview = [==[
kvbench runs list [FOLDER]              runs below a folder (default out): what, how far, how large
kvbench runs show RUN                   one run: what was run, on what, its conditions, columns, ledger
kvbench runs export RUN [--to FILE]     answers as CSV, JSON lines, or .npy columns; --columns, --where
kvbench runs diff A B                   settings and answers in which two runs differ
kvbench runs merge RUN [PART...]        the stores of shards in one; what is missing
kvbench runs watch RUN                  how far the processes of a run are
kvbench runs prune RUN --ledger|...     removes what is not needed any more
kvbench runs verify RUN                 checks the file, the counts, and the eviction columns against the ledger
RUN: a sweep's folder. VERB --help: its options. The store's tables: docs/store.md.]==]

local verbs = {}
for _, name in ipairs { "list", "show", "diff", "export", "verify", "merge", "prune", "watch" } do
  verbs[name] = function(rest) return require("kvbench.runs." .. name)(rest) end
end

--- `kvbench runs ...`; returns the exit status.
function M.main(rest) return words.dispatch("runs", rest, verbs, M.overview) or 0 end

return M
