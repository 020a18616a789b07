-- SPDX-License-Identifier: Apache-2.0
-- A run that is stopped in every way we know of goes on where it was and ends with the same bytes; so does one whose
-- folder is
-- shared, full, read-only, or whose clock jumps. KVBENCH_KILLS: how often it is killed (default 40; 200 for the full
-- test).
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local C = require("kvbench.ffi").C
local process = dofile(here .. "/process.lua")
local rng = require "kvbench.rng"
local t = require "kvbench.testing"

-- A sweep of some seconds that stores every few hundredths of one: a kill finds it inside a passage.
local script = process.write("sweep.lua", [[
  local kv, paths = require "kvbench", require "kvbench.paths"
  local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
  require("kvbench.sweep.run").tick_seconds = .02
  local run = kv.sweep { model = tiny.model(), dataset = tiny.data(tonumber(arg[2] or 6), 8), group = 1, quiet = true,
    presses = { "knorm", { press = "snapkv", window_size = 16 }, "random_sinks" }, ratios = { 0, .3, .5, .7, .9 },
    max_new_tokens = 12, ignore_stop = true, out = arg[1] }
  print(#run.rows .. " rows")
]])

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function at(name) return process.folder .. "/" .. name end
local function rows_of(folder)
  return (read(folder .. "/rows.csv") or "none") .. (read(folder .. "/rows.jsonl") or "none")
end

-- The command line of the sweep, as a shell line.
local function command(folder) return ("env OMP_NUM_THREADS=1 $K %s %s"):format(script, folder) end

local whole, seconds
t.case("an uninterrupted run", function()
  local started = C.kvb_time()
  local r = process.shell(command(at "whole") .. " </dev/null")
  seconds = C.kvb_time() - started
  t.eq(r.status, 0, r.err)
  whole = rows_of(at "whole")
  t.ok(#whole > 10000)
  r = process.shell(("$K runs verify %s"):format(at "whole"))
  t.eq(r.status, 0, r.out)
end)

-- Starts the sweep in the folder, sends a signal after `delay` seconds; returns what process.shell does, with the
-- status of
-- the sweep.
local function stopped(folder, signal, delay)
  return process.shell(("%s </dev/null & pid=$!; sleep %.3f; kill -%s $pid 2>/dev/null; wait $pid"):format(
    command(folder), delay, signal))
end

t.case("killed at random moments", function()
  local kills, wanted, r = 0, tonumber(os.getenv "KVBENCH_KILLS") or 40, rng.new "kill -9"
  local folder, number, inside, finished = at "killed-1", 1, 0, 0
  while kills < wanted do
    local result = stopped(folder, "KILL", r:uniform() * seconds * 1.1)
    if result.status == 0 then
      t.ok(rows_of(folder) == whole, ("run %d differs after %d kills"):format(number, kills))
      finished, number = finished + 1, number + 1
      folder = at("killed-" .. number)
    else
      t.eq(result.status, 137, result.err)
      kills = kills + 1
      local shown = process.shell(("$K -e 'local kv = require \"kvbench\"; kv.runs.with(\"%s\", function(db) "
        .. "print(db:row \"SELECT COUNT(*) > (SELECT COALESCE(SUM(answers), 0) FROM units) FROM answers\") end)' "
        .. "</dev/null"):format(folder))
      if shown.out == "1\n" then inside = inside + 1 end
    end
  end
  local last = process.shell(command(folder) .. " </dev/null")
  t.eq(last.status, 0, last.err)
  t.ok(rows_of(folder) == whole, "the last run differs")
  local verified = process.shell(("$K runs verify %s"):format(folder))
  t.eq(verified.status, 0, verified.out)
  t.ok(wanted < 20 or inside >= wanted / 20, ("only %d of %d kills came inside a passage"):format(inside, kills))
end)

t.case("no variable of the environment is in any byte of a run, its journal included", function()
  local folder = at "secrets"
  local line = "env OPENAI_API_KEY=k3y-0f-th3-t3st HF_TOKEN=k3y-0f-th3-t3st KVB_ANY=k3y-0f-th3-t3st "
    .. command(folder) .. " </dev/null"
  local r = process.shell(("%s & pid=$!; until [ -s %s/run.sqlite-wal ] || ! kill -0 $pid; do sleep .02; done; "
    .. "sleep .05; kill -9 $pid; wait $pid; ls %s"):format(line, folder, folder))
  t.ok(r.out:find "run.sqlite%-wal", r.out) -- killed amid its work
  local function found() return process.shell(("grep -rla k3y-0f %s"):format(folder)).out end
  t.eq(found(), "")
  r = process.shell(line .. "; $K runs show " .. folder .. "; $K runs verify " .. folder)
  t.eq(r.status, 0, r.err)
  t.ok(not (r.out .. r.err):find("k3y-0f", 1, true))
  t.eq(found(), "")
  t.eq(process.shell(("printf 'x\\0k3y-0f' >%s/there; grep -rla k3y-0f %s"):format(folder, folder)).out,
    folder .. "/there\n") -- and the search finds what is there
end)

t.case("Ctrl-C and SIGTERM end it in order, and it goes on", function()
  for signal, status in pairs { INT = 130, TERM = 143 } do
    local folder, number, told = at(signal), 0, 0
    repeat
      number = number + 1
      if C.kvb_path_kind(folder .. "/rows.csv") ~= 0 then os.execute("rm -r " .. folder) end
      local r = stopped(folder, signal, seconds * (.3 + number % 8 * .1))
      if r.status ~= 0 then
        t.eq(r.status, status, signal .. ": " .. r.err)
        local text = signal == "INT" and "interrupted" or "terminated"
        local line = "kvbench: " .. text .. ": %d of 6 passages are done and stored in .* run the same command to go on"
        if r.err:find(line) then told = told + 1 end
        -- before the sweep has begun, and after it, there is nothing to tell
        t.ok(r.err:find(line) or r.err:find "^kvbench: interrupted" or r.err:find "^Terminated", r.err)
        t.eq(C.kvb_path_kind(folder .. "/run.lock"), 0)
      end
    until told > 1 or number == 30
    t.ok(told > 0, signal .. " never came while the sweep ran")
    local r = process.shell(command(folder) .. " </dev/null")
    t.eq(r.status, 0, r.err)
    t.ok(rows_of(folder) == whole, signal)
  end
end)

t.case("two processes on one run: one waits, both end with it", function()
  local folder = at "shared"
  local r = process.shell(("%s >one 2>one.err </dev/null & first=$!; "
    .. "until [ -e %s/run.lock ] || ! kill -0 $first; do sleep .01; done 2>/dev/null; "
    .. "%s >two 2>two.err </dev/null; second=$?; wait $first; echo $? $second"):format(command(folder), folder,
    command(folder)))
  t.eq(r.out, "0 0\n", read(at "one.err") .. read(at "two.err"))
  t.eq(read(at "one"), read(at "two"))
  t.ok((read(at "one.err") .. read(at "two.err")):find "waiting: process %d+ works on the run in", "nobody waited")
  t.ok(rows_of(folder) == whole)
end)

t.case("a process that waits takes over when the first is killed", function()
  local folder = at "taken"
  local r = process.shell(("%s >/dev/null 2>&1 </dev/null & first=$!; sleep %.2f; (sleep %.2f; kill -9 $first) & "
    .. "%s </dev/null"):format(command(folder), seconds * .3, seconds * .3, command(folder)))
  t.eq(r.status, 0, r.err)
  t.ok(rows_of(folder) == whole)
end)

-- A small file system of our own, where root may mount one.
local function mounted(name, size, fn)
  local folder = at((name:gsub("%W", "_")))
  local r = process.shell(("mkdir -p %s && mount -t tmpfs -o size=%s kvbench-test %s"):format(folder, size, folder))
  if r.status ~= 0 then return t.skip(name, "a small file system cannot be mounted here: " .. r.err:gsub("\n", " ")) end
  t.case(name, function()
    local ok, err = pcall(fn, folder)
    process.shell(("umount %s"):format(folder))
    if not ok then error(err, 0) end
  end)
end

mounted("a full disk", "200k", function(folder)
  for _, size in ipairs { "200k", "400k", "700k" } do
    process.shell(("mount -o remount,size=%s %s"):format(size, folder))
    local r = process.shell(command(folder .. "/run") .. " </dev/null")
    t.eq(r.status, 1, r.err)
    t.ok(r.err:find "^kvbench: cannot [^\n]+ %-> free some space[^\n]*\n$", size .. ": " .. r.err)
  end
  process.shell(("mount -o remount,size=50m %s"):format(folder))
  local r = process.shell(command(folder .. "/run") .. " </dev/null")
  t.eq(r.status, 0, r.err)
  t.ok(rows_of(folder .. "/run") == whole)
end)

mounted("a full disk while a store is merged", "100k", function(folder)
  process.shell(command(at "part") .. " </dev/null")
  local merge = ("$K runs merge %s/merged %s </dev/null"):format(folder, at "part")
  for _, size in ipairs { "100k", "240k", "300k" } do
    process.shell(("mount -o remount,size=%s %s"):format(size, folder))
    local r = process.shell(merge)
    t.eq(r.status, 1, r.err)
    t.ok(r.err:find "^kvbench: cannot write [^\n]+ %-> free some space[^\n]*\n$", size .. ": " .. r.err)
    t.eq(process.shell("ls " .. folder).out, "") -- nothing half made
  end
  process.shell(("mount -o remount,size=50m %s"):format(folder))
  t.eq(process.shell(merge).status, 0)
  t.ok(rows_of(folder .. "/merged") == whole)
end)

mounted("a folder that may only be read", "50m", function(folder)
  local r = process.shell(("cp -r %s %s/whole && cp -r %s %s/part && rm %s/part/rows.*"):format(at "whole", folder,
    at "whole", folder, folder))
  t.eq(r.status, 0, r.err)
  r = process.shell(("$K -e 'local kv = require \"kvbench\"; kv.runs.with(\"%s/part\", function(db) "
    .. "db:run \"DELETE FROM units WHERE passage = 2; INSERT INTO units (passage, block) VALUES (2, \\\"full\\\")\" "
    .. "end, \"write\")'"):format(folder))
  t.eq(r.status, 0, r.err)
  process.shell(("mount -o remount,ro %s"):format(folder))
  r = process.shell(command(folder .. "/whole") .. " </dev/null")
  t.eq(r.status, 0, r.err) -- nothing is left to do: the rows are read
  t.eq(process.shell(("$K runs verify %s/whole"):format(folder)).status, 0)
  r = process.shell(command(folder .. "/part") .. " </dev/null")
  t.eq(r.status, 1)
  local line = "^kvbench: cannot lock '.*run.lock': Read%-only file system %-> choose a folder you may write to\n$"
  t.ok(r.err:find(line), r.err)
end)

local clock = process.write("clock.c", [[
  #include <stdlib.h>
  #include <sys/time.h>
  #include <time.h>
  /* Every look at the time of day is up to a year off, into the past or the future. */
  static long jump(void) { return random() % 63072000L - 31536000L; }
  time_t time(time_t *out) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    time_t now = 1700000000 + t.tv_sec + jump(); if (out) *out = now; return now; }
  int gettimeofday(struct timeval *out, void *zone) { (void)zone; out->tv_sec = time(0);
    out->tv_usec = random() % 1000000; return 0; }
]])
if os.getenv "KVB_SANITIZED" == "1" then
  t.skip("a clock that jumps", "a sanitizer's runtime must be the first library, the clock's comes before it")
elseif process.shell(("cc -shared -fPIC -o clock.so %s"):format(clock)).status ~= 0 then
  t.skip("a clock that jumps", "no C compiler")
else
  t.case("a clock that jumps", function()
    local folder = at "clock"
    local line = ("env LD_PRELOAD=%s %s </dev/null"):format(at "clock.so", command(folder))
    local r = process.shell(("%s & pid=$!; sleep %.2f; kill -9 $pid; wait $pid; %s"):format(line, seconds * .7, line))
    t.eq(r.status, 0, r.err)
    t.ok(rows_of(folder) == whole)
  end)
end

process.done()
