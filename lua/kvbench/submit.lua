-- SPDX-License-Identifier: Apache-2.0
-- kvbench submit: a script's sweeps as a Slurm job array. Slurm is the engine: it starts tasks, requeues those whose
-- node went down, and keeps count. A task is the script itself with KVBENCH_SHARD = its place in the array, so it owns
-- the same passages whenever and wherever it starts, and writes to its shard's folder only. A job that depends on the
-- array takes the shards together and runs the script to its end; where it meets a sweep that is not complete (tasks
-- that failed or ran out of time; a sweep whose settings depend on the results of another), it submits the array once
-- more, as long as the last one got anything done.
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local pending = require "kvbench.sweep.pending"
local words = require "kvbench.words"
local C, check = library.C, library.check

local M = {}

local USAGE = [==[
kvbench submit SCRIPT --tasks N [options] [-- the script's own arguments]
Writes a Slurm job array of N tasks and a job that follows it, and submits both with sbatch. Each task does its share
of the script's sweeps; the job that follows merges them, starts the array again for what is missing, and lets the
script draw its figures.
  --tasks N            shares; a passage is in one of them
  --gpus-per-task N    1 or 0 (default 0: the CPU)
  --cpus-per-task N, --mem SIZE, --time LIMIT, --partition NAME, --account NAME: as sbatch has them
  --folder FOLDER      of the job files and the tasks' output (default out/<script>/submit, or submit in its --out)
  --no-finish          the array alone; later: kvbench runs merge RUN, then the script
  --dry-run            prints what would be written and run
kvbench submit --again FOLDER          submits what is in FOLDER once more
kvbench's own options go before submit: kvbench --dtype bf16 submit x.lua --tasks 64 --gpus-per-task 1]==]

local DEFAULTS = { tasks = 0, gpus_per_task = 0, cpus_per_task = 0, mem = "", time = "", partition = "", account = "",
  folder = "", finish = true, dry_run = false, again = "", unless_stuck = false }

local function quote(word)
  if word:find "^[%w_./:=,+-]+$" then return word end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- Output (both streams, without the last newline) and exit status of a shell line.
local function shell(line)
  local pipe = io.popen(("{ %s\n} 2>&1; echo $?"):format(line))
  local text = pipe:read "*a"
  pipe:close()
  local out, status = text:match "^(.-)\n?(%d+)\n$"
  return out, tonumber(status)
end

local function count(value, name, low)
  if value ~= math.floor(value) or value < low then
    words.misused("submit: %s %s -> a whole number from %d, e.g. %s 64", name, value, low, name)
  end
end

local function plain(value, name)
  if not value:find "^[%w_./:,@+-]*$" then
    words.misused("submit: %s '%s' -> letters, digits and _ . / : , @ + - only", name, value)
  end
end

local function check_options(opt)
  count(opt.tasks, "--tasks", 1)
  count(opt.cpus_per_task, "--cpus-per-task", 0)
  if opt.gpus_per_task ~= 0 and opt.gpus_per_task ~= 1 then
    words.misused("submit: --gpus-per-task %s: a task works on one GPU -> --gpus-per-task 1 and more --tasks",
      opt.gpus_per_task)
  end
  for _, name in ipairs { "mem", "time", "partition", "account", "folder" } do plain(opt[name], "--" .. name) end
end

-- Where the script will put its results, as far as its name and arguments tell.
local function folder_of(script, rest)
  for i, word in ipairs(rest) do
    local out = word:match "^%-%-out=(.+)$" or word == "--out" and rest[i + 1]
    if out then return out:gsub("/+$", "") .. "/submit" end
  end
  return "out/" .. script:match("([^/]*)$"):gsub("%.lua$", "") .. "/submit"
end

-- The words that run the script: this binary, its own options, the script, its arguments.
local function command(job, opt)
  local list = { (shell "readlink /proc/$PPID/exe") }
  local threads = opt.cpus_per_task > 0
  for i = 1, #options.words do
    if options.words[i] == "submit" then break end
    list[#list + 1] = options.words[i]
    if options.words[i]:find "^%-%-threads" then threads = false end
  end
  if threads then
    list[#list + 1], list[#list + 2] = "--threads", tostring(opt.cpus_per_task)
  end
  list[#list + 1] = job.script
  for _, word in ipairs(job.args) do list[#list + 1] = word end
  for i, word in ipairs(list) do list[i] = quote(word) end
  return table.concat(list, " "), list[1]
end

local function header(job, opt, name, output)
  local lines = { "#!/bin/sh", "# Written by kvbench submit; " .. job.folder .. "/job.json says for what.",
    "#SBATCH --job-name=" .. name, "#SBATCH --requeue", "#SBATCH --ntasks=1", "#SBATCH --open-mode=append",
    ("#SBATCH --output=%s/%s"):format(job.folder, output), "#SBATCH --signal=B:TERM@60" }
  for _, option in ipairs { "gpus_per_task", "cpus_per_task", "mem", "time", "partition", "account" } do
    local value = opt[option]
    if value ~= 0 and value ~= "" then
      lines[#lines + 1] = ("#SBATCH --%s=%s"):format(option:gsub("_", "-"), value)
    end
  end
  return lines
end

-- The two scripts, as {name = text}.
local function files(job, opt)
  local name = "kvbench-" .. job.script:match("([^/]*)$"):gsub("%.lua$", ""):gsub("[^%w_.-]", "_")
  local run, binary = command(job, opt)
  local array = header(job, opt, name, "task-%a.txt")
  array[#array + 1] = ("#SBATCH --array=0-%d"):format(job.tasks - 1)
  array[#array + 1] = ("export KVBENCH_SHARD=\"$SLURM_ARRAY_TASK_ID/%d\""):format(job.tasks)
  array[#array + 1] = "unset KVBENCH_SHARD_SWEEP KVBENCH_GATHER"
  array[#array + 1] = "exec " .. run
  local finish = header(job, opt, name .. "-finish", "finish.txt")
  finish[#finish + 1] = "unset KVBENCH_SHARD"
  finish[#finish + 1] = ("KVBENCH_GATHER=%s/missing.json %s"):format(job.folder, run)
  finish[#finish + 1] = "status=$?"
  finish[#finish + 1] = ("[ $status = %d ] || exit $status"):format(pending.INCOMPLETE)
  finish[#finish + 1] = ("exec %s submit --again %s --unless-stuck"):format(binary, job.folder)
  return { ["array.sh"] = table.concat(array, "\n") .. "\n",
    ["finish.sh"] = job.finish and table.concat(finish, "\n") .. "\n" or nil }
end

local function submit(arguments)
  local out, status = shell("sbatch --parsable " .. arguments)
  local id = status == 0 and out:match "(%d+)[^\n]*$"
  if not id then error(("sbatch %s failed: %s"):format(arguments, out:gsub("\n", " ")), 0) end
  return id
end

-- Submits the scripts in job.folder and notes it in job.json.
local function start(job)
  job.round = (job.round or 0) + 1
  job.array = submit(job.folder .. "/array.sh")
  json.save(job.folder .. "/job.json", job)
  if job.finish then
    job.finish_job = submit(("--dependency=afterany:%s %s/finish.sh"):format(job.array, job.folder))
    json.save(job.folder .. "/job.json", job)
  end
  print(("submitted: array %s of %d tasks%s; output in %s"):format(job.array, job.tasks, job.finish_job
    and (", and job %s that merges and draws"):format(job.finish_job) or "", job.folder))
end

local function need_sbatch()
  if select(2, shell "command -v sbatch") == 0 then return end
  error("no sbatch on this machine -> submit where Slurm is, or see what would be submitted: --dry-run", 0)
end

-- What a script that was gathered misses, {complete, units_left}: has anything been done since `before`?
local function progress(now, before)
  if not before then return now.complete > 0 or now.units_left < now.units end
  return now.complete > before.complete or now.complete == before.complete and now.units_left < before.units_left
end

local function again(opt)
  local folder = opt.again:gsub("(.)/+$", "%1")
  if C.kvb_path_kind(folder .. "/job.json") ~= 1 then
    error(("'%s' holds no job.json -> the folder of a kvbench submit"):format(folder), 0)
  end
  local job = json.load(folder .. "/job.json")
  if opt.unless_stuck then
    local now = json.load(folder .. "/missing.json")
    if not progress(now, job.missing) then
      error(("%s: %d of %d work units are missing and array %s has done none of them -> %s/task-*.txt say why; then "
        .. "kvbench submit --again %s"):format(now.run, now.units_left, now.units, job.array, folder, folder), 0)
    end
    job.missing = now
  else
    job.missing = nil
  end
  need_sbatch()
  start(job)
end

--- `kvbench submit ...`.
function M.main(rest)
  local own, args = {}, nil
  for _, word in ipairs(rest) do
    if args then args[#args + 1] = word
    elseif word == "--" then args = {}
    else own[#own + 1] = word end
  end
  local names, opt = words.split(own, DEFAULTS, USAGE)
  if opt.again ~= "" then return again(opt) end
  if #names ~= 1 then
    words.misused("kvbench submit wants one script%s -> kvbench submit --help", #names > 1
      and ", got '" .. names[1] .. "' and '" .. names[2] .. "'; the script's own arguments go after --" or "")
  end
  check_options(opt)
  local script = names[1]
  if C.kvb_path_kind(script) ~= 1 and C.kvb_path_kind(paths.at(script)) ~= 1 then
    error(("no script '%s'%s"):format(script, C.kvb_path_kind(script) == 2 and ", that is a folder" or ""), 0)
  end
  require("kvbench.sandbox").check_script(C.kvb_path_kind(script) == 1 and script or paths.at(script), script)
  local folder = opt.folder ~= "" and opt.folder:gsub("(.)/+$", "%1") or folder_of(script, args or {})
  plain(folder, "--folder")
  local job = { script = script, args = setmetatable(args or {}, json.array), tasks = opt.tasks, folder = folder,
    finish = opt.finish }
  local texts = files(job, opt)
  if opt.dry_run then
    for _, name in ipairs { "array.sh", "finish.sh" } do
      if texts[name] then io.write("==> ", folder, "/", name, "\n", texts[name], "\n") end
    end
    print(("sbatch --parsable %s/array.sh"):format(folder))
    if job.finish then print(("sbatch --parsable --dependency=afterany:<its id> %s/finish.sh"):format(folder)) end
    return 0
  end
  need_sbatch()
  check(C.kvb_dir_make(folder))
  for name, text in pairs(texts) do check(C.kvb_file_write(folder .. "/" .. name, text, #text)) end
  start(job)
end

return M
