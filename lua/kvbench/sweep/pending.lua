-- SPDX-License-Identifier: Apache-2.0
-- Sweeps of which one process sees a part only: a task of a job array, which has done its share and goes on to the next
-- sweep of the script, and the job after the array, which takes the shares together.
--
-- A task may go through the script as long as that needs no results. Whatever it asks of the run first (rows, curves)
-- ends it: figures drawn from a share would be wrong, and 64 tasks would write them over each other. Sweeps that depend
-- on the results of earlier ones are therefore not reached in the first array; kvbench submit starts another.
local args = require "kvbench.args"
local json = require "kvbench.json"
local work = require "kvbench.store.units"

local M = {}

--- Exit status of a script that cannot go on before more shares are there.
M.INCOMPLETE = 75

local known = { out = true, manifest = true, presses = true, seconds = true, continuations = true }

local Pending = { __index = function()
  error(args.finish(0, "this worker's share is done"), 0)
end }

--- What kv.sweep gives in a task whose share of `run` is done; out: the folder of the whole run.
function M.new(run, out)
  local pending = { out = out }
  for name in pairs(known) do pending[name] = pending[name] or rawget(run, name) end
  return setmetatable(pending, Pending)
end

--- Where the job after an array says what is missing (KVBENCH_GATHER), or nil in other processes.
function M.gathering()
  local path = os.getenv "KVBENCH_GATHER"
  return path and path ~= "" and path or nil
end

-- Sweeps that were complete when this script came to them.
local complete = 0

--- A sweep that this process came to is complete.
function M.found_complete() complete = complete + 1 end

--- Ends a gathering script at a run that is not complete (open, its shards taken in; busy: how many are still at work).
function M.incomplete(run, busy)
  local left, missing = work.left(run.db), work.missing(run.db, 5)
  local units, out = run.db:row "SELECT COUNT(*) FROM units", run.out
  json.save(M.gathering(), { run = out, units = units, units_left = left, missing = missing,
    complete = complete, at_work = busy })
  run:close "interrupted"
  error(args.finish(M.INCOMPLETE, ("%s: %d of %d work units are missing: %s%s%s"):format(out, left, units,
    table.concat(missing, ", "), left > #missing and ", ..." or "",
    busy > 0 and ("; %d tasks are still at work"):format(busy) or "")), 0)
end

return M
