-- SPDX-License-Identifier: Apache-2.0
-- What can be typed wrong at kvbench runs, submit, bench store and a shard by hand: one line that says what, and the
-- exit status 2 for what was not understood, 1 for what could not be done. Nothing is written or changed.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local t = require "kvbench.testing"

local root = require("kvbench.paths").at "tests/lua/stores/version-1"
process.shell(("cp -r %s a && cp -r a b && mkdir empty made && touch file.txt"):format(root))
process.write("s.lua", "print(1)")

local function state() return process.shell("find . -type f ! -name '.*' | sort | xargs md5sum; ls").out end

-- Runs kvbench with the words of a line; it must end with that status and one line that matches.
local function refused(status, line, pattern)
  local before = state()
  local r = process.shell(("timeout 60 env %s </dev/null"):format(line:find "%$K" and line or "$K " .. line))
  t.eq(r.status, status, line .. ": " .. r.err .. r.out)
  t.ok(r.err:find("^kvbench: [^\n]+\n$") and r.err:find(pattern), line .. ": " .. r.err)
  t.eq(r.out, "", line)
  t.eq(state(), before, line .. " left something behind")
end

t.case("kvbench runs", function()
  refused(2, "runs", "wants a verb")
  refused(2, "runs shwo a", "no command 'runs shwo' %-> did you mean 'show'")
  refused(2, "runs show", "wants one run's folder")
  refused(2, "runs show a b", "wants one run's folder")
  refused(1, "runs show /nowhere", "no run in '/nowhere'")
  refused(1, "runs show empty", "no run in 'empty'")
  refused(1, "runs show a/run.sqlite", "'a/run.sqlite' is a file, a run is a folder")
  refused(1, "runs list /nowhere", "/nowhere")
  refused(1, "runs list file.txt", "Not a directory")
  refused(2, "runs diff a", "wants two runs' folders")
  refused(1, "runs diff a /nowhere", "no run in '/nowhere'")
  refused(2, "runs diff a b --limit x", "%-%-limit wants a number, got 'x'")
  refused(2, "runs diff a b --limit -1", "%-%-limit %-1 %-> a whole number")
  refused(1, "runs verify /dev/null", "'/dev/null' is a file, a run is a folder")
  refused(1, "runs verify file.txt", "'file.txt' is a file")
  refused(2, "runs verify a --ledgr", "unknown parameter '%-%-ledgr'")
  refused(2, "runs watch", "wants one run's folder")
  refused(1, "runs watch /nowhere", "no folder '/nowhere'")
  refused(1, "runs watch empty", "no run, no shards and no submitted job")
  refused(1, "runs watch file.txt", "no folder 'file.txt'")
  refused(2, "runs watch a --every 0", "%-%-every 0 %-> seconds, more than 0")
  refused(2, "runs prune", "wants one run's folder")
  refused(2, "runs prune a", "nothing to remove was named")
  refused(1, "runs prune /nowhere --all", "no run in '/nowhere'")
  refused(1, "runs prune empty --all", "no run in 'empty'")
  refused(2, "runs prune a --everything", "unknown parameter '%-%-everything'")
end)

t.case("a run differs from itself in nothing", function()
  local r = process.run("runs", "diff", "a", "a")
  t.eq({ r.status, r.err }, { 0, "" })
  t.ok(r.out:find "28 rows agree, 0 differ")
end)

t.case("kvbench runs export", function()
  refused(2, "runs export", "wants one run's folder")
  refused(2, "runs export a --format xml", "%-%-format 'xml' is unknown %-> one of: csv, jsonl, npy")
  refused(2, "runs export a --to x.xml", "%-%-format 'xml' is unknown")
  refused(2, "runs export a --columns ,", "names no column")
  refused(1, "runs export a --columns pres", "no column 'pres' %-> did you mean 'press'")
  refused(1, "runs export a --where 'DROP TABLE x'", "syntax error")
  refused(1, "runs export a --where '1; DELETE FROM answers'", "a ';' in a query")
  refused(2, "runs export a --format csv --to a/run.sqlite", "is there and no export")
  refused(2, "runs export a --format csv --to b/run.json", "is there and no export")
  refused(2, "runs export a --format csv --to ./a/../a/run.json", "is there and no export")
  refused(1, "runs export a --to empty", "'empty': it exists and is not a file")
  refused(1, "runs export a --to /dev/full", "'/dev/full': it exists and is not a file")
  refused(1, "runs export a --to file.txt/x.csv", "'file.txt/x.csv': Not a directory")
  local r = process.shell "$K runs export a --to a2.csv && $K runs export b --to a2.csv && cmp a2.csv a/rows.csv"
  t.eq(r.status, 0, r.err) -- an export replaces an export
end)

t.case("kvbench runs merge", function()
  refused(2, "runs merge", "wants the run's folder")
  refused(1, "runs merge empty", "holds no run and no shards")
  refused(1, "runs merge new", "holds no run and no shards")
  refused(2, "runs merge a a", "'a' is the run itself")
  refused(2, "runs merge a empty/../a", "'empty/../a' is the run itself")
  refused(1, "runs merge a /nowhere", "no run in '/nowhere'")
  refused(1, "runs merge new a file.txt", "'file.txt' is a file")
  refused(1, "runs merge file.txt a", "'file.txt' exists and is not a folder")
  refused(1, "runs merge new empty", "no run in 'empty'")
end)

t.case("kvbench submit", function()
  refused(2, "submit", "wants one script")
  refused(1, "submit none.lua --tasks 2", "no script 'none.lua'")
  refused(1, "submit empty --tasks 2", "no script 'empty', that is a folder")
  refused(2, "submit s.lua b.lua --tasks 2", "wants one script, got 's.lua' and 'b.lua'")
  refused(2, "submit s.lua", "%-%-tasks 0 %-> a whole number from 1")
  refused(2, "submit s.lua --tasks 0", "%-%-tasks 0 %-> a whole number from 1")
  refused(2, "submit s.lua --tasks x", "%-%-tasks wants a number, got 'x'")
  refused(2, "submit s.lua --tasks -1", "%-%-tasks %-1 %-> a whole number from 1")
  refused(2, "submit s.lua --tasks 1.5", "%-%-tasks 1.5 %-> a whole number from 1")
  refused(2, "submit s.lua --tasks 2 --gpus-per-task 3", "a task works on one GPU")
  refused(2, "submit s.lua --tasks 2 --gpus-per-task x", "%-%-gpus%-per%-task wants a number")
  refused(2, "submit s.lua --tasks 2 --time '1 day'", "%-%-time '1 day' %-> letters")
  refused(2, "submit s.lua --task 2", "unknown parameter '%-%-task' %-> did you mean '%-%-tasks'")
  refused(2, "submit --again", "%-%-again wants a value\n")
  refused(1, "submit --again empty", "holds no job.json")
  process.shell "mkdir -p bin && ln -sf $(command -v sh) bin/sh && ln -sf $(command -v readlink) bin/readlink"
  refused(1, "PATH=bin $K submit s.lua --tasks 2", "no sbatch on this machine %-> submit where Slurm is")
  process.write("bin/sbatch", "#!/bin/sh\necho 'sbatch: error: Job submission failed: Invalid job array' >&2\nexit 1\n")
  process.shell "chmod +x bin/sbatch"
  refused(1, "PATH=bin:$PATH $K submit s.lua --tasks 2 --folder file.txt", "'file.txt' exists and is not a folder")
  refused(1, "PATH=bin:$PATH $K submit s.lua --tasks 2 --folder /proc/sub", "/proc/sub")
  local r = process.shell "PATH=bin:$PATH $K submit s.lua --tasks 2 --folder made </dev/null"
  t.eq(r.status, 1)
  t.ok(r.err:find "^kvbench: sbatch made/array.sh failed: [^\n]*Invalid job array[^\n]*\n$", r.err)
end)

t.case("a shard by hand, and kvbench bench store", function()
  process.write("sweep.lua", [[
    local kv, paths = require "kvbench", require "kvbench.paths"
    local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
    kv.sweep { model = tiny.model(), dataset = tiny.data(1, 1), presses = { "knorm" }, ratios = { .5 }, quiet = true,
      out = "shared" }]])
  for _, shard in ipairs { "3/2", "2/2", "-1/2", "x", "1/0", "1", "0.5/2", "0/1e9x" } do
    refused(1, ("KVBENCH_SHARD=%s $K sweep.lua"):format(shard), "KVBENCH_SHARD is '[^']+', expected i/n with i from 0")
  end
  refused(2, "bench store --answers 0", "%-%-answers 0 %-> a whole number from 1")
  refused(2, "bench store --answers 1.5", "%-%-answers 1.5 %-> a whole number from 1")
  refused(2, "bench store --shards -1", "%-%-shards %-1 %-> a whole number from 0")
  refused(2, "bench store --shards x", "%-%-shards wants a number, got 'x'")
  refused(2, "bench store --large -5", "%-%-large %-5 %-> a whole number from 0")
  refused(2, "bench store --folder empty", "'empty' is there already")
end)

process.done()
