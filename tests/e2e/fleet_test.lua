-- SPDX-License-Identifier: Apache-2.0
-- A sweep on several engines: the same rows as on one, whatever becomes of a worker.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local t = require "kvbench.testing"

local ok, why = pcall(require("kvbench.registry").resolve, "smollm2")
if not ok then
  t.skip("sweeps on several engines", why)
  return
end

-- A worker whose share is DIES ends at once, the first time.
local script = process.write("sweep.lua", [[
  local kv = require "kvbench"
  local flag = io.open(arg[1] .. ".died")
  if os.getenv "KVBENCH_SHARD" == arg[2] and not flag then
    io.open(arg[1] .. ".died", "w"):close()
    print("lost its device")
    os.exit(9)
  end
  local run = kv.sweep { model = kv.model.load("smollm2", { dtype = "f32" }),
    dataset = kv.dataset("base", { size = 3 }),
    presses = { "knorm" }, ratios = { 0, .5 }, out = arg[1], max_new_tokens = 2, quiet = true }
  print(#run.rows .. " rows")
]])

local read = t.read

local function sweep(name, dies, ...)
  local out = process.folder .. "/" .. name
  local words = { ... }
  words[#words + 1], words[#words + 2], words[#words + 3] = script, out, dies
  local r = process.run(unpack(words))
  t.eq(r.status, 0, r.err)
  return read(out .. "/rows.csv"), r
end

local alone
t.case("two engines give the rows of one", function()
  alone = sweep("alone", "none")
  t.eq(sweep("two", "none", "--gpus", "cpu,cpu"), alone)
  t.eq(process.shell("ls two").out, "rows.csv\nrows.jsonl\nrun.json\nrun.sqlite\n")
end)

t.case("a worker that dies loses nothing", function()
  local rows, r = sweep("one_dies", "1/2", "--gpus", "cpu,cpu")
  t.eq(rows, alone)
  t.ok(r.err:find("exit status 9, lost its device %-> its passages go to the others"), r.err)
end)

t.case("shares started by hand are taken in by the next run", function()
  local out = process.folder .. "/by_hand"
  for share = 0, 1 do
    t.eq(process.shell(("KVBENCH_SHARD=%d/2 $K %s %s none </dev/null"):format(share, script, out)).status, 0)
  end
  t.eq(sweep("by_hand", "none"), alone)
end)

process.done()
