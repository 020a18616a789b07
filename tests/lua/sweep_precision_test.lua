-- SPDX-License-Identifier: Apache-2.0
-- Sampling passages until every watched point is known: the watcher on made-up answers, and sweeps of a tiny model.
local kv = require "kvbench"
local paths = require "kvbench.paths"
local precision = require "kvbench.sweep.precision"
local rng = require "kvbench.rng"
local t = require "kvbench.testing"
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")

-- ---- the watcher alone ----

local function suite(N)
  local records = {}
  for i = 1, N do
    local questions = {}
    for q = 1, i % 10 == 0 and 3 or 4 do questions[q] = { answerable = q < 4 } end -- some passages lack the last one
    records[i] = { id = ("p%04d"):format(i), questions = questions }
  end
  return { hash = "h", records = records }
end

local press = { label = function() return "ea" end }
local function settings(dataset, o)
  local s = { dataset = dataset, precision = .05, watch = { "word_f1" }, regimes = { "agnostic" }, ratios = { 0, .5 },
    presses = { press }, seed = 1, quiet = true }
  for k, v in pairs(o or {}) do s[k] = v end
  return s
end

-- What the model "answers": fixed by passage, question and condition.
local function answer(record, q, ratio)
  local r = rng.new(("%s/%d/%g"):format(record.id, q, ratio))
  return r:uniform() < (ratio == 0 and .8 or .3) and 1 or r:uniform() * .5
end

local function rows_of(record)
  local rows = {}
  for q, question in ipairs(record.questions) do
    for _, ratio in ipairs { 0, .5 } do
      rows[#rows + 1] = { passage_id = record.id, question = q, answerable = question.answerable, regime = "agnostic",
        press = ratio == 0 and "full" or "ea", ratio = ratio, word_f1 = answer(record, q, ratio) }
    end
  end
  return rows
end

-- Runs through the order in lots whose members finish in any order; returns the watcher.
local function run(s, lot)
  local w, order = precision.new(s), nil
  order = w:sorted(s.dataset.records)
  local shuffle = rng.new("lots/" .. lot)
  for first = 1, #order, lot do
    local group = {}
    for i = first, math.min(first + lot - 1, #order) do group[#group + 1] = order[i] end
    for _, record in ipairs(shuffle:shuffle(group)) do
      for _, row in ipairs(rows_of(record)) do w:see(row) end
      w:done(record.id)
    end
    if w.stopped then return w end
  end
  return w
end

t.case("the sample and its report do not depend on the order of completion", function()
  local data = suite(1500)
  local one, many = run(settings(data), 1), run(settings(data), 37)
  t.eq(one.stopped, "precision")
  t.ok(one.taken > 50 and one.taken < 1200, "took " .. one.taken)
  t.eq(many:report(), one:report())
  local other = run(settings(data, { seed = 2 }), 1)
  t.ok(other.order[1].id ~= one.order[1].id or other.order[2].id ~= one.order[2].id, "the seed orders the passages")
end)

t.case("every watched point is as well known as it says, over questions of uneven passages", function()
  local data = suite(1500)
  local report = run(settings(data), 8):report()
  t.eq({ #report.points, report.of, report.confidence }, { 2, 1500, .95 })
  for _, point in ipairs(report.points) do
    local sum, n = 0, 0
    for _, record in ipairs(data.records) do
      for q, question in ipairs(record.questions) do
        if question.answerable then sum, n = sum + answer(record, q, point.ratio), n + 1 end
      end
    end
    t.ok(point.lo <= sum / n and sum / n <= point.hi)
    t.ok(point.hi - point.lo <= .1 + 1e-9)
  end
  t.ok(report.text:find "stopped after %d+ of 1500 passages: all 2 watched points are known to %+%-0.05")
end)

t.case("with no more passages it says so, and then it knows", function()
  local report = run(settings(suite(30), { precision = .005 }), 4):report()
  t.eq({ report.reason, report.n, report.of }, { "all passages", 30, 30 })
  for _, point in ipairs(report.points) do t.near(point.hi - point.lo, 0, 1e-9) end
  t.ok(report.text:find "there are no more passages")
end)

t.case("rows of variants and unanswerable questions are not watched", function()
  local data = suite(3)
  local s = precision.new(settings(data))
  local record = data.records[1]
  for _, row in ipairs(rows_of(record)) do
    s:see(row)
    row.variant = "forced"
    s:see(row)
  end
  local sums = s.sums[record.id]
  t.near(sums[1], answer(record, 1, 0) + answer(record, 2, 0) + answer(record, 3, 0), 1e-12)
end)

-- The promise itself, over suites; see KVB_SIMULATIONS in stats_coverage_test.lua.
t.case("stopping holds its promise for all points together", function()
  local runs, missed = math.floor(20 * (tonumber(os.getenv "KVB_SIMULATIONS" or "") or 1)), 0
  for i = 1, runs do
    local data = suite(300)
    local report = run(settings(data, { seed = i, precision = .08 }), 300):report()
    local out = false
    for _, point in ipairs(report.points) do
      local sum, n = 0, 0
      for _, record in ipairs(data.records) do
        for q, question in ipairs(record.questions) do
          if question.answerable then sum, n = sum + answer(record, q, point.ratio), n + 1 end
        end
      end
      out = out or sum / n < point.lo - 1e-9 or sum / n > point.hi + 1e-9
    end
    if out then missed = missed + 1 end
  end
  t.ok(missed / runs <= .05 + 3 * math.sqrt(.05 * .95 / runs), missed .. " of " .. runs)
end)

-- ---- in sweeps ----

local function sweep(model, data, o)
  local s = { model = model, dataset = data, presses = { "knorm" }, ratios = { 0, .5 }, max_new_tokens = 3,
    quiet = true, group = 2 }
  for k, v in pairs(o) do s[k] = v end
  return kv.sweep(s)
end

t.case("a sweep that stops has the rows that a sweep of everything has for those passages", function()
  local model, data = tiny.model(), tiny.data(24, 2)
  local all = tiny.by_key(sweep(model, data, {}))
  local some = sweep(model, data, { precision = .3, watch = { "hallucination" } })
  t.eq(some.stopped.reason, "precision")
  t.ok(#some.sample == some.stopped.n and some.stopped.n < 24, "took " .. some.stopped.n)
  t.eq(#some.rows, #some.sample * 4) -- 2 questions at 0 and .5
  for _, row in ipairs(some.rows) do t.eq(row.answer, all[row.key].answer) end
end)

t.case("in another grouping, or taken up again, it is the same sample", function()
  local model, data = tiny.model(), tiny.data(24, 2)
  local folder = os.tmpname()
  os.remove(folder)
  local one = sweep(model, data, { precision = .3, watch = { "hallucination" }, group = 7 })
  local first = sweep(model, data, { precision = .45, watch = { "hallucination" }, out = folder })
  t.ok(first.stopped.n < one.stopped.n)
  local then_ = sweep(model, data, { precision = .3, watch = { "hallucination" }, out = folder })
  t.eq({ then_.sample, then_.stopped }, { one.sample, one.stopped })
  t.eq(tiny.by_key(then_), tiny.by_key(one))
  local again = sweep(model, data, { precision = .45, watch = { "hallucination" }, out = folder })
  t.eq({ again.stopped, #again.rows }, { first.stopped, #first.rows }) -- though the folder has more by now
  local file = assert(io.open(folder .. "/precision.json", "rb"))
  t.eq(kv.json.decode(file:read "*a").n, first.stopped.n)
  file:close()
  os.execute("rm -rf '" .. folder .. "'")
end)

t.case("what cannot be watched, or known, is said", function()
  local model, data = tiny.model(), tiny.data(2, 1)
  t.fails(function() sweep(model, data, { precision = 2 }) end, "precision is 2")
  t.fails(function() sweep(model, data, { precision = .03, watch = { "margin" } }) end, "cannot watch 'margin'")
  t.fails(function() sweep(model, data, { precision = .03, watch = {} }) end, "watch is empty")
  t.fails(function() sweep(model, data, { watch = { "f1" } }) end, "watch belongs to precision")
  t.fails(function() sweep(model, data, { precision = .03, score = false }) end, "leave out score")
end)
