-- SPDX-License-Identifier: Apache-2.0
-- What seed A suggested, tested once on seed B: the hypotheses of experiments/confirmatory.lua
--
-- Runs each experiment that a hypothesis needs with --seed B (or reads its table where it is there already), takes the
-- named effects, and judges them with Holm's correction over all hypotheses. p: sign-flip over passages where the table
-- has one, else from the interval by the normal distribution. A hypothesis whose gate is closed or whose row is missing
-- counts with p = 1 and is "cannot tell".
local csv = require "kvbench.csv"
local judge = require "kvbench.causal.confirm"
local json = require "kvbench.json"
local kv = require "kvbench"
local paths = require "kvbench.paths"

local opt = kv.args { seed = "B", out = "out/confirm", model = "smollm2", passages = 0, read_only = false,
  list = "experiments/confirmatory.lua" }
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
    if opt.read_only then return nil end
    print(("\n== %s, seed %s"):format(name, opt.seed))
    local words = { [0] = paths.at("experiments/" .. name .. ".lua"), "--seed", opt.seed, "--out", folder, "--model",
      opt.model, "--sweeps", opt.out .. "/sweeps" }
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
end
judge.holm(judged)

local columns = { "id", "status", "estimate", "lo", "hi", "p", "p_holm", "n", "passages", "claim", "note" }
csv.write(opt.out .. "/confirm.csv", columns, judged)
print(("\nSeed %s, %d hypotheses, Holm at .05"):format(opt.seed, #judged))
for _, j in ipairs(judged) do print("verdict: " .. judge.line(j)) end
print("table: " .. opt.out .. "/confirm.csv")
