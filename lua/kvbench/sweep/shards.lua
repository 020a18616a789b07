-- SPDX-License-Identifier: Apache-2.0
-- A sweep on several engines: workers fill the stores in shard-<i>-of-<n>/ below the sweep's folder; the parent takes
-- what
-- they have into the sweep's own store, and goes on with what is left, on the devices that did not fail.
local fleet = require "kvbench.fleet"
local library = require "kvbench.ffi"
local locks = require "kvbench.sweep.lock"
local merge = require "kvbench.store.merge"
local watch = require "kvbench.sweep.progress_file"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = {}

--- Where a worker keeps its rows.
function M.folder(out, shard) return ("%s/shard-%d-of-%d"):format(out, shard.index, shard.count) end

--- The records of a worker: every count-th of those that are left. Started by hand or by a scheduler, the share depends
--- on the place in the data set alone: a task that is started again owns the same records, whatever was merged
--- meanwhile.
function M.share(left, shard, records)
  local mine, place = {}, {}
  for i, record in ipairs(shard.sweep and left or records) do place[record] = i - 1 end
  for _, record in ipairs(left) do
    if place[record] % shard.count == shard.index then mine[#mine + 1] = record end
  end
  return mine
end

--- The shard folders below a run's folder.
function M.folders(out)
  local list, found = ffi.new("const char *[1]"), {}
  check(C.kvb_dir_list(out, list))
  for name in ffi.string(list[0]):gmatch "[^\n]+" do
    if name:find "^shard%-%d+%-of%-%d+/$" then found[#found + 1] = out .. "/" .. name:sub(1, -2) end
  end
  return found
end

--- Removes a shard's folder with what we wrote there; of a link the link alone.
function M.remove(folder)
  if C.kvb_path_link(folder) == 1 then return os.remove(folder) end
  for _, name in ipairs { "run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "rows.jsonl", "rows.csv", "run.json",
    "progress.json", "log.txt" } do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end

--- Takes what the shards of a run have stored into the run (open for writing) and removes their folders; a shard that
--- somebody works on stays. Returns the number of shards that stayed.
function M.merge(run)
  if not run.db then return 0 end
  local busy = 0
  run:flush()
  for _, folder in ipairs(M.folders(run.out)) do
    local lock = locks.try(folder)
    if lock then
      local path = folder .. "/run.sqlite"
      local ok, err = true, nil
      if C.kvb_path_kind(path) == 1 then ok, err = pcall(merge.take, run.db, path) end
      locks.release(lock)
      if not ok then error(err, 0) end
      M.remove(folder)
    else
      busy = busy + 1
    end
  end
  run:reload()
  return busy
end

-- Passages that the workers have done so far.
local function counter(out, count)
  return function()
    local done = 0
    for i = 0, count - 1 do
      local state = watch.read(M.folder(out, { index = i, count = count }))
      done = done + (state and state.done_here or 0)
    end
    return done
  end
end

--- Runs what is left of a sweep on `devices`. left(): records that are not done; update(done): progress. Fails when no
--- device is left that works, or on Ctrl-C; what was finished is kept.
function M.run(run, devices, sweep, left, update)
  if not run.out then
    error("sweep: several GPUs need a folder to work in -> out = \"out/my_sweep\"", 0)
  end
  M.merge(run) -- of a run that was stopped
  local before = #left()
  while #left() > 0 do
    for i = 0, #devices - 1 do check(C.kvb_dir_make(M.folder(run.out, { index = i, count = #devices }))) end
    local workers = fleet.start(devices, function(i)
      return M.folder(run.out, { index = i - 1, count = #devices }) .. "/log.txt"
    end, { KVBENCH_SHARD_SWEEP = sweep })
    local lines, done = counter(run.out, #devices), before - #left()
    fleet.wait(workers, function() update(done + lines()) end)
    local good, reasons = {}, {}
    for _, worker in ipairs(workers) do
      if worker.status == 0 then
        good[#good + 1] = worker.device
      else
        reasons[#reasons + 1] = ("%s: exit status %d, %s"):format(worker.device, worker.status,
          fleet.last_words(worker))
      end
    end
    M.merge(run)
    if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
    if #reasons > 0 then
      if #good == 0 then error("every GPU failed: " .. table.concat(reasons, "; "), 0) end
      io.stderr:write(("kvbench: %s -> its passages go to the others\n"):format(table.concat(reasons, "; ")))
      devices = good
    end
  end
end

return M
