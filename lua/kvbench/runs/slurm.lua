-- SPDX-License-Identifier: Apache-2.0
-- What Slurm says of the tasks of a kvbench submit: one squeue for all of them, and sacct for those that Slurm has
-- forgotten, where it keeps accounts. Neither is asked more often than every ten seconds, however often somebody looks.
local json = require "kvbench.json"
local C = require("kvbench.ffi").C

local M = {}

--- Seconds between two questions to Slurm.
M.PATIENCE = 10

local busy = { PENDING = true, RUNNING = true, COMPLETING = true, CONFIGURING = true, SUSPENDED = true, STOPPED = true,
  REQUEUED = true, REQUEUE_FED = true, REQUEUE_HOLD = true, RESIZING = true, SIGNALING = true, STAGE_OUT = true,
  SPECIAL_EXIT = true, RESV_DEL_HOLD = true }

--- The job whose array fills a run's folder: job.json of kvbench submit, in the run's folder or the one above; nil when
--- there is none.
function M.job(run)
  for _, folder in ipairs { run .. "/submit", run .. "/../submit" } do
    if C.kvb_path_kind(folder .. "/job.json") == 1 then
      local ok, job = pcall(json.load, folder .. "/job.json")
      if ok and type(job) == "table" and type(job.array) == "string" and job.array:find "^%d+$" then return job end
    end
  end
end

local function ask(line)
  local pipe = io.popen(line .. " 2>/dev/null; echo $?")
  local out, status = pipe:read("*a"):match "^(.-)(%d+)\n$"
  pipe:close()
  return out, tonumber(status)
end

-- Field, width: squeue writes columns.
local FIELDS = { { "ArrayJobID", 14 }, { "ArrayTaskID", 14 }, { "JobID", 14 }, { "State", 16 }, { "RestartCnt", 8 },
  { "Reason", 40 }, { "NodeList", 60 } }

-- The first word on a task counts, or on the job after the array.
local function note(found, job, task, about)
  about.busy = busy[about.state] or false
  if task then found.tasks[task] = found.tasks[task] or about
  elseif job == found.finish_job then found.finish = found.finish or about end
end

local nothing = { [""] = true, None = true, ["N/A"] = true, ["(null)"] = true, ["None assigned"] = true }
local function said(text) return not nothing[text] and text or nil end

local function from_squeue(found, ids)
  local format = {}
  for i, field in ipairs(FIELDS) do format[i] = ("%s:%d"):format(field[1], field[2]) end
  local out, status = ask(("squeue -h -r -t all -j %s -O %s"):format(ids, table.concat(format, ",")))
  for line in out:gmatch "[^\n]+" do
    local at, v = 1, {}
    for _, field in ipairs(FIELDS) do
      v[field[1]] = line:sub(at, at + field[2] - 1):match "^%s*(.-)%s*$"
      at = at + field[2]
    end
    note(found, v.JobID, tonumber(v.ArrayTaskID), { state = v.State, restarts = tonumber(v.RestartCnt) or 0,
      reason = said(v.Reason), node = said(v.NodeList) })
  end
  return status
end

local function from_sacct(found, ids)
  for line in ask(("sacct -n -P -X -j %s -o JobID,State,NodeList"):format(ids)):gmatch "[^\n]+" do
    local job, task, state, node = line:match "^(%d+)_?(%d*)|([%u_]+)[^|]*|(.*)$"
    if job then note(found, job, tonumber(task), { state = state, restarts = 0, node = said(node) }) end
  end
end

--- {tasks = {[place in the array, from 0] = {state, busy, reason, node, restarts}}, finish = the job after the array};
--- nil when Slurm cannot be asked here.
function M.states(job)
  local found = { tasks = {}, finish_job = job.finish_job }
  local ids = job.array .. (job.finish_job and "," .. job.finish_job or "")
  if from_squeue(found, ids) == 127 then return nil end -- no squeue
  for task = 0, job.tasks - 1 do
    if not found.tasks[task] then
      from_sacct(found, ids)
      break
    end
  end
  return found
end

--- The same, asked at most every ten seconds.
function M.watcher(run)
  local asked, found
  return function()
    local now = C.kvb_time()
    if not asked or now - asked >= M.PATIENCE then
      local job = M.job(run) -- a later round has another array
      asked, found = now, job and M.states(job)
      if found then found.count = job.tasks end
    end
    return found
  end
end

return M
