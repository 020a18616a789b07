-- SPDX-License-Identifier: Apache-2.0
-- Collecting states after eviction, what is asked of them, and radar panels.
local collect = require "kvbench.probe.collect"
local items_of = require "kvbench.probe.items"
local kv = require "kvbench"
local paths = require "kvbench.paths"
local prompt = require "kvbench.prompt"
local t = require "kvbench.testing"
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")

local function close(a, b, message)
  for i = 1, a:size(1) do t.near(a[i]:item(), b[i]:item(), 1e-5, message) end
end

t.case("states are those of the appended rows, whatever their company", function()
  local model, data = tiny.model(), tiny.data(3, 2)
  local items = {}
  for _, record in ipairs(data.records) do
    for q = 1, 2 do items[#items + 1] = { record = record, question = q } end
  end
  local folder = os.tmpname()
  os.remove(folder)
  local top = model.layers
  local states = collect.run { model = model, items = items, presses = { "knorm" }, ratios = { 0, .5 },
    layers = { 0, top }, folder = folder, group = 2, quiet = true }
  t.eq(states.conditions, { "full", "knorm@0.5", "question_only" })
  local item = items[4]
  local rendered = prompt.render("fewshot", item.record, { regime = "agnostic", idk_example = true, model = model })
  local ctx = model:prefill(rendered.context)
  local ids = model:ids(rendered.suffix(item.record.questions[item.question]))
  local rows = {}
  for row = 0, #ids do rows[row + 1] = row end
  local h = ctx:generate(ids, { max_new_tokens = 2, ignore_stop = true, hidden = { layers = { 0, top }, rows = rows } })
    .hidden
  close(states:matrix("full", "last", 2)[4], h[{ 2, #ids }], "last row")
  close(states:matrix("full", "answer", 2)[4], h[{ 2, #ids + 1 }], "first answer row")
  close(states:matrix("full", "mean", 1)[4], h[1]:narrow(1, 1, #ids):mean(1), "mean of the question's rows")
  local function differs(a, b)
    local x, y, sum = states:matrix(a, "last", 2)[4], states:matrix(b, "last", 2)[4], 0
    for i = 1, x:size(1) do sum = sum + math.abs(x[i]:item() - y[i]:item()) end
    return sum > 1e-3
  end
  t.ok(differs("full", "knorm@0.5") and differs("full", "question_only"))
  local zero = states:matrix("full", "last", 1)
  close(zero[4], states:matrix("question_only", "last", 1)[4], "the embedding does not know of eviction")
  states:remove()
  t.fails(function() states:matrix("full", "last", 1) end, "collect the states again")
end)

t.case("the aware regime reads the questions first; a question inside the context is not collected", function()
  local model, data = tiny.model(), tiny.data(2, 2)
  local items = {}
  for _, record in ipairs(data.records) do items[#items + 1] = { record = record, question = 1 } end
  local function states_of(regime)
    local folder = os.tmpname()
    os.remove(folder)
    local s = collect.run { model = model, items = items, presses = { "knorm" }, ratios = { 0, .5 },
      layers = { model.layers }, folder = folder, quiet = true, regime = regime }
    local out = s:matrix("full", "last", 1)
    s:remove()
    return out
  end
  local aware, record = states_of "aware", data.records[2]
  local rendered = prompt.render("fewshot", record, { regime = "aware", idk_example = true, model = model })
  local h = model:prefill(rendered.context):hidden_of(rendered.suffix(record.questions[1]))
  close(aware[2], h[model.layers + 1][1], "last question row behind the list")
  t.ok((aware - states_of "agnostic"):abs():max() > 1e-3)
  t.fails(function() states_of "aware_one" end, "agnostic and aware")
end)

t.case("question only: without the passage, its values do not matter", function()
  local model, data = tiny.model(), tiny.data(2, 1)
  local function states_of(record)
    local folder = os.tmpname()
    os.remove(folder)
    local s = collect.run { model = model, items = { { record = record, question = 1 } }, presses = {}, ratios = { 0 },
      layers = { model.layers }, folder = folder, quiet = true }
    local out = s:matrix("question_only", "last", 1)[1]
    s:remove()
    return out
  end
  local record = data.records[1]
  local swapped = record.passage:gsub("%f[%a]in%f[%A]", "on") -- as many tokens, others
  t.ok(swapped ~= record.passage)
  local other = setmetatable({ passage = swapped }, { __index = record })
  close(states_of(record), states_of(other))
end)

t.case("items: tags, slot values, templates", function()
  local records = kv.dataset("knowledge", { size = 200, seed = "A" }).records
  local items, there = items_of.values(records, "occupation", 5, 3)
  t.ok(there >= 10)
  t.eq(#items, 15)
  t.eq(items[1].template, "<s> work as a <v>.")
  local one = items_of.prepare(items, 3, 1)
  t.eq({ #one.names, one.plan.note }, { 5, "one sentence template: folds are by passage only" })
  t.ok(items_of.prepare(items, 30, 1).reason:find "0 of 5 classes have 30 test items")
  local tags = items_of.tags(kv.dataset("base", { size = 4, seed = "A" }).records)
  t.ok(#tags == 24 and tags[1].class == "Thing")
  t.ok(tags[1].template:find("<v>", 1, true) and not tags[1].template:find "Ghanaian")
end)

t.case("radar panels: what is drawn is in the CSV, and what is wrong is said", function()
  local names = { "Person", "Location", "Event" }
  local figure = kv.plot.small_multiples { panels = { { kind = "radar", title = "one", categories = names,
    series = { { label = "a", y = { .5, 0 / 0, .25 } }, { label = "b", y = { 1, .1, .2 }, style = "reference" } } } } }
  local _, rows = figure:numbers()
  t.eq({ #rows, rows[3].series, rows[3].category, rows[3].y }, { 6, "a", "Event", .25 })
  figure:draw()
  local function radar(panel)
    panel.kind = "radar"
    return function() kv.plot.small_multiples { panels = { panel } } end
  end
  t.fails(radar { categories = { "a", "b" }, series = { { y = { 1, 1 } } } }, "at least 3 categories, got 2")
  t.fails(radar { categories = names, series = { { label = "x", y = { 1 } } } }, "1 numbers for 3 categories")
  t.fails(radar { categories = names, series = {} }, "no series")
  t.fails(radar { categories = names, y = { min = 1, max = 0 }, series = { { y = { 1, 1, 1 } } } }, "not below")
end)
