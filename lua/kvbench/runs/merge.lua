-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs merge: what the parts of a run hold, in one store, and whether it is complete.
local answers = require "kvbench.store.answers"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local locks = require "kvbench.sweep.lock"
local merge = require "kvbench.store.merge"
local run_of = require "kvbench.sweep.run"
local runs = require "kvbench.runs"
local sessions = require "kvbench.store.sessions"
local shards = require "kvbench.sweep.shards"
local work = require "kvbench.store.units"
local words = require "kvbench.words"
local C, check = library.C, library.check

local USAGE = [==[
kvbench runs merge RUN [PART...] [--remove] [--json]
Takes the stores of PARTs (default: the shard-<i>-of-<n> folders in RUN) into RUN's, which is made when it is not
there. All must be of the same run. What RUN has stays: merging again, or after a merge that was interrupted, gives the
same; parts that are still at work are left for the next merge. Then says what is missing; a run that is complete gets
its rows.csv and rows.jsonl. --remove deletes shard folders that nobody works on once they are merged. Exit status 0:
complete; 1: not.]==]

local function finish(folder, db)
  local run = run_of.stored(folder, runs.manifest(db))
  run.db, run.answers = db, answers.new(db)
  sessions.export(run)
end

local function take_parts(db, parts, out, removing)
  for _, part in ipairs(parts) do
    local free = locks.try(part)
    local ok, err = pcall(function()
      if not free or C.kvb_path_kind(part .. "/run.sqlite") ~= 1 then return end -- not from under one who writes to it
      out.answers_new = out.answers_new + merge.take(db, part .. "/run.sqlite")
    end)
    locks.release(free)
    if not ok then error(err, 0) end
    if not free then out.at_work = out.at_work + 1 end
    if free and removing then shards.remove(part) end
  end
end

return function(rest)
  local names, opt = words.split(rest, { remove = false, json = false }, USAGE)
  local folder = table.remove(names, 1)
  if not folder then words.misused("kvbench runs merge wants the run's folder -> kvbench runs list") end
  for _, part in ipairs(names) do
    if C.kvb_path_same(part, folder) == 1 then words.misused("runs merge: '%s' is the run itself", part) end
    runs.with(part, runs.manifest) -- an error unless it is a run
  end
  local fresh = C.kvb_path_kind(folder) == 0
  check(C.kvb_dir_make(folder))
  local parts = #names > 0 and names or shards.folders(folder)
  local exists, first = not merge.blank(folder), 1
  while parts[first] and merge.blank(parts[first]) do first = first + 1 end
  if not exists and not parts[first] then
    if fresh then os.remove(folder) end
    error(("'%s' holds no run and no shards -> kvbench runs merge RUN PART..."):format(folder), 0)
  end
  local lock = locks.take(folder)
  local out = { run = folder, parts = #parts, answers_new = 0, at_work = 0 }
  local removing = opt.remove and #names == 0
  local ok, err = pcall(function()
    exists = not merge.blank(folder) -- a sweep may have been waited for
    local db = exists and runs.store(folder, "write") or merge.begin(folder, parts[first], removing)
    local unpublished = not exists and not removing
    local done, why = pcall(function()
      take_parts(db, parts, out, removing)
      if unpublished then db, unpublished = merge.publish(db, folder), false end
      out.units_left, out.missing = work.left(db), work.missing(db, 5)
      out.units, out.answers = db:row "SELECT COUNT(*) FROM units", db:row "SELECT COUNT(*) FROM answers"
      if out.units_left == 0 then finish(folder, db) end
    end)
    if unpublished then
      merge.abandon(db)
    else
      db:settle()
      db:close()
    end
    if not done then error(why, 0) end
  end)
  locks.release(lock)
  if not ok then
    if fresh then os.remove(folder) end -- when nothing came into it
    error(err, 0)
  end
  if opt.json then
    print(json.encode(out))
  else
    print(("%s: %d parts, %d new answers of %d; %s%s"):format(folder, out.parts, out.answers_new, out.answers,
      out.units_left == 0 and "complete" or ("%d of %d work units are missing: %s%s"):format(out.units_left, out.units,
        table.concat(out.missing, ", "), out.units_left > #out.missing and ", ..." or ""),
      out.at_work > 0 and ("; %d parts are still at work"):format(out.at_work) or ""))
  end
  return out.units_left == 0 and 0 or 1
end
