-- SPDX-License-Identifier: Apache-2.0
-- kvbench submit on a real Slurm: a job array whose tasks are killed, fail, and lose their node gives
-- the rows of one process.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local json = require "kvbench.json"
local process = dofile(here .. "/process.lua")
local slurm = dofile(here .. "/slurm.lua")
local t = require "kvbench.testing"

-- Two sweeps that need nothing of each other, and one whose presses follow from what they gave. In the first attempt of
-- the array, tasks 1 and 2 stand still amid their share, and task 3 fails.
local script = process.write("sweep.lua", [[
  local kv, paths = require "kvbench", require "kvbench.paths"
  local opt = kv.args { out = "", passages = 8, misbehave = false, sweeps = 3 }
  local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
  require("kvbench.sweep.run").tick_seconds = .02
  local rows_of, C, n = require "kvbench.sweep.rows", require("kvbench.ffi").C, 0
  local make, task = rows_of.make, os.getenv "SLURM_ARRAY_TASK_ID"
  local first = not os.getenv "SLURM_RESTART_COUNT" and C.kvb_path_kind(opt.out .. "/failed") == 0
  function rows_of.make(...)
    n = n + 1
    if opt.misbehave and n == 60 and task == "3" and C.kvb_path_kind(opt.out .. "/failed") == 0 then
      io.open(opt.out .. "/failed", "w"):close()
      print "lost its device"
      os.exit(9)
    end
    if opt.misbehave and n == 60 and first and (task == "1" or task == "2") then
      C.kvb_sleep(.1)
      io.open(opt.out .. "/still-" .. task, "w"):close()
      C.kvb_sleep(100)
    end
    return make(...)
  end
  local function sweep(name, presses)
    return kv.sweep { model = tiny.model(), dataset = tiny.data(opt.passages, 6), group = 1, quiet = true,
      presses = presses, ratios = { 0, .3, .5, .7, .9 }, max_new_tokens = 6, ignore_stop = true,
      out = opt.out .. "/" .. name }
  end
  local a, b = sweep("a", { "knorm" }), opt.sweeps > 1 and sweep("b", { { press = "snapkv", window_size = 16 } })
  print(#a.rows .. " rows")
  if b then
    print(#b.rows .. " rows")
    local c = sweep("c", { #a.rows == #b.rows and "random_sinks" or "tova" })
    require("kvbench.csv").write(("%s/table-%s.csv"):format(opt.out, task or ""), { "n" }, { { #b.rows } })
    print(#c.rows .. " rows")
  end
  local file = io.open(opt.out .. "/figure.txt", "a") -- what a figure would be
  file:write(#a.rows, "\n")
  file:close()
]])

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a" or "no " .. path
  if file then file:close() end
  return text
end

local function at(name) return process.folder .. "/" .. name end
local function exists(path) return io.open(path) ~= nil end

t.case("--dry-run prints the job array and writes nothing", function()
  local r = process.run("--dtype", "f32", "submit", script, "--tasks", "64", "--gpus-per-task", "1", "--time",
    "2:00:00",
    "--cpus-per-task", "4", "--mem", "16G", "--partition", "gpu", "--dry-run", "--", "--out", "out/my sweep")
  t.eq(r.status, 2)
  t.ok(r.err:find("--folder 'out/my sweep/submit'", 1, true), r.err)
  r = process.run("--dtype", "f32", "submit", script, "--tasks", "64", "--gpus-per-task", "1", "--time", "2:00:00",
    "--cpus-per-task", "4", "--mem", "16G", "--partition", "gpu", "--dry-run", "--", "--out", "out/mine", "a 'b'")
  t.eq(r.status, 0, r.err)
  for _, line in ipairs { "#SBATCH --array=0-63", "#SBATCH --requeue", "#SBATCH --gpus-per-task=1",
    "#SBATCH --time=2:00:00", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=16G", "#SBATCH --partition=gpu",
    "#SBATCH --output=out/mine/submit/task-%a.txt", 'export KVBENCH_SHARD="$SLURM_ARRAY_TASK_ID/64"',
    ("exec %s --dtype f32 --threads 4 %s --out out/mine 'a '\\''b'\\'''"):format(process.binary, script),
    "sbatch --parsable --dependency=afterany:<its id> out/mine/submit/finish.sh" } do
    t.ok(r.out:find("\n" .. line .. "\n", 1, true), line .. "\n" .. r.out)
  end
  t.eq(process.shell("ls out").status, 2)
  t.eq(process.shell("sh -n <<'X'\n" .. r.out:match "(#!/bin/sh.-)\n==>" .. "\nX").status, 0)
end)

t.case("what cannot be submitted is said in one line", function()
  local function refused(status, pattern, ...)
    local r = process.run("submit", ...)
    t.eq(r.status, status, r.err)
    t.ok(r.err:find(pattern) and not r.err:find "\n.", r.err)
  end
  refused(2, "wants one script %-> kvbench submit %-%-help", "--tasks", "4")
  refused(2, "%-%-tasks 0 %-> a whole number from 1", script)
  refused(2, "a task works on one GPU %-> .* more %-%-tasks", script, "--tasks", "4", "--gpus-per-task", "2")
  refused(2, "%-%-mem '8G;x' %->", script, "--tasks", "4", "--mem", "8G;x")
  refused(1, "no script 'none.lua'", "none.lua", "--tasks", "4")
  refused(1, "holds no job.json", "--again", "nowhere")
  local r = process.shell(("PATH=/nowhere:/bin-without; $K submit %s --tasks 4"):format(script))
  t.ok(r.err:find "no sbatch on this machine %-> .*%-%-dry%-run" or r.err:find "not found", r.err)
end)

-- Where Slurm has forgotten its tasks and keeps accounts: sacct, here a program that says what one said.
local function from_accounts()
  os.execute("mkdir -p " .. at "bin" .. " " .. at "old/x" .. " " .. at "old/submit")
  process.write("bin/squeue", "#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2\nexit 1\n")
  process.write("bin/sacct", "#!/bin/sh\ncat <<'X'\n7_0|COMPLETED|n1\n7_1|NODE_FAIL|n2\n"
    .. "7_2|CANCELLED by 0|None assigned\n7_3|OUT_OF_MEMORY|n3\n8|COMPLETED|n1\nX\n")
  json.save(at "old/submit/job.json", { array = "7", finish_job = "8", tasks = 4 })
  local r = process.shell(("chmod +x bin/*; PATH=%s:$PATH $K runs watch old/x --json"):format(at "bin"))
  t.eq(r.status, 1, r.err)
  local states = {}
  for _, p in ipairs(json.decode(r.out).processes) do states[p.name] = p.slurm .. " " .. p.state end
  t.eq(states, { ["shard-1-of-4"] = "node_fail failed", ["shard-2-of-4"] = "cancelled failed",
    ["shard-3-of-4"] = "out_of_memory failed", ["merge and draw"] = "completed done" })
end

t.case("tasks that only Slurm's accounts know", from_accounts)

local reason = slurm.why_not()
if reason then
  t.skip("job arrays on a real Slurm", reason)
  process.done()
  return
end

local cluster
local function jobs(id)
  return (cluster:shell(("squeue -h -r -o '%%i %%t' %s | sort"):format(id and "-j " .. id or "")))
end

local function submit(words)
  local out, status = cluster:shell(("cd %s && %s submit %s %s"):format(process.folder, process.binary, script, words))
  t.eq(status, 0, out)
  return out:match "array (%d+)", out
end

local function told()
  return cluster:shell(("tail -n 5 %s/out/submit/*.txt %s/ctl.log"):format(process.folder, cluster.folder))
end

-- What kvbench runs watch says: the processes by name, and its exit status.
local function watched(run, words)
  local out, status = cluster:shell(("cd %s && %s runs watch %s --once %s"):format(process.folder, process.binary, run,
    words or "--json"))
  if words then return out, status end
  local by_name = {}
  for _, p in ipairs(json.decode(out).processes) do by_name[p.name] = p end
  return by_name, status, out
end

-- Waits until runs watch says that about a process of the array on out/a.
local function watch_until(name, what)
  local last
  return slurm.wait(20, function()
    local seen, _, out = watched "out/a"
    last = out
    return seen[name] and what(seen[name])
  end), last
end

local function broken_and_whole()
  local r = process.run(script, "--out", at "alone")
  t.eq(r.status, 0, r.err)
  local id, out = submit "--tasks 4 -- --out out --misbehave"
  t.ok(out:find "submitted: array %d+ of 4 tasks, and job %d+ that merges and draws; output in out/submit", out)

  -- task 1 is killed, and requeued by hand
  t.ok(slurm.wait(60, function() return exists(at "out/still-1") end), told())
  local shard = json.load(at "out/a/shard-1-of-4/progress.json")
  t.eq(shard.state, "running")
  t.ok(shard.answers_here > 0)
  t.ok(watch_until("shard-1-of-4", function(p) return p.slurm == "running" and p.state == "running"
    and p.node == cluster.host and p.answers > 0 end))
  os.execute("kill -9 " .. shard.pid)
  t.ok(slurm.wait(20, function() return not jobs(id):find(id .. "_1 R") end), jobs())
  t.ok(watch_until("shard-1-of-4", function(p) return p.slurm == "failed" and p.state == "failed" end))
  t.eq(select(2, watched "out/a"), 1)
  local text, status = cluster:shell(("scontrol requeue %s_1"):format(id))
  t.eq(status, 0, text)

  -- the node goes down below task 2, and comes back
  t.ok(slurm.wait(60, function() return exists(at "out/still-2") end), told())
  cluster:shell(("scontrol update nodename=%s state=down reason=test"):format(cluster.host))
  t.ok(slurm.wait(20, function() return jobs(id):find(id .. "_2 PD") end), jobs())
  t.eq(jobs(id):find " R", nil)
  t.ok(watch_until("shard-2-of-4", function(p) return p.slurm == "pending" and p.reason ~= nil end))
  local seen = watched("out/a", "")
  t.ok(seen:find "shard%-2%-of%-4[^\n]+ pending %(", seen)
  t.ok(seen:find "merge and draw[^\n]+waiting +pending %(Dependency%)", seen)
  cluster:shell(("scontrol update nodename=%s state=resume"):format(cluster.host))

  t.ok(watch_until("shard-2-of-4", function(p) return (p.restarts or 0) >= 1 end))

  -- task 3 fails: the job after the array starts another, and a third for the sweep that follows from the others
  t.ok(slurm.wait(150, function() return exists(at "out/figure.txt") and jobs() == "" end), jobs() .. told())
  t.eq(read(at "out/figure.txt"), read(at "alone/figure.txt"))
  for _, name in ipairs { "a", "b", "c" } do
    t.ok(#read(at("alone/" .. name .. "/rows.csv")) > 10000)
    t.ok(read(at("out/" .. name .. "/rows.csv")) == read(at("alone/" .. name .. "/rows.csv")), name)
    t.ok(read(at("out/" .. name .. "/rows.jsonl")) == read(at("alone/" .. name .. "/rows.jsonl")), name)
    r = process.run("runs", "verify", "out/" .. name)
    t.eq(r.status, 0, r.out)
  end
  t.eq(process.shell("ls out").out, "a\nb\nc\nfailed\nfigure.txt\nstill-1\nstill-2\nsubmit\ntable-.csv\n")
  t.eq(json.load(at "out/submit/job.json").round, 3)
  t.ok(read(at "out/submit/task-3.txt"):find "lost its device")
end

local DUMP = [[python3 -c 'import sqlite3
for line in sqlite3.connect("hand/a/run.sqlite").iterdump(): print(line)']]

local function merged_by_hand()
  local id = submit "--tasks 4 --no-finish --folder hand/submit -- --out hand --sweeps 1 --misbehave"
  t.ok(slurm.wait(60, function() return exists(at "hand/still-1") and exists(at "hand/still-2") end), jobs())
  local r = process.run("runs", "merge", "hand/a")
  t.eq(r.status, 1, r.err)
  t.ok(r.out:find "%d+ of 16 work units are missing: [^\n]+ parts are still at work", r.out .. r.err)
  cluster:shell(("scancel --full --signal=KILL %s_1; scontrol requeue %s_2"):format(id, id))
  t.ok(slurm.wait(90, function() return jobs() == "" end), jobs())
  r = process.run("runs", "merge", "hand/a", "--json")
  t.eq(r.status, 1, r.out)
  t.ok(json.decode(r.out).units_left > 0)
  local out, status = cluster:shell(("cd %s && %s submit --again hand/submit"):format(process.folder, process.binary))
  t.eq(status, 0, out)
  t.ok(slurm.wait(60, function() return jobs() == "" end), jobs())
  r = process.run("runs", "merge", "hand/a")
  t.eq(r.status, 0, r.out .. r.err)
  t.ok(r.out:find "; complete", r.out)
  local function bytes() -- the exports, and all that the store's tables hold
    local dump = process.shell(DUMP)
    t.ok(#dump.out > 20000, dump.err)
    return read(at "hand/a/rows.csv") .. read(at "hand/a/rows.jsonl") .. dump.out
  end
  local before = bytes()
  r = process.run("runs", "merge", "hand/a", "--json")
  t.eq(json.decode(r.out).answers_new, 0)
  t.ok(bytes() == before, "merging twice changed something")
  t.ok(read(at "hand/a/rows.csv") == read(at "alone/a/rows.csv"))
end

local function stuck()
  local out, status = cluster:shell(("cd %s && %s submit %s --tasks 2 --folder bad/submit -- --out bad --passages -1")
    :format(process.folder, process.binary, script))
  t.eq(status, 0, out)
  t.ok(slurm.wait(60, function() return jobs() == "" end), jobs())
  t.eq(json.load(at "bad/submit/job.json").round, 1)
end

local ok, why = pcall(function()
  cluster = slurm.start(at "slurm", 2)
  t.case("tasks killed, requeued, failed, their node down: the rows of one process", broken_and_whole)
  t.case("merged by hand: what is missing, then whole, and twice is once", merged_by_hand)
  t.case("a script that fails is not submitted for ever", stuck)
end)
if cluster then cluster:stop() end
t.case("Slurm starts and leaves nothing behind", function()
  t.ok(ok, why)
  t.eq((process.shell("ps -eo args | grep -F " .. at "slurm" .. " | grep -v grep").out), "")
end)
process.done()
