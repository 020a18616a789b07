-- SPDX-License-Identifier: Apache-2.0
-- What experiment scripts share: panels that say why they are empty, columns of the record, stored sweeps that a second
-- script finds, verdicts and result.json.
local t = require "kvbench.testing"
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local model = dofile(paths.at "tests/lua/tiny_sweep.lua").model()
local X = kv.experiment

local root = os.tmpname()
os.remove(root)
local quiet = function(fn, ...)
  local old = print
  print = function() end -- luacheck: ignore
  local ok, err = pcall(fn, ...)
  print = old -- luacheck: ignore
  if not ok then error(err, 0) end
  return err
end

local read = t.read

local function new(name, options, words)
  arg = words or {} -- luacheck: ignore
  options = options or {}
  options.out, options.sweeps = options.out or root .. "/" .. name, root .. "/sweeps"
  local e = X { name = name, title = "A title", paper = "figure 0", options = options }
  e.loaded = model
  return e
end

t.case("a series of one passage has no band, of two it has", function()
  local rows = { { passage_id = "a", ratio = 0, y = 2 }, { passage_id = "a", ratio = .5, y = 4 } }
  local s = X.series(rows, { y = "y", label = "l" })
  t.eq(s.y, { 2, 4 })
  t.eq(s.lo, nil)
  rows[3], rows[4] = { passage_id = "b", ratio = 0, y = 4 }, { passage_id = "b", ratio = .5, y = 4 }
  s = X.series(rows, { y = "y", label = "l" })
  t.eq(s.y, { 3, 4 })
  t.ok(s.lo[1] < 3 and s.hi[1] > 3)
  t.eq({ X.at(s, .5) }, { 4, 4, 4 })
  t.eq(X.at(s, .7), nil)
end)

t.case("bands end where the score does", function()
  local rows = {}
  for i = 1, 4 do rows[i] = { passage_id = i, ratio = 0, y = i % 2 == 0 and .9 or 0.1 } end
  local p = X.panel({ { rows = rows, label = "a" } }, { y = "y", min = 0, max = 1 })
  t.ok(p.series[1].lo[1] >= 0 and p.series[1].hi[1] <= 1)
end)

t.case("a panel without data says why, in the picture and in its CSV", function()
  local p = X.panel({ { rows = { { passage_id = 1, ratio = 0 } }, label = "ea" } },
    { title = "hops", y = "hop_f1", reason = "task base has no hop labels" })
  t.eq(p.kind, "note")
  local files = kv.plot.small_multiples { panels = { p } }:save(root .. "/note")
  t.ok(read(files[#files]):find("cannot tell: task base has no hop labels", 1, true))
  t.fails(function() kv.plot.small_multiples { panels = { { kind = "note" } } } end, "a note has no text")
end)

t.case("a note beside lines takes no axis from them", function()
  local line = { x = { label = "x" }, y = { label = "y" }, series = { { label = "a", x = { 0, 1 }, y = { 0, 1 } } } }
  local f = kv.plot.small_multiples { columns = 2, panels = { X.note("a", "why"), line, line, X.note("b", "why") } }
  t.eq(f.o.share_y, true)
  f:draw()
end)

t.case("join gives rows what their record knows", function()
  local record = { id = "r", passage = ("x"):rep(10), facts = { { id = "f", value = "v", mentions = {
    { value = { 5, 6 }, sentence = { 0, 10 } }, { value = { 8, 9 } } } } },
    questions = { { q = "?", a = "two words", fact_ids = { "f" }, hop = 2, depth = 1 } } }
  local row = X.join({ { passage_id = "r", question = 1 } }, { records = { record } })[1]
  t.eq({ row.hop, row.depth, row.mentions, row.position, row.answer_words }, { 2, 1, 2, .5, 2 })
  local open = X.closed_book({ records = { record } })
  t.eq(open.records[1].passage, "(There is no text.)")
  t.eq(open.records[1].questions[1].fact_ids, {})
  t.eq(record.questions[1].fact_ids, { "f" })
end)

t.case("a second script finds the rows of the first; other settings have another folder", function()
  local words = { "--passages", "2", "--ratios", "0,0.5", "--presses", "knorm" }
  local a, b = new("first", {}, words), new("second", {}, words)
  local run = quiet(a.sweep, a, { task = "knowledge", quiet = true })
  t.eq(#run.rows, 2 * 13 * 2)
  local again = quiet(b.sweep, b, { task = "knowledge", quiet = true })
  t.eq(again.out, run.out)
  t.eq(again.seconds, nil)
  t.eq(#again.rows, #run.rows)
  local other = quiet(b.sweep, b, { task = "knowledge", quiet = true, ratios = { 0 } })
  t.ok(other.out ~= run.out)
end)

t.case("result.json holds captions, files, verdicts and where the numbers come from", function()
  local e = new("result", {}, { "--passages", "2", "--ratios", "0,0.9", "--presses", "chunk_bare" })
  quiet(function()
    local run, ds = e:sweep { task = "knowledge", quiet = true }
    t.eq(run.presses, { "chunk(of=ea(n_sink=0))" })
    e:save(kv.plot.small_multiples { panels = { e.note("a", "b") }, caption = e:setting(ds) }, "picture")
    e:table("numbers", { "a", "b" }, { { a = 1, b = 0 / 0 }, { a = "x" } }, "A table")
    e:cannot("F1", "no answer")
    e:verdict("supported", "an effect", { mean = .5, lo = .25, hi = .75, n = 26, clusters = 2 })
    e:finish()
  end)
  local r = json.decode(read(root .. "/result/result.json"), "result.json")
  t.eq(r.experiment, "result")
  t.ok(r.figures[1].caption:find("seed A, knowledge (2 passages, 26 questions)", 1, true))
  t.eq(#r.figures[1].files, 4)
  for _, file in ipairs(r.figures[1].files) do t.eq(C.kvb_path_kind(file), 1, file) end
  t.eq(r.tables[1].cells, { { "a", "b" }, { "1", "cannot tell" }, { "x", "-" } })
  t.eq(r.verdicts[1].text, "an effect: 0.500 [0.250, 0.750] (n = 26, 2 passages)")
  t.eq(r.notes, { "F1: cannot tell: no answer" })
  t.eq(r.provenance.model_hash, model.hash)
  t.eq(r.sweeps[1].rows, 52)
end)

t.case("an unknown verdict is an error", function()
  local e = new "verdict"
  t.fails(function() e:verdict("proven", "x") end, "supported, not supported, cannot tell")
  quiet(e.verdict, e, "supported", "x", { mean = 0 / 0 })
  t.eq(e.verdicts[1].status, "cannot tell")
end)

os.execute("rm -rf '" .. root .. "'")

t.case("eligibility: the passage must be worth reading, and both ends must have been run", function()
  local gate = require "kvbench.experiment.gate"
  local function answers(press, right)
    local rows = {}
    for passage = 1, 10 do
      for question = 1, 4 do
        rows[#rows + 1] = { passage_id = "p" .. passage, question = question, press = press, answerable = true,
          correct = question <= right and 1 or 0 }
      end
    end
    return rows
  end
  local range = gate.range(answers("full", 3), answers("full", 1))
  t.eq(range.mean, .5)
  t.eq(range.closed, .25)
  t.eq(range.n, 40)
  local none, why = gate.range({}, answers("full", 1))
  t.eq(none, nil)
  t.eq(why, "nothing was asked with the full cache -> add 0 to --ratios")
  none, why = gate.range(answers("full", 3), {})
  t.eq(none, nil)
  t.eq(why, "no answerable question was asked with and without the passage")
  local ok
  ok, why = gate.judge(nil, { mean = .2, lo = .1, hi = .3, clusters = 10 })
  t.eq(ok, false)
  t.ok(why:find("floor: accuracy with the passage minus without is 0.20 [0.10, 0.30]", 1, true), why)
end)
