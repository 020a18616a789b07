-- SPDX-License-Identifier: Apache-2.0
-- Every figure script on the worst of data: a model whose answers are all wrong, two passages, one press, tasks without
-- the labels that are asked for. It must end, say why it cannot tell, and write no NaN.
local t = require "kvbench.testing"
local kv = require "kvbench"
local paths = require "kvbench.paths"
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua").model()

local scripts = dofile(paths.at "tests/lua/run_experiment.lua")
local run, read, has_no_nan, root = scripts.run, scripts.read, scripts.has_no_nan, scripts.root
scripts.model = tiny

local few = { "--passages", "2", "--ratios", "0,0.5,0.9", "--presses", "knorm", "--model", "tiny" }
local function words(more)
  local out = { unpack(few) }
  for _, w in ipairs(more or {}) do out[#out + 1] = w end
  return out
end

local cases = {
  { "tasks", { "--tasks", "base,coreference" }, "cannot tell" },
  { "answer_types", { "--tasks", "knowledge", "--compare", "knorm" }, "cannot tell" },
  { "question_types", { "--tasks", "knowledge", "--compare", "knorm" }, "cannot tell" },
  { "directions", { "--tasks", "knowledge", "--compare", "knorm" }, "cannot tell" },
  { "hops", { "--tasks", "base", "--compare", "knorm" }, "cannot tell" },
  { "abstention", { "--tasks", "coreference", "--compare", "knorm" }, "cannot tell" },
  { "eviction_rates", { "--tasks", "base" }, "cannot tell" },
  { "errors", { "--tasks", "base" }, "cannot tell" },
  { "ger_correlation", { "--tasks", "base" }, "cannot tell" },
  { "base_scores", { "--tasks", "base,coreference" }, "exploratory" },
  { "safety_cliff", { "--task", "knowledge", "--heatmap-press", "knorm" }, "cannot tell" },
  { "susceptibility", { "--tasks", "knowledge" }, "cannot tell" },
  { "consensus", { "--task", "knowledge", "--questions", "1" }, "exploratory" },
  { "attention_heatmaps", { "--task", "knowledge" }, "cannot tell" },
  { "atlas", { "--task", "knowledge", "--questions", "1" }, "cannot tell" },
  { "routes", { "--task", "knowledge" }, "cannot tell" },
}
for _, case in ipairs(cases) do
  t.case(case[1] .. " on poor data", function()
    local result, printed = run(case[1], words(case[2]))
    t.ok(#result.figures > 0 and #result.verdicts > 0)
    t.eq(result.verdicts[1].status, case[3], result.verdicts[1].text)
    t.ok(printed:find("verdict: " .. case[3], 1, true))
    has_no_nan(result)
    for _, figure in ipairs(result.figures) do
      t.ok(figure.caption and (figure.caption:find "seed A" or figure.caption:find "record "), figure.name)
    end
  end)
end

t.case("finite_size on poor data", function()
  local result = run("finite_size", { "--passages", "2", "--sizes", "48,96", "--model", "tiny" })
  t.eq(result.verdicts[1].status, "cannot tell")
  t.ok(result.verdicts[1].text:find "2 passages at %d+ x: a step needs at least 8", result.verdicts[1].text)
  t.eq(#result.figures, 2)
  has_no_nan(result)
end)

t.case("a large run is drawn and judged from sums, with the same numbers as from its rows", function()
  local summary, large = require "kvbench.store.summary", nil
  large, summary.LARGE = summary.LARGE, 1
  os.execute("rm -rf '" .. root .. "/safety_cliff'") -- it holds a run of another task
  local given = words { "--task", "coreference", "--heatmap-press", "knorm", "--passages", "4" }
  local result = run("safety_cliff", given)
  summary.LARGE = large
  local sums, tasks = read(result.figures[1].files[4]), nil
  for _, sweep in ipairs(result.sweeps) do
    kv.runs.with(sweep.folder, function(db) t.ok(summary.current(db)) end)
  end
  local has = summary.current
  summary.current = function() return false end -- now from rows
  local again = run("safety_cliff", given)
  t.eq(read(again.figures[1].files[4]), sums)
  t.eq(again.verdicts[1].text, result.verdicts[1].text)
  t.eq(again.tables[1].cells, result.tables[1].cells)
  summary.current = has
  tasks = run("tasks", words { "--tasks", "coreference", "--passages", "4" })
  t.ok(tasks.figures[1].files[4])
  has_no_nan(tasks)
end)

t.case("columns that are asked for come without the rest of the row", function()
  local data = dofile(paths.at "tests/lua/tiny_sweep.lua").data(2, 3)
  local folder = root .. "/select"
  kv.sweep { model = tiny, dataset = data, presses = { "knorm" }, ratios = { 0, .5 }, max_new_tokens = 2, quiet = true,
    out = folder }
  local from, rows = kv.runs.open(folder), kv.runs.open(folder)
  local wanted = {}
  for _, row in ipairs(rows.rows) do wanted[row.passage_id .. row.question .. row.press] = row end
  for _, opt in ipairs { {}, { press = "full", variant = "" }, { ratio = .5 } } do
    local list, n = from:select({ "correct", "answerable", "gold", "nothing" }, opt), 0
    t.eq(rawget(from, "rows"), nil)
    for _, row in ipairs(list) do
      local w = wanted[row.passage_id .. row.question .. row.press]
      t.eq({ row.correct, row.answerable, row.gold, row.ratio, row.nothing },
        { w.correct, w.answerable, w.gold, w.ratio })
      t.eq(row.answer, nil)
      n = n + 1
    end
    t.eq(n, #rows:select({}, opt))
    t.eq(n, opt.press and 6 or opt.ratio and 6 or 12)
  end
end)

t.case("a model of one KV head: no script that compares heads breaks, and none finds AdaKV to differ", function()
  scripts.model = kv.model.load(paths.at "tests/golden/models/mistral", { dtype = "f32" })
  scripts.model.tokenizer = tiny.tokenizer
  t.eq(scripts.model.kv_heads, 1)
  local short = { "--passages", "2", "--presses", "ea,adakv", "--model", "tiny" }
  for _, case in ipairs { { "consensus", "--task", "knowledge", "--questions", "1", "--ratios", "0.5" },
    { "attention_heatmaps", "--task", "knowledge", "--ratios", "0.5,0.9" },
    { "atlas", "--task", "knowledge", "--questions", "1" }, { "routes", "--task", "knowledge", "--ratios", "0.5" },
    { "eviction_rates", "--tasks", "base", "--ratios", "0,0.5,0.9" } } do
    local given = { unpack(short) }
    for i = 2, #case do given[#given + 1] = case[i] end
    local ok, result = pcall(run, case[1], given)
    t.ok(ok, case[1] .. ": " .. tostring(result))
    if ok then
      t.ok(#result.figures > 0 and #result.verdicts > 0, case[1])
      has_no_nan(result)
    end
  end
  scripts.model = tiny
end)

t.case("consensus flags presses that keep one set for all heads, by what they keep", function()
  local result = run("consensus", { "--task", "knowledge", "--questions", "1", "--passages", "2", "--ratios", "0.5",
    "--presses", "streaming_llm,knorm", "--model", "tiny" })
  local caption = result.figures[2].caption
  t.ok(caption:find("StreamingLLM (one set): one set for all heads of a layer by construction", 1, true), caption)
  t.ok(not caption:find("knorm (one set)", 1, true))
end)

t.case("one class only compares with nothing, and the figure says so", function()
  local result = run("hops", words { "--tasks", "knowledge", "--compare", "knorm" })
  t.ok(read(result.figures[1].files[4]):find("one class only, nothing to compare", 1, true))
end)

t.case("a task without the labels says so in the figure", function()
  local old = arg
  arg = { "--out", root .. "/labels", "--sweeps", root .. "/sweeps", unpack(few) } -- luacheck: ignore
  local e = kv.experiment { name = "labels", title = "labels", options = { regimes = { "agnostic" } } }
  arg = old -- luacheck: ignore
  e.loaded = tiny
  local numbers = {}
  require("kvbench.experiment.by_tag").draw({ e = e, task = "knowledge", regimes = { "agnostic" }, tag = "dialect",
    what = "dialect" }, numbers)
  t.eq(numbers, {})
  t.ok(read(e.figures[1].files[4]):find("task knowledge has no dialect labels", 1, true))
end)

scripts.clean()
