-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs VERB, and shares of a run that are started by hand as a scheduler would.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local json = require "kvbench.json"
local npy = require "kvbench.npy"
local t = require "kvbench.testing"

local script = process.write("sweep.lua", [[
  local kv, paths = require "kvbench", require "kvbench.paths"
  local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
  local run = kv.sweep { model = tiny.model(), dataset = tiny.data(5, 3), quiet = true,
    presses = { "knorm", "random_sinks" }, ratios = { 0, .5, .9 }, max_new_tokens = tonumber(arg[2] or 3),
    out = arg[1] }
  print(#run.rows .. " rows")
]])

local function read(path)
  local file = io.open(process.folder .. "/" .. path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function K(line) return process.shell("export OMP_NUM_THREADS=1; $K " .. line .. " </dev/null") end
local function good(line)
  local r = K(line)
  t.eq(r.status, 0, line .. ": " .. r.err .. r.out)
  return r.out
end

t.case("list and show", function()
  good(script .. " out/a")
  good(script .. " out/b 4")
  local listed = good "runs list"
  t.ok(listed:find "out/a +llama" and listed:find "out/b +llama" and listed:find "15 of 15 +75", listed)
  local lines = good "runs list out --json"
  t.eq(json.decode(lines:match "^[^\n]+").answers, 75)
  local shown = json.decode(good "runs show out/a --json")
  t.eq(shown.answers, 75)
  t.eq(shown.units_done, 15)
  t.eq(#shown.conditions, 5)
  t.eq(shown.conditions[1], { press = "full", ratio = 0, regime = "agnostic", variant = "", answers = 15 })
  t.eq(shown.sessions[1].outcome, "done")
  t.ok(shown.sessions[1].tier ~= nil and shown.sessions[1].fallbacks ~= nil and shown.manifest.model_hash ~= nil)
  t.ok(good "runs show out/a":find "eviction ledger: 10 entries")
  t.eq(K("runs show nowhere").status, 1)
  t.ok(K("runs show nowhere").err:find "no run in 'nowhere'")
  t.eq(K("runs shw out/a").status, 2)
end)

t.case("export gives the bytes of the sweep, and parts of them", function()
  good "runs export out/a --to a.csv"
  t.eq(read "a.csv", read "out/a/rows.csv")
  good "runs export out/a --to a.jsonl"
  t.eq(read "a.jsonl", read "out/a/rows.jsonl")
  local part = good [[runs export out/a --columns press,ratio,truncated --where "press = 'knorm' AND ratio > 0.6"]]
  local lines = {}
  for line in part:gmatch "[^\n]+" do lines[#lines + 1] = line end
  t.eq(#lines, 16)
  t.eq(lines[1], "press,ratio,truncated")
  t.ok(lines[2] == "knorm,0.9,true" or lines[2] == "knorm,0.9,false", lines[2])
  t.ok(K("runs export out/a --columns pres").err:find "no column 'pres' %-> did you mean 'press'?")
  t.ok(K("runs export out/a --where nonsense").err:find "no such column: nonsense")
  t.eq(K("runs export out/a --format xls").status, 2)
  good "runs export out/a --to a.npy --columns press,ratio,margin"
  local python = process.shell([[python3 -c "
import numpy
a = numpy.load('a.npy')
print(len(a), a.dtype.names, a['press'][0].decode(), a['ratio'].max(), a['margin'].min() >= 0)"]])
  if python.status == 0 then
    t.eq(python.out, "75 ('press', 'ratio', 'margin') full 0.9 True\n")
  else -- without NumPy: the format's first bytes and the size of the data
    local text = read "a.npy"
    local length = text:byte(9) + 256 * text:byte(10)
    t.eq({ text:sub(1, 8), (10 + length) % 64, #text - 10 - length }, { "\147NUMPY\1\0", 0, 75 * (12 + 16) })
  end
  t.fails(function() npy.read(process.folder .. "/a.npy") end, "not little%-endian f4 or f8") -- fields, no plain array
end)

t.case("diff", function()
  t.ok(good "runs diff out/a out/a":find "75 rows agree, 0 differ")
  local r = K "runs diff out/a out/b --json"
  t.eq(r.status, 1)
  local out = json.decode(r.out)
  t.eq(out.settings.max_new_tokens, { "3", "4" })
  t.eq(out.same + out.different, 75)
  t.ok(out.columns.tokens.rows > 0)
end)

t.case("shares by hand, watched, merged twice, with one that is missing", function()
  local function share(i) return process.shell(("KVBENCH_SHARD=%d/3 $K %s out/m </dev/null"):format(i, script)) end
  for _, i in ipairs { 2, 0 } do t.eq(share(i).status, 0) end
  local watched = K "runs watch out/m --once --json"
  t.eq(watched.status, 0, watched.err)
  local seen = {}
  for _, p in ipairs(json.decode(watched.out).processes) do seen[p.name] = { p.state, p.done, p.share } end
  t.eq(seen, { ["shard-0-of-3"] = { "done", 2, 2 }, ["shard-2-of-3"] = { "done", 1, 1 } })
  for round = 1, 2 do
    local r = K "runs merge out/m --json"
    t.eq(r.status, 1, r.err)
    local out = json.decode(r.out)
    t.eq({ out.parts, out.answers_new, out.answers, out.units_left }, { 2, round == 1 and 45 or 0, 45, 6 })
    t.eq(#out.missing, 5)
  end
  t.eq(read "out/m/rows.csv", nil)
  t.eq(share(1).status, 0)
  t.eq(share(1).status, 0) -- a task that is started again finds its work done
  t.ok(good "runs merge out/m --remove":find "complete")
  t.eq(read "out/m/rows.csv", read "out/a/rows.csv")
  t.ok(good "runs diff out/a out/m":find "75 rows agree, 0 differ, 0 only")
  t.eq(process.shell("ls out/m").out, "rows.csv\nrows.jsonl\nrun.json\nrun.sqlite\n")
  good "runs verify out/m"
end)

t.case("merging into a folder of its own, and runs that are not the same", function()
  t.ok(good "runs merge out/c out/a":find "75 new answers of 75; complete")
  t.eq(read "out/c/rows.csv", read "out/a/rows.csv")
  local r = K "runs merge out/c out/b"
  t.eq(r.status, 1)
  t.ok(r.err:find "holds another run: max_new_tokens was", r.err)
  t.ok(K("runs merge out/empty").err:find "holds no run and no shards")
end)

t.case("a store that is made for a merge is there when it is whole", function()
  local r = K "runs merge out/d out/a out/b"
  t.ok(r.err:find "^kvbench: [^\n]*holds another run: max_new_tokens was[^\n]*\n$", r.err)
  t.eq(process.shell("ls out/d").status, 2) -- not even a folder
  -- killed
  process.shell "mkdir out/d && cd out/d && echo x > run.sqlite.merging && echo x > run.sqlite.merging-journal"
  t.ok(good "runs merge out/d out/a":find "75 new answers of 75; complete")
  t.eq(process.shell("ls out/d").out, "rows.csv\nrows.jsonl\nrun.json\nrun.sqlite\n")
  good "runs verify out/d"
  -- stores whose processes were killed before they began: nothing is in them, and nothing is lost
  process.shell "mkdir -p out/e/shard-0-of-2 && : > out/e/run.sqlite && : > out/e/shard-0-of-2/run.sqlite"
  t.ok(K("runs merge out/e").err:find "holds no run and no shards")
  process.shell "cp -r out/a out/e/shard-1-of-2"
  t.ok(good "runs merge out/e":find "2 parts, 75 new answers of 75; complete")
  t.ok(K("runs merge out/f out/e/shard-0-of-2").err:find "no run")
  -- killed at any moment, it is made by the next
  for i = 1, 6 do
    process.shell("rm -rf out/d; timeout -s KILL " .. .02 * i .. " $K runs merge out/d out/a </dev/null")
    local there = process.shell("ls out/d/run.sqlite").status == 0
    t.ok(good "runs merge out/d out/a":find((there and "%d+" or "75") .. " new answers of 75; complete"))
    good "runs verify out/d"
  end
end)

t.case("prune", function()
  t.eq(K("runs prune out/c").status, 2)
  t.ok(good "runs prune out/c --ledger --exports":find "freed")
  t.eq(read "out/c/rows.csv", nil)
  t.ok(good "runs verify out/c":find "0 values follow from the ledger")
  good(script .. " out/c") -- the exports come back
  t.eq(read "out/c/rows.csv", read "out/a/rows.csv")
  process.write("out/c/mine.txt", "mine")
  good "runs prune out/c --all"
  t.eq(process.shell("ls out/c").out, "mine.txt\n")
end)

process.done()
