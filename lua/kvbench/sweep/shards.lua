-- SPDX-License-Identifier: Apache-2.0
-- A sweep on several GPUs: workers fill shard-<i>-of-<n>/ below the sweep's folder, a passage at a time; the parent
-- takes whole passages into the sweep's own rows, and goes on with what is left, on the devices that did not fail.
local fleet = require "kvbench.fleet"
local library = require "kvbench.ffi"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = {}

--- Where a worker keeps its rows.
function M.folder(out, shard) return ("%s/shard-%d-of-%d"):format(out, shard.index, shard.count) end

--- The records of a worker: every count-th of those that are left.
function M.share(left, shard)
  local mine = {}
  for i = shard.index + 1, #left, shard.count do mine[#mine + 1] = left[i] end
  return mine
end

local function shard_folders(out)
  local list, found = ffi.new("const char *[1]"), {}
  check(C.kvb_dir_list(out, list))
  for name in ffi.string(list[0]):gmatch "[^\n]+" do
    if name:find "^shard%-%d+%-of%-%d+/$" then found[#found + 1] = out .. "/" .. name:sub(1, -2) end
  end
  return found
end

--- Takes the finished passages of every shard folder into the run, and removes the folders.
function M.merge(run, open_shard)
  if not run.out then return end
  local records = {}
  for _, folder in ipairs(shard_folders(run.out)) do
    local shard = open_shard(folder)
    local rows_of = {}
    for _, row in ipairs(shard.rows) do
      rows_of[row.passage_id] = rows_of[row.passage_id] or {}
      table.insert(rows_of[row.passage_id], row)
    end
    for id in pairs(shard.done) do
      if not run.done[id] then records[#records + 1] = { id = id, rows = rows_of[id] } end
    end
    shard:close()
  end
  table.sort(records, function(a, b) return a.id < b.id end)
  for _, record in ipairs(records) do
    if not run.done[record.id] then run:store(record, record.rows) end
  end
  for _, folder in ipairs(shard_folders(run.out)) do
    for _, name in ipairs { "rows.jsonl", "rows.csv", "run.json", "log.txt" } do os.remove(folder .. "/" .. name) end
    os.remove(folder)
  end
end

-- Passages that the workers have stored so far: lines of their files, counted from where the last look ended.
local function counter(out, count)
  local seen, lines = {}, 0
  return function()
    for i = 0, count - 1 do
      local path = M.folder(out, { index = i, count = count }) .. "/rows.jsonl"
      local file = io.open(path, "rb")
      if file then
        file:seek("set", seen[i] or 0)
        local text = file:read "*a" or ""
        seen[i] = (seen[i] or 0) + #text
        lines = lines + select(2, text:gsub("\n", ""))
        file:close()
      end
    end
    return lines
  end
end

--- Runs what is left of a sweep on `devices`. left(): records without rows; open_shard(folder): that folder's Run;
--- update(done): progress. Fails when no device is left that works, or on Ctrl-C; what was finished is kept.
function M.run(run, devices, sweep, left, open_shard, update)
  if not run.out then
    error("sweep: several GPUs need a folder to work in -> out = \"out/my_sweep\"", 0)
  end
  M.merge(run, open_shard) -- of a run that was stopped
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
    M.merge(run, open_shard)
    if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
    if #reasons > 0 then
      if #good == 0 then error("every GPU failed: " .. table.concat(reasons, "; "), 0) end
      io.stderr:write(("kvbench: %s -> its passages go to the others\n"):format(table.concat(reasons, "; ")))
      devices = good
    end
  end
end

return M
