-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs watch: how far the processes of a run are, and which have failed, from the progress files they leave.
-- Works
-- from another machine: nobody's store is opened while it is written to.
local library = require "kvbench.ffi"
local progress_file = require "kvbench.sweep.progress_file"
local runs = require "kvbench.runs"
local shards = require "kvbench.sweep.shards"
local text = require "kvbench.text"
local words = require "kvbench.words"
local C = library.C

local USAGE = [==[
kvbench runs watch RUN [--every SECONDS] [--once] [--json]
One line a process (the run's own, and each shard's): passages done of its share, answers, answers a second, when it
last
wrote, and its state; one that wrote nothing for a minute is called silent. Ends when nobody works on it any more; exit
status 1 when one has failed. --once: looks once.]==]

local SILENT = 60

local function seconds_since(file)
  local y, mo, d, h, mi, s = tostring(file.updated):match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$"
  if not y then return 0 end
  local stamp = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s, isdst = false }
  return math.max(0, os.time(os.date "!*t") - stamp)
end

--- What every process of a run said last: list of {name, state, done, share, answers, rate, age}.
local function look(folder)
  local list = {}
  local function add(name, path)
    local file = progress_file.read(path)
    local stored = C.kvb_path_kind(path .. "/run.sqlite") == 1
    if not file then
      if path ~= folder then
        list[#list + 1] = { name = name, state = stored and "begun" or "waiting", done = 0, share = 0, answers = 0,
          age = 0 }
      end
      return
    end
    local age = seconds_since(file)
    local state = file.state
    if state == "running" and age > SILENT then state = "silent" end
    list[#list + 1] = { name = name, state = state, done = file.done_here or 0, share = file.share or 0,
      answers = file.answers_here or 0, age = age, pid = file.pid, host = file.host,
      rate = file.seconds and file.seconds > 0 and (file.answers_here or 0) / file.seconds or 0 }
  end
  add("run", folder)
  for _, shard in ipairs(shards.folders(folder)) do add(shard:match "[^/]+$", shard) end
  return list
end

local function merged(folder)
  if C.kvb_path_kind(folder .. "/run.sqlite") ~= 1 then return 0, 0 end
  return runs.with(folder, function(db)
    return db:row "SELECT COALESCE(SUM(state = 'done'), 0), COUNT(*) FROM units"
  end)
end

local function show(folder, list)
  local rows = { { "process", "passages", "answers", "a second", "last word", "state" } }
  for _, p in ipairs(list) do
    rows[#rows + 1] = { p.name, ("%d of %d"):format(p.done, p.share), tostring(p.answers),
      ("%.1f"):format(p.rate or 0), p.age > 0 and text.duration(p.age) .. " ago" or "now", p.state }
  end
  local done, units = merged(folder)
  print(("%s: %d of %d work units are in its store"):format(folder, done, units))
  if #list > 0 then print(text.columns(rows, "  ")) end
end

return function(rest)
  local names, opt = words.split(rest, { every = 2, once = false, json = false }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs watch wants one run's folder -> kvbench runs list") end
  if C.kvb_path_kind(names[1]) ~= 2 then error(("no folder '%s' -> kvbench runs list"):format(names[1]), 0) end
  while true do
    local list = look(names[1])
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
