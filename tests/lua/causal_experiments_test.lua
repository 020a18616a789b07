-- SPDX-License-Identifier: Apache-2.0
-- Every causal script, and probing, on the worst of data: a model whose answers are all wrong (the floor), two
-- passages, one KV head, a task without evidence. It must end, say why it cannot tell, and write no NaN.
local t = require "kvbench.testing"
local kv = require "kvbench"
local paths = require "kvbench.paths"
local scripts = dofile(paths.at "tests/lua/run_experiment.lua")
local many = dofile(paths.at "tests/lua/tiny_sweep.lua").model()
local one = kv.model.load(paths.at "tests/golden/models/mistral", { dtype = "f32" })
one.tokenizer = many.tokenizer

local common = { "--passages", "2", "--gate", "2", "--model", "tiny" }
local cases = {
  { "ablation", "--calibration", "1", "--heads", "2" },
  { "rescue", "--calibration", "1", "--heads", "2", "--treat", "0.9" },
  { "dose", "--calibration", "1", "--orders", "2", "--doses", "1,2" },
  { "transplant", "--treat", "0.5", "--press", "knorm" },
  { "layers", "--calibration", "1", "--treat", "0.7" },
  { "positions", "--treat", "0.5" },
  { "heads", "--calibration", "1", "--m", "2" },
  { "leakage" },
  { "recovery", "--calibration", "1", "--heads", "2", "--treat", "0.9" },
  { "rigidity", "--calibration", "1", "--taus", "0.7" },
  { "patching", "--step", "2" },
  { "lens", "--treat", "0.5" },
}

local function check(name, model, words)
  scripts.model = model
  local result, printed = scripts.run(name, words)
  t.ok(#result.figures > 0 or #result.notes > 0, "it shows something, or says why not")
  t.ok(#result.verdicts > 0)
  for _, verdict in ipairs(result.verdicts) do
    t.ok(verdict.status == "cannot tell" or verdict.status == "exploratory", verdict.status .. ": " .. verdict.text)
  end
  t.ok(printed:find("verdict: ", 1, true))
  scripts.has_no_nan(result)
  return result
end

local function words_of(case, more)
  local words = { unpack(common) }
  for i = 2, #case do words[#words + 1] = case[i] end
  for _, word in ipairs(more) do words[#words + 1] = word end
  return words
end

for _, case in ipairs(cases) do
  t.case(case[1] .. ": all answers wrong, two passages", function()
    check(case[1], many, words_of(case, { "--task", "knowledge" }))
  end)
  t.case(case[1] .. ": one KV head", function()
    check(case[1], one, words_of(case, { "--task", "knowledge" }))
  end)
end

local probe = { "--layer-step", "2", "--presses", "knorm", "--ratios", "0,0.9", "--model", "tiny" }
t.case("probing: too few items, one class, no labels", function()
  local words = { "--tag-passages", "2", "--per-value", "1", "--values", "2", unpack(probe) }
  local result = check("probing", many, words)
  t.ok(table.concat(result.notes, "\n"):find "a probe needs two")
end)
t.case("probing: classes that a model without knowledge cannot tell apart", function()
  local words = { "--tag-tasks", "base", "--regimes", "agnostic", "--tag-passages", "6", "--least", "4", "--per-value",
    "1", "--values", "2", "--radar-ratios", "0,0.9", unpack(probe) }
  scripts.model = many
  scripts.has_no_nan((scripts.run("probing", words)))
end)

t.case("a task whose questions have no evidence says so", function()
  local real = kv.dataset
  kv.dataset = nil
  local module = package.loaded["kvbench.dataset"]
  package.loaded["kvbench.dataset"] = setmetatable({}, { __index = module, __call = function(_, ...)
    local ds = real(...)
    for _, record in ipairs(ds.records) do
      for _, question in ipairs(record.questions or {}) do question.fact_ids = {} end
    end
    return ds
  end })
  kv.dataset = package.loaded["kvbench.dataset"]
  local failures = {}
  for _, case in ipairs(cases) do -- layers makes a dataset of its own records, which must be whole
    local ok, err = case[1] == "layers" or pcall(check, case[1], many,
      words_of(case, { "--task", "knowledge", "--seed", "none" }))
    if not ok then failures[#failures + 1] = case[1] .. ": " .. tostring(err):sub(1, 200) end
  end
  package.loaded["kvbench.dataset"], kv.dataset = module, real
  t.eq(table.concat(failures, "\n"), "")
end)

scripts.clean()
