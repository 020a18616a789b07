-- SPDX-License-Identifier: Apache-2.0
-- What seed A suggested, tested once on seed B: the hypotheses of experiments/confirmatory.lua
--
-- Reads the table of each experiment that a hypothesis needs from OUT/<experiment>; --run computes those that are not
-- there (the lot takes as long as the causal scripts), else they are "cannot tell" and the command is named. The named
-- effects are judged with Holm's correction over all hypotheses. p: sign-flip over passages where the table has one,
-- else from the interval by the normal distribution. A hypothesis whose gate is closed or whose row is missing counts
-- with p = 1 and is "cannot tell".
local judge = require "kvbench.causal.confirm"
local json = require "kvbench.json"
local kv = require "kvbench"
local paths = require "kvbench.paths"

local e = kv.experiment { name = "confirm", title = "Confirmation on another seed", options = { seed = "B", run = false,
  list = "experiments/confirmatory.lua", sweeps = "", presses = false, ratios = false, evictable = false,
  style = false },
  docs = { run = "the experiments that have no result yet", list = "of hypotheses",
    sweeps = "folder of rows that scripts share (default OUT/sweeps)" } }
local opt = e.opt
local list = judge.check(dofile(paths.at(opt.list)))

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read "*a"
  file:close()
  return content
end

-- The result of an experiment: {experiment = result.json, rows = {[condition] = row}}.
local function result_of(name)
  local folder = opt.out .. "/" .. name
  if not read(folder .. "/result.json") then
    if not opt.run then return nil end
    print(("\n== %s, seed %s"):format(name, opt.seed))
    local words = { [0] = paths.at("experiments/" .. name .. ".lua"), "--seed", opt.seed, "--out", folder, "--model",
      opt.model, "--sweeps", opt.sweeps ~= "" and opt.sweeps or opt.out .. "/sweeps" }
    if opt.passages > 0 then words[#words + 1], words[#words + 2] = "--passages", tostring(opt.passages) end
    rawset(_G, "arg", words)
    dofile(words[0])
  end
  local result = json.decode(read(folder .. "/result.json"), folder .. "/result.json")
  if result.options.seed ~= opt.seed then
    error(("'%s' was run with seed %s, not %s -> another --out"):format(folder, result.options.seed, opt.seed), 0)
  end
  return { gate = judge.gate_of(result), rows = judge.read_table(read(folder .. "/" .. name .. ".csv") or "") }
end

local results, judged = {}, {}
for _, h in ipairs(list) do
  if results[h.experiment] == nil then results[h.experiment] = result_of(h.experiment) or false end
  judged[#judged + 1] = judge.one(h, results[h.experiment] or nil)
  judged[#judged].experiment = h.experiment
end
judge.holm(judged)

e:table("confirm", { "id", "status", "estimate", "lo", "hi", "p", "p_holm", "n", "passages", "claim", "note" }, judged,
  ("Seed %s, %d hypotheses, Holm at .05"):format(opt.seed, #judged))
local missing = 0
for _, j in ipairs(judged) do
  if results[j.experiment] then
    e:verdict(j.status, judge.line(j):match "^[^:]+: (.*)$")
  else
    missing = missing + 1
  end
end
if missing > 0 then
  e:verdict("cannot tell", ("%d of %d hypotheses were not run on seed %s -> kvbench experiments/confirm.lua --run "
    .. "--seed %s --out %s"):format(missing, #judged, opt.seed, opt.seed, opt.out))
end
e:finish()
