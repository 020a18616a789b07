-- SPDX-License-Identifier: Apache-2.0
-- Linear probes: the regression against scikit-learn, folds that share nothing, scores and controls by hand.
local ffi = require "ffi"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local probe = require "kvbench.probe"
local folds = require "kvbench.probe.folds"
local rng = require "kvbench.rng"
local t = require "kvbench.testing"
local tensor = require "kvbench.tensor"

local file = assert(io.open(paths.at "tests/golden/stats.json", "rb"))
local golden = json.decode(file:read "*a").logistic_regression
file:close()

local function range(n)
  local out = {}
  for i = 1, n do out[i] = i end
  return out
end

t.case("regression: sklearn.linear_model.LogisticRegression", function()
  local x, labels = tensor.from(golden.x), {}
  for i, k in ipairs(golden.labels) do labels[i] = k + 1 end
  for _, c in ipairs(golden.fits) do
    local p = probe.fit(x, labels, range(#labels), { classes = 3, l2 = c.l2, standard = false, tolerance = 1e-6,
      iterations = 1000 })
    local mean = 0
    for k = 1, 3 do mean = mean + p.weights[{ k, 6 }]:item() / 3 end
    for k = 1, 3 do
      for j = 1, 5 do t.near(p.weights[{ k, j }]:item(), c.weights[k][j], 2e-3, ("l2 %g"):format(c.l2)) end
      t.near(p.weights[{ k, 6 }]:item() - mean, c.offsets[k], 2e-3) -- no penalty: known up to a common one
    end
    local _, logp = p:predict(x, range(#labels))
    local loss = 0
    for i, k in ipairs(labels) do loss = loss - logp[{ i, k }]:item() / #labels end
    t.near(loss, c.loss, 1e-5)
  end
end)

t.case("standardising changes nothing for the reader of raw rows", function()
  local r, rows = rng.new "scales", {}
  local labels = {}
  for i = 1, 60 do
    labels[i] = i % 2 + 1
    local v = r:normal() + (labels[i] == 1 and 2 or -2)
    rows[i] = { 1000 + 50 * v, .001 * r:normal(), 7 } -- large, tiny, constant
  end
  local x = tensor.from(rows)
  local p = probe.fit(x, labels, range(40), { classes = 2, l2 = 1e-3 })
  t.ok(p.converged and p.iterations < 100)
  t.eq(p.weights[{ 1, 3 }]:item(), 0)
  local test = {}
  for i = 41, 60 do test[#test + 1] = i end
  local truth = {}
  for i, item in ipairs(test) do truth[i] = labels[item] end
  t.ok(probe.score(truth, (p:predict(x, test)), 2).accuracy > .85)
end)

t.case("regression: bad input is one clear line", function()
  local x = tensor.from { { 1, 2 }, { 3, 0 / 0 } }
  t.fails(function() probe.fit(x, { 1, 2 }, { 1, 2 }, { classes = 2 }) end, "item 1, feature 1 is %-?nan")
  x = tensor.from { { 1, 2 }, { 3, 4 } }
  t.fails(function() probe.fit(x, { 1, 2 }, {}, { classes = 2 }) end, "0 rows")
  t.fails(function() probe.fit(x, { 1, 2 }, { 3 }, { classes = 2 }) end, "row 2 of a matrix of 2 rows")
  t.fails(function() probe.fit(x, { 1, 3 }, { 1, 2 }, { classes = 2 }) end, "class 2 of 2")
  t.fails(function() probe.fit(x, { 1, 1 }, { 1, 2 }, { classes = 1 }) end, "1 classes")
  t.fails(function() probe.fit(x, { 1 }, { 1 }, { classes = 2 }) end, "1 labels for 2 items")
  t.fails(function() probe.fit(x:transpose(1, 2), { 1, 2 }, { 1, 2 }, { classes = 2 }) end, "rows contiguous")
  t.fails(function() probe.fit(x, { 1, 2 }, { 1, 2 }, { classes = 2, l2 = -1 }) end, "l2 %-1")
end)

t.case("scores by hand", function()
  local s = probe.score({ 1, 1, 2, 2, 3 }, { 1, 2, 2, 2, 1 }, 4)
  -- class 1: 1 hit of 2 said 2 -> .5; class 2: 2 of 2 said 3 -> .8; class 3: 0; class 4: nobody
  t.near(s.macro_f1, (.5 + .8 + 0) / 3, 1e-12)
  t.near(s.accuracy, .6, 1e-12)
  t.eq(s.n, 5)
  t.eq(probe.score({}, {}, 2).macro_f1, nil)
end)

t.case("folds share neither passage nor template, and test everything once", function()
  local items = {}
  for i = 1, 200 do items[i] = { passage = "p" .. i % 40, template = "t" .. (i * 7) % 9 } end
  local plan = folds.make(items, 1)
  t.eq({ plan.passages, plan.templates, plan.note }, { 5, 5 })
  local tested = {}
  for _, fold in ipairs(plan.folds) do
    local passages, templates = {}, {}
    for _, i in ipairs(fold.train) do passages[items[i].passage], templates[items[i].template] = true, true end
    for _, i in ipairs(fold.test) do
      t.ok(not passages[items[i].passage] and not templates[items[i].template])
      tested[i] = (tested[i] or 0) + 1
    end
  end
  for i = 1, 200 do t.eq(tested[i], 1) end
  t.eq(folds.make(items, 1), plan, "the seed decides")
  local one = folds.make({ { passage = 1 }, { passage = 2 }, { passage = 3 } }, 1)
  t.eq({ #one.folds, one.note }, { 3, "one sentence template: folds are by passage only" })
end)

t.case("classes with few items are dropped and listed", function()
  local items = {}
  for i = 1, 70 do items[i] = { tag = i <= 30 and "Person" or i <= 60 and "Thing" or i <= 65 and "Event" or nil } end
  local kept, labels, names, dropped = folds.classes(items, function(item) return item.tag end, 30)
  t.eq({ #kept, #labels, names, dropped }, { 60, 60, { "Person", "Thing" }, { { name = "Event", n = 5 } } })
  t.eq({ labels[1], labels[60] }, { 1, 2 })
end)

-- Items whose class is in feature 1, in a direction that `drift` turns.
local function data(r, drift)
  local items, rows, labels, moved = {}, {}, {}, {}
  for i = 1, 160 do
    items[i] = { passage = math.ceil(i / 4), template = i % 6 }
    labels[i] = r:int(1, 2)
    local v, noise = labels[i] == 1 and 3 or -3, {}
    for j = 1, 8 do noise[j] = r:normal() end
    rows[i], moved[i] = { unpack(noise) }, { unpack(noise) }
    rows[i][1], moved[i][drift and 2 or 1] = rows[i][1] + v, moved[i][drift and 2 or 1] + v
  end
  return items, tensor.from(rows), labels, tensor.from(moved)
end

t.case("presence and drift are told apart; controls find nothing", function()
  local items, x, labels, moved = data(rng.new "probe data", true)
  local plan = folds.make(items, 1)
  local l2, scores = probe.choose_l2(x, labels, plan, { classes = 2, seed = 1 })
  t.ok(l2 > 0 and #scores == #probe.L2)
  local opt = { classes = 2, l2 = l2 }
  local function f1(predicted, truth) return probe.score(truth or labels, predicted, 2).macro_f1 end
  t.ok(f1(probe.cross_validate(x, labels, plan, opt)) > .97)
  local both = probe.cross_validate(x, labels, plan, opt, { x, moved })
  t.ok(f1(both[1]) > .97, "the same condition")
  t.ok(f1(both[2]) < .75, "fit at 0 does not find what has moved")
  t.ok(f1(probe.cross_validate(moved, labels, plan, opt)) > .97, "but it is there")
  local shuffled = probe.shuffled(labels, 1)
  t.ok(f1(probe.cross_validate(x, shuffled, plan, opt), shuffled) < .65, "shuffled labels")
  local types = {}
  for i = 1, #labels do types[i] = "t" .. i % 40 end
  local control = probe.control_task(types, 2, 1)
  t.eq(control[1], control[41])
  t.ok(f1(probe.cross_validate(x, control, plan, opt), control) < .65, "control task")
  t.near(probe.score(labels, probe.majority(labels, plan, 2), 2).accuracy, .5, .15)
end)

t.case("a failed allocation is an error, and nothing leaks", function()
  local C = require("kvbench.ffi").C
  local x = tensor.from { { 1, 2 }, { 3, 4 }, { 5, 1 }, { 0, 2 } }
  local labels, rows, report = ffi.new("int32_t[4]", 0, 1, 0, 1), ffi.new("int32_t[4]", 0, 1, 2, 3), ffi.new "double[4]"
  local weights = tensor.zeros(2, 3)
  collectgarbage()
  local before = C.kvb_memory_bytes(0)
  for nth = 1, 6 do
    C.kvb_memory_fail_nth(nth)
    t.eq(C.kvb_probe_fit(x, labels, rows, 4, 2, .1, 1, 50, 1e-4, weights, report), C.KVB_E_MEMORY)
    C.kvb_memory_fail_nth(0)
  end
  t.eq(C.kvb_memory_bytes(0), before)
end)
