-- SPDX-License-Identifier: Apache-2.0
-- The folder of a run: taken, made or read. run.db and run.lock are set while this process may write to it.
local library = require "kvbench.ffi"
local answers = require "kvbench.store.answers"
local database = require "kvbench.store.db"
local import = require "kvbench.store.import"
local json = require "kvbench.json"
local locks = require "kvbench.sweep.lock"
local manifests = require "kvbench.sweep.manifest"
local schema = require "kvbench.store.schema"
local sessions = require "kvbench.store.sessions"
local work = require "kvbench.store.units"
local C, check = library.C, library.check

local M = {}

--- The store in a folder.
function M.path(folder) return folder .. "/run.sqlite" end

local function attach(run, db, o)
  run.db, run.answers = db, answers.new(db)
  db:transaction(function()
    work.prepare(db, run.answers, o.dataset.records, run.manifest)
    if not db:row "SELECT 1 FROM runs" then
      db:exec("INSERT INTO runs (id, manifest, created) VALUES (1, ?, ?)", json.encode(run.manifest),
        os.date "!%Y-%m-%dT%H:%M:%SZ")
    end
    run.answers:make_view()
    run.session = sessions.start(db, o)
  end)
end

-- Opens or makes the store, and sets run.db once everything agrees.
local function open_store(run, o)
  local path = M.path(o.out)
  local existing = C.kvb_path_kind(path) ~= 0
  local old = not existing and import.find(o.out, run.manifest)
  local db = database.open(path, "write")
  local ok, err = pcall(function()
    schema.migrate(db)
    local stored = db:row "SELECT manifest FROM runs"
    if stored then manifests.require_same(stored, run.manifest, o.out) end
    attach(run, db, o)
    if old then old(run) end
    if C.kvb_path_kind(o.out .. "/run.json") == 0 then json.save(o.out .. "/run.json", run.manifest) end
  end)
  if not ok then
    db:close()
    run.db, run.answers = nil, nil
    error(err, 0)
  end
end

-- A folder that may not be written to: fine for a run that is complete.
local function open_finished(run, why)
  local path = M.path(run.out)
  if C.kvb_path_kind(path) == 0 then error(why, 0) end
  M.reading(run.out, function(db)
    manifests.require_same(db:row "SELECT manifest FROM runs", run.manifest, run.out)
    if work.left(db) > 0 then error(why, 0) end
    run.units = work.load(db)
  end)
  return run
end

-- What is done, from a store that another process may be writing to.
local function look(run)
  if C.kvb_path_kind(M.path(run.out)) == 1 then
    M.reading(run.out, function(db)
      manifests.require_same(db:row "SELECT manifest FROM runs", run.manifest, run.out)
      run.units = work.load(db)
    end)
  end
  return run
end

--- Takes the folder of a run for a sweep's settings; see run.open.
function M.open(run, o, how)
  if how == "look" then return look(run) end
  check(C.kvb_dir_make(o.out))
  local ok, lock = pcall(locks.take, o.out)
  if not ok then return open_finished(run, lock) end
  run.lock = lock
  local opened, err = pcall(open_store, run, o)
  if not opened then
    run:close "failed"
    error(err, 0)
  end
  run.units = work.load(run.db)
  return run
end

--- fn(db) on a folder's store, opened for this call.
function M.reading(out, fn)
  local db = database.open(M.path(out), "read")
  local ok, result = pcall(function()
    schema.present(db)
    return fn(db)
  end)
  db:close()
  if not ok then error(result, 0) end
  return result
end

return M
