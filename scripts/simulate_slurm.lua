-- SPDX-License-Identifier: Apache-2.0
-- What Slurm does for job arrays, asked of one that is started for the purpose (tests/e2e/slurm.lua); for
-- simulate_scale.lua.
local C = require("kvbench.ffi").C
local slurm = dofile(require("kvbench.paths").at "tests/e2e/slurm.lua")

local TASKS, POLLS = 100, 20

local function cpu_seconds(pid_file)
  local file = io.open(pid_file)
  local pid = file and file:read "*l"
  if file then file:close() end
  local stat = pid and io.open("/proc/" .. pid .. "/stat")
  local user, system = (stat and stat:read "*a" or ""):match "%) %S %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
  if stat then stat:close() end
  return (tonumber(user or 0) + tonumber(system or 0)) / 100
end

-- A held array of n tasks: what submitting it takes, and a look at all of it, as kvbench runs watch has.
local function held(cluster, n, ctl)
  local started = C.kvb_time()
  local id = cluster:shell(("sbatch --parsable --hold --array=0-%d --output=/dev/null --wrap=true"):format(n - 1))
  local row = { tasks = n, submit_seconds = C.kvb_time() - started }
  local before = cpu_seconds(ctl)
  started = C.kvb_time()
  local lines = cluster:shell(("for i in $(seq %d); do squeue -h -r -t all -j %s -O ArrayTaskID:14,State:16,Reason:40; "
    .. "done | wc -l"):format(POLLS, id))
  if tonumber(lines) ~= POLLS * n then error(("squeue gave %s lines for %d tasks"):format(lines, n), 0) end
  row.poll_seconds, row.poll_cpu = (C.kvb_time() - started) / POLLS, (cpu_seconds(ctl) - before) / POLLS
  cluster:shell("scancel " .. id)
  return row
end

-- Tasks that do nothing, from the queue to their end.
local function empty_tasks(cluster, ctl)
  local before, started = cpu_seconds(ctl), C.kvb_time()
  local id = cluster:shell(("sbatch --parsable --array=0-%d --output=/dev/null --wrap=true"):format(TASKS - 1))
  slurm.wait(240, function() return cluster:shell("squeue -h -j " .. id) == "" end)
  return { tasks = TASKS, seconds = (C.kvb_time() - started) / TASKS, ctl_cpu = (cpu_seconds(ctl) - before) / TASKS }
end

--- For arrays of each of `sizes`: {tasks, submit_seconds, poll_seconds, poll_cpu}; and .task = {seconds, ctl_cpu} of a
--- task that does nothing; .why_not where there is no Slurm. folder: of its files. say(format, ...): told on the way.
return function(folder, sizes, say)
  local out = { why_not = slurm.why_not() }
  if out.why_not then
    say("Slurm: left out, %s", out.why_not)
    return out
  end
  local cluster = slurm.start(folder, 2)
  local ok, err = pcall(function()
    local ctl = folder .. "/ctl.pid"
    for i, n in ipairs(sizes) do
      out[i] = held(cluster, n, ctl)
      say("Slurm: array of %d: submitted in %.2f s, squeue %.3f s (slurmctld: %.4f s of CPU) a look", n,
        out[i].submit_seconds, out[i].poll_seconds, out[i].poll_cpu)
    end
    out.task = empty_tasks(cluster, ctl)
    say("Slurm: %d tasks that do nothing, from queue to end: %.3f s, slurmctld %.4f s of CPU each", TASKS,
      out.task.seconds, out.task.ctl_cpu)
  end)
  cluster:stop()
  if not ok then error(err, 0) end
  return out
end
