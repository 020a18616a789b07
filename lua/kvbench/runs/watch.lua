-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs watch: how far the processes of a run are, and which have failed, from the progress files they leave and
-- from what Slurm says of their tasks. Works from another machine: nobody's store is opened while it is written to.
local library = require "kvbench.ffi"
local progress_file = require "kvbench.sweep.progress_file"
local runs = require "kvbench.runs"
local shards = require "kvbench.sweep.shards"
local slurm = require "kvbench.runs.slurm"
local text = require "kvbench.text"
local words = require "kvbench.words"
local C = library.C

local USAGE = [==[
kvbench runs watch RUN [--every SECONDS] [--once] [--json]
One line a process (the run's own, and each shard's): passages done of its share, answers, answers a second, when it
last wrote, and its state; one that wrote nothing for a minute is called silent. Of a run that kvbench submit started,
also what Slurm says of each task (pending, running, failed, node_fail, ...), asked at most every ten seconds. Ends when
nobody works on it any more; exit status 1 when one has failed. --once: looks once.]==]

local SILENT = 60

local function seconds_since(file)
  local y, mo, d, h, mi, s = tostring(file.updated):match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$"
  if not y then return 0 end
  local stamp = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s, isdst = false }
  return math.max(0, os.time(os.date "!*t") - stamp)
end

local function number(value) return tonumber(value) or 0 end

-- What a process said last, from its folder: {name, state, done, share, answers, rate, age}; nil without a word.
local function word_of(name, path)
  local file = progress_file.read(path)
  if not file then return nil end
  local age, seconds = seconds_since(file), number(file.seconds)
  local state = tostring(file.state)
  if state == "running" and age > SILENT then state = "silent" end
  return { name = name, state = state, done = number(file.done_here), share = number(file.share),
    answers = number(file.answers_here), age = age, pid = file.pid, host = file.host,
    rate = seconds > 0 and number(file.answers_here) / seconds or 0 }
end

local function unheard(name, state) return { name = name, state = state, done = 0, share = 0, answers = 0, age = 0 } end

-- What Slurm says decides where it knows better: a process that was killed has left "running" behind.
local function with_task(p, task)
  p.slurm, p.reason, p.node, p.restarts = task.state:lower(), task.reason, task.node, task.restarts
  if p.state == "done" then return end
  if task.state == "PENDING" then p.state = "waiting"
  elseif not task.busy and (task.state ~= "COMPLETED" or p.state == "running" or p.state == "silent") then
    p.state = "failed"
  end
end

--- What every process of a run said last.
local function look(folder, tasks)
  local list, seen = {}, {}
  list[1] = word_of("run", folder)
  for _, shard in ipairs(shards.folders(folder)) do
    local name = shard:match "[^/]+$"
    local stored = C.kvb_path_kind(shard .. "/run.sqlite") == 1
    local p = word_of(name, shard) or unheard(name, stored and "begun" or "waiting")
    local i, n = name:match "^shard%-(%d+)%-of%-(%d+)$"
    local task = tasks and tonumber(n) == tasks.count and tasks.tasks[tonumber(i)]
    if task then
      seen[tonumber(i)] = true
      with_task(p, task)
    end
    list[#list + 1] = p
  end
  for i = 0, tasks and tasks.count - 1 or -1 do
    local task = tasks.tasks[i]
    if task and not seen[i] and task.state ~= "COMPLETED" then -- merged already, or no folder yet
      local p = unheard(("shard-%d-of-%d"):format(i, tasks.count), "waiting")
      with_task(p, task)
      list[#list + 1] = p
    end
  end
  if tasks and tasks.finish then
    local p = unheard("merge and draw", tasks.finish.busy and "waiting" or "done")
    with_task(p, tasks.finish)
    if tasks.finish.state == "RUNNING" then p.state = "running" end
    list[#list + 1] = p
  end
  return list
end

local function merged(folder)
  if C.kvb_path_kind(folder .. "/run.sqlite") ~= 1 then return 0, 0 end
  return runs.with(folder, function(db)
    return db:row "SELECT COALESCE(SUM(state = 'done'), 0), COUNT(*) FROM units"
  end)
end

-- A task as one cell: its state, why it waits or where it is, how often it was started again.
local function in_slurm(p)
  if not p.slurm then return "" end
  local about = p.slurm == "running" and p.node or p.reason
  return p.slurm .. (about and " (" .. about .. ")" or "")
    .. (number(p.restarts) > 0 and (", started again %d times"):format(p.restarts) or "")
end

local function show(folder, list)
  local rows = { { "process", "passages", "answers", "a second", "last word", "state" } }
  for _, p in ipairs(list) do
    if p.slurm then rows[1][7] = "in Slurm" end
    rows[#rows + 1] = { p.name, ("%d of %d"):format(p.done, p.share), tostring(p.answers),
      ("%.1f"):format(p.rate or 0), p.age > 0 and text.duration(p.age) .. " ago" or "now", p.state, in_slurm(p) }
  end
  local done, units = merged(folder)
  print(("%s: %d of %d work units are in its store"):format(folder, done, units))
  if #list > 0 then print(text.columns(rows, "  ")) end
end

return function(rest)
  local names, opt = words.split(rest, { every = 2, once = false, json = false }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs watch wants one run's folder -> kvbench runs list") end
  if C.kvb_path_kind(names[1]) ~= 2 then error(("no folder '%s' -> kvbench runs list"):format(names[1]), 0) end
  local run = names[1]
  if C.kvb_path_kind(run .. "/run.sqlite") ~= 1 and #shards.folders(run) == 0 and not slurm.job(run) then
    error(("'%s' holds no run, no shards and no submitted job -> kvbench runs list"):format(run), 0)
  end
  if opt.every <= 0 then words.misused("runs watch: --every %s -> seconds, more than 0", opt.every) end
  local ask = slurm.watcher(names[1])
  while true do
    local list = look(names[1], ask())
    local busy, failed = false, false
    for _, p in ipairs(list) do
      busy = busy or p.state == "running" or p.state == "waiting" or p.state == "begun"
      failed = failed or p.state == "failed" or p.state == "silent"
    end
    if opt.json then
      local done, units = merged(names[1])
      print(require("kvbench.json").encode { run = names[1], units_done = done, units = units, processes = list })
    else
      show(names[1], list)
    end
    if opt.once or not busy then return failed and 1 or 0 end
    if C.kvb_cancelled() ~= 0 then return 0 end
    C.kvb_sleep(math.max(.1, opt.every))
  end
end
