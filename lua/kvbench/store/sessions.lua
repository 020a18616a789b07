-- SPDX-License-Identifier: Apache-2.0
-- Sessions: one row for each process that worked on a run, with what it ran on and how it ended. Times of day are for
-- people; nothing is decided by them.
local export = require "kvbench.sweep.export"
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local summary = require "kvbench.store.summary"
local work = require "kvbench.store.units"
local C, check = library.C, library.check

local M = {}

local function host()
  local file = io.open "/proc/sys/kernel/hostname"
  local name = file and file:read "*l" or "?"
  if file then file:close() end
  return name
end

--- Notes that this process has begun to work with these settings. Returns {id, ...}.
function M.start(db, o)
  local pid = tonumber(C.kvb_process_id())
  local now, name = os.date "!%Y-%m-%dT%H:%M:%SZ", host()
  local id = ("%s/%d/%s/%.6f"):format(name, pid, now, C.kvb_time())
  local pins = { buckets = o.model.buckets, trunk = o.trunk, dedupe = o.dedupe, group = o.group }
  db:exec("INSERT OR REPLACE INTO sessions (id, started, host, pid, shard, version, revision, device, tier, dtype, "
    .. "threads, pins, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running')", id, now, name, pid,
    os.getenv "KVBENCH_SHARD", ffi.string(C.kvb_version()), ffi.string(C.kvb_git_revision()), o.model.device,
    o.model.tier, o.model.dtype, C.kvb_threads(), json.encode(pins))
  return { id = id }
end

--- Notes how it ended. run.seconds, .continuations, .model_rows, .spent: of this process.
function M.finish(db, run, outcome)
  if not run.session then return end
  db:exec("UPDATE sessions SET seconds = ?, store_seconds = ?, continuations = ?, model_rows = ?, fallbacks = ?, "
    .. "outcome = ? WHERE id = ?", run.seconds, run.spent, run.continuations, run.model_rows,
    tonumber(C.kvb_fallbacks()), outcome, run.session.id)
end

local function size_of(path)
  local file = io.open(path, "rb")
  if not file then return -1 end
  local size = file:seek "end"
  file:close()
  return size
end

--- Writes rows.csv and rows.jsonl of a run whose units are all done, unless they are as they were written last.
function M.export(run)
  local db, csv, jsonl = run.db, run.out .. "/rows.csv", run.out .. "/rows.jsonl"
  if work.left(db) > 0 then return end
  if db:row "SELECT COUNT(*) FROM answers" >= summary.LARGE then summary.make(db) end
  local stamp = ("%d answers, %d and %d bytes")
  local answers = db:row "SELECT COUNT(*) FROM answers"
  local written = db:row "SELECT value FROM notes WHERE name = 'exported'"
  if written == stamp:format(answers, size_of(csv), size_of(jsonl)) then return end
  local a, b = export.csv(run.answers, csv), export.jsonl(run.answers, jsonl)
  db:exec("INSERT OR REPLACE INTO notes (name, value) VALUES ('exported', ?)", stamp:format(answers, a, b))
end

return M
