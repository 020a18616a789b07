-- SPDX-License-Identifier: Apache-2.0
-- Long-context tasks: spans that hold their values, answers that the text really gives, lengths, parameters; and the
-- suites' scoring rules against values worked out by hand.
local t = require "kvbench.testing"
local check = require "kvbench.dataset.check"
local dataset = require "kvbench.dataset"
local metric = require "kvbench.metric"
local suite = metric.suite

local function words(s) return select(2, s:gsub("%S+", "")) end

t.case("every task: valid, as long as asked for, reproducible, scored 1 for its own answer", function()
  for _, name in ipairs(require("kvbench.dataset.suite").names()) do
    local ds = dataset(name, { length = 600, size = 4 })
    t.eq(ds:len(), 4)
    t.eq(dataset(name, { length = 600, size = 2 }).records[2].passage, ds.records[2].passage)
    t.ok(dataset(name, { length = 600, size = 1, seed = "B" }).records[1].passage ~= ds.records[1].passage)
    for record in ds:records() do
      local n = words(record.passage)
      t.ok(n <= 600 and n >= 560, name .. ": " .. n .. " words")
      t.eq({ check.check(record) }, { true }, name)
      local q = record.questions[1]
      local by_id = {}
      for _, fact in ipairs(record.facts) do by_id[fact.id] = fact end
      t.eq(#q.answers, #q.fact_ids, name)
      for i, id in ipairs(q.fact_ids) do t.eq(by_id[id].value, q.answers[i], name) end
      t.eq({ suite.score(record, q, "It is " .. q.a .. ".") }, { 1, "all_of" }, name)
      t.eq(suite.score(record, q, "I don't know"), 0, name)
      t.near(suite.score(record, q, q.answers[1]), 1 / #q.answers, 1e-12, name)
    end
  end
end)

t.case("needles: counts, keys, depth", function()
  local r = dataset("ruler/niah_multi_value", { length = 300, size = 1, values = 3 }).records[1]
  t.eq({ #r.facts, #r.questions[1].answers, r.facts[1].subject == r.facts[3].subject }, { 3, 3, true })
  r = dataset("ruler/niah_multi_query", { length = 300, size = 1, keys = 5, queries = 2 }).records[1]
  t.eq({ #r.facts, #r.questions[1].answers }, { 5, 2 })
  for _, fact in ipairs(r.facts) do
    local m = fact.mentions[1]
    t.eq(r.passage:sub(m.sentence[1] + 1, m.sentence[2]),
      ("The locker number of %s is %s."):format(fact.subject, fact.value))
    t.eq(r.passage:sub(m.binding[1][1] + 1, m.binding[1][2]), fact.subject)
  end
  for depth, low in pairs { [0] = 0, [0.5] = 0.4, [1] = 0.95 } do
    r = dataset("ruler/niah_single", { length = 500, size = 1, depth = depth }).records[1]
    local at = r.facts[1].mentions[1].value[1] / #r.passage
    t.ok(at >= low and at <= low + 0.2, depth .. " stands at " .. at)
  end
  r = dataset("ruler/niah_single", { length = 900, size = 1, haystack = "prose" }).records[1]
  t.ok(not r.passage:find("The grass was green", 1, true) and words(r.passage) > 860)
end)

t.case("variables: following the assignments by hand gives the answer", function()
  local record = dataset("ruler/vt", { length = 400, size = 1, hops = 3, chains = 2 }).records[1]
  local value, holds = record.questions[1].q:match("value (%d+)"), {}
  for name, source in record.passage:gmatch("VAR (%u+) = V?A?R? ?(%w+)%.") do holds[name] = holds[source] or source end
  local found = {}
  for name, v in pairs(holds) do if v == value then found[#found + 1] = name end end
  table.sort(found)
  local answers = { unpack(record.questions[1].answers) }
  table.sort(answers)
  t.eq(found, answers)
  t.eq({ #answers, #record.facts }, { 4, 8 })
end)

t.case("words: counting them gives the answer", function()
  local function counted(record, n)
    local counts, list = {}, {}
    for word in record.passage:gmatch("%l+") do counts[word] = (counts[word] or 0) + 1 end
    for word in pairs(counts) do list[#list + 1] = word end
    table.sort(list, function(a, b) return counts[a] > counts[b] end)
    t.ok(counts[list[n]] > counts[list[n + 1]], "the last that counts is ahead of the next")
    local top = { unpack(list, 1, n) }
    table.sort(top)
    local answers = { unpack(record.questions[1].answers) }
    table.sort(answers)
    t.eq(top, answers)
  end
  counted(dataset("ruler/cwe", { length = 500, size = 1, common = 5, often = 12, seldom = 2 }).records[1], 5)
  for _, length in ipairs { 40, 300, 2000 } do counted(dataset("ruler/fwe", { length = length, size = 1 }).records[1],
    3) end
end)

t.case("a tokenizer measures the length when asked to", function()
  local bytes = { encode = function(_, s)
    local ids = {}
    for i = 1, #s do ids[i] = i end
    return ids
  end }
  local r = dataset("ruler/niah_single", { length = 900, size = 1, unit = "tokens", tokenizer = bytes }).records[1]
  t.ok(#r.passage <= 900 and #r.passage > 850, #r.passage)
end)

t.case("parameters that do not exist or do not fit", function()
  t.fails(function() dataset("ruler/nih_single") end, "no dataset 'ruler/nih_single' %-> did you mean 'niah_single'")
  t.fails(function() dataset("ruler/vt", { hop = 3 }) end, "unknown parameter 'hop' %-> did you mean 'hops'")
  t.fails(function() dataset("ruler/vt", { hops = 0 }) end, "hops = 0 %-> a whole number from 1")
  t.fails(function() dataset("ruler/vt", { length = 10 }) end, "too short for 5 assignments")
  t.fails(function() dataset("ruler/niah_single", { haystack = "straw" }) end, "haystack 'straw' %-> noise or prose")
  t.fails(function() dataset("ruler/niah_single", { unit = "tokens" }) end, "needs a tokenizer")
end)

t.case("LongBench's rules, by hand", function()
  t.near(suite.qa_f1("the red fox", { "A fox", "dog" }), 2 / 3, 1e-12)
  -- LCS of (the cat sat down) and (the cat was down) is 3
  t.near(suite.rouge_l("The cat sat down", { "the cat was down" }), 6 / 8, 1e-12)
  t.eq(suite.rouge_l("", { "x" }), 0)
  local classes = { "Location", "City", "Other city", "Date" }
  t.eq(suite.classification("It is a City", { "City" }, classes), 1)
  t.eq(suite.classification("City or Date", { "City" }, classes), 0.5)
  t.eq(suite.classification("Date", { "City" }, classes), 0)
  -- "city" is part of the right one
  t.eq(suite.classification("Other city", { "Other city" }, { "city", "Other city" }), 1)
  t.eq(suite.count("There are 7, not 9", { "7" }), 0.5)
  t.eq(suite.count("none", { "7" }), 0)
  t.eq(suite.retrieval("Paragraph 12", { "Paragraph 12" }), 1)
  t.eq(suite.retrieval("12 or 13 or 12", { "Paragraph 12" }), 2 / 3)
  t.eq(suite.code("# a comment\n```\nx = f(1)\ny = 2", { "x = f(1)" }), 1)
  t.eq(suite.code("x = f(2)", { "x = f(1)" }), 0.88) -- 2 * 7 / 16 = .875, rounded to a percent
end)

t.case("a suite's name chooses its rule; the rows of a sweep carry the score", function()
  t.eq({ suite.rule "hotpotqa", suite.rule "hotpotqa_e", suite.rule "ruler/vt", suite.rule "dureader" },
    { "qa_f1", "qa_f1", "all_of" })
  t.eq({ suite.rule "trec" }, { "classification", "first" })
  local record = { suite = "triviaqa", passage = "x", facts = {}, questions = {} }
  local q = { q = "Who?", a = "Ann", aliases = { "Ann B." }, answerable = true }
  t.eq(suite.score(record, q, "\nAnn\nand much more"), 1)
  t.eq(suite.score({ suite = "dureader" }, q, "Ann"), nil)
  local niah = dataset("ruler/niah_multi_value", { length = 200, size = 1 }).records[1]
  local row = metric.score { answer = niah.questions[1].answers[2], question = niah.questions[1], record = niah }
  t.eq({ row.suite_score, row.suite_rule }, { 0.25, "all_of" })
end)
