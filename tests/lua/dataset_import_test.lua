-- SPDX-License-Identifier: Apache-2.0
-- Datasets from outside (files, tables, iterators, SQuAD, LongBench) and what a dataset can do once it is there.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local mark = require "kvbench.mark"
local stream = require "kvbench.stream"

local function temporary(content, ending)
  local path = os.tmpname() .. (ending or "")
  stream.write(path, function(put) put(content) end)
  return path
end

local function fox(n) return { passage = "The fox number " .. n .. " is red.",
  questions = { { q = "Which colour?", a = "red" } } } end

t.case("evidence for answers without spans: the sentence of highest recall, half of the content words", function()
  local align = require "kvbench.dataset.align"
  local passage = "Mira Dahl met the mayor. The old mill near Orvane was sold to Mira Dahl in 1821! Nobody came."
  local function said(found, k) return passage:sub(found.values[k][1] + 1, found.values[k][2]) end
  -- "sold to Mira Dahl": 4 of 4 in the second sentence, 2 of 4 in the first; "to" is no content word
  local found = align.find(passage, { a = "sold to Mira Dahl" })
  t.eq({ found.recall, found.coverage, #found.values }, { 1, 1, 2 })
  t.eq({ said(found, 1), said(found, 2) }, { "sold", "Mira Dahl" })
  t.eq(passage:sub(found.sentence[1] + 1, found.sentence[2]),
    "The old mill near Orvane was sold to Mira Dahl in 1821!")
  -- a point inside a number ends no sentence, the end of a line does
  local odd = 'Prices\nIt cost 3.5 million crowns. She said "No." Then it rained'
  local spans, texts = require("kvbench.dataset.sentences").spans(odd, true), {}
  for i, s in ipairs(spans) do texts[i] = odd:sub(s[1] + 1, s[2]) end
  t.eq(texts, { "Prices", "It cost 3.5 million crowns.", 'She said "No."', "Then it rained" })
  t.eq(align.find(odd, { a = "3.5 million crowns" }).coverage, 1)
  found = align.find("He was a well-known, (old) miller.", { a = "well known old miller" })
  t.eq({ found.coverage, #found.values }, { 1, 2 }) -- "known" is no content word: it parts the two
  t.eq(found.values, { { 9, 19 }, { 22, 33 } })
  -- the article goes: old, mill of old, stone, mill, ruin = 2 of 4
  found = align.find(passage, { a = "The old stone mill ruin" })
  t.eq({ found.recall, found.coverage, said(found, 1) }, { .5, .5, "old mill" })
  t.eq(align.find(passage, { a = "granite" }), nil)
  t.eq(align.find(passage, { a = "granite", aliases = { "1821" } }).recall, 1)
  local records, n = align.records { { id = "r", passage = passage, facts = {}, questions = {
    { q = "1", a = "Mira Dahl", fact_ids = {} }, { q = "2", a = "a big blue mill", fact_ids = {} },
    { q = "3", a = "I don't know", answerable = false, fact_ids = {} }, { q = "4", a = "x", fact_ids = { "f" } } } } }
  t.eq(n, { given = 1, aligned = 1, excluded = 1 })
  t.eq({ #records[1].facts, records[1].questions[1].fact_ids[1], #records[1].questions[2].fact_ids },
    { 1, "aligned-1", 0 })
  -- the first of two sentences with equal recall
  t.eq(records[1].facts[1].mentions[1].value, { 0, 9 })
  local index = require("kvbench.metric.evidence").index(records[1], { { 0, 4 }, { 4, 9 }, { 9, #passage } })
  t.eq(require("kvbench.metric.evidence").of(index, records[1].questions[1]).answer, { 0, 1 })
end)

t.case("records(), len, filter, sample: parts know what they are parts of", function()
  local ds = dataset("knowledge", { size = 40, seed = "B" })
  t.eq({ ds:len(), #ds.records, ds.size, ds.questions }, { 40, 40, 40, 520 })
  local n, sum = 0, 0
  for record, i in ds:records() do
    n = n + 1
    t.ok(rawequal(record, ds.records[i]))
    sum = sum + i
  end
  t.eq({ n, sum }, { 40, 820 })
  local even = ds:filter(function(_, i) return i % 2 == 0 end)
  t.eq({ even:len(), even.task, even.seed, even.from }, { 20, "knowledge", "B", "filtered from 40" })
  t.ok(rawequal(even.records[3], ds.records[6]))
  t.ok(even.hash ~= ds.hash and #even.hash == 64)
  local ten, twenty = ds:sample(10, "x"), ds:sample(20, "x")
  local seen = {}
  for i = 1, 20 do
    t.ok(not seen[twenty.records[i]], "drawn twice")
    seen[twenty.records[i]] = true
    if i <= 10 then t.ok(rawequal(ten.records[i], twenty.records[i])) end
  end
  t.ok(ds:sample(10, "y").hash ~= ten.hash)
  t.eq(even:sample(2, "z").from, "filtered from 40, sample of 2 from 20, seed z")
  t.eq(ds:sample(40):len(), 40)
  t.fails(function() ds:sample(41) end, "sample of 41 records %-> a whole number from 1 to 40")
  t.fails(function() ds:sample(0.5) end, "whole number")
  t.eq(tostring(ten), "dataset knowledge, seed B: 10 records, 130 questions")
  t.eq(ds:filter(function() return false end):len(), 0)
end)

t.case("save and read back, plain and compressed, with the same hash", function()
  local ds = dataset("coreference", { size = 5 })
  for _, ending in ipairs { ".jsonl", ".jsonl.zst" } do
    local path = os.tmpname() .. ending
    ds:save(path)
    local back = dataset(path)
    t.eq({ back.task, back:len(), back.questions, back.hash }, { "coreference", 5, 45, ds.hash })
    t.eq(back.records[3].facts[2].mentions, ds.records[3].facts[2].mentions)
    t.eq(dataset.read(path, { size = 2 }):len(), 2)
    local f = assert(io.open(path, "rb"))
    t.eq(f:read(4) == "\40\181\47\253", ending == ".jsonl.zst")
    f:close()
    local manifest = require("kvbench.json").load(path .. ".manifest.json")
    t.eq({ manifest.passages, manifest.questions, manifest.hash, manifest.seed }, { 5, 45, ds.hash, "A" })
    os.remove(path)
    os.remove(path .. ".manifest.json")
  end
end)

t.case("a table, an iterator and another dataset's records", function()
  local source = { fox(1), fox(2), fox(3) }
  local ds = dataset(source)
  t.eq({ ds.task, ds:len(), ds.records[2].id }, { "imported", 3, "record-2" })
  t.eq(source[1].id, nil) -- the user's own tables stay as they were
  t.eq({ ds.records[1].questions[1].answerable, #ds.records[1].questions[1].aliases }, { true, 0 })
  local n = 0
  local by_iterator = dataset(function()
    n = n + 1
    return n <= 3 and source[n] or nil
  end, { task = "foxes" })
  t.eq({ by_iterator.task, by_iterator:len() }, { "foxes", 3 })
  local named = dataset { records = source, task = "foxes", seed = "s" }
  t.eq({ named.task, named.seed, named.hash }, { "foxes", "s", by_iterator.hash })
  local base = dataset("base", { size = 3 })
  t.eq(dataset(base:records()).hash, base.hash)
  t.eq(dataset(source, { size = 2 }):len(), 2)
  t.fails(function() dataset {} end, "no records %-> give a list")
  t.fails(function() dataset { "text" } end, "record 1: is a string, not a table")
  t.fails(function() dataset { fox(1), { passage = "x" } } end, "record 2: questions: is missing")
  local twice = fox(1)
  twice.id = "a"
  t.fails(function() dataset { twice, fox(2), twice } end, "record 3: id: 'a' was already used %(record 1%)")
  local wrong = require("kvbench.json").decode(dataset.serialise(base.records[1]))
  wrong.questions[1].a = "nothing of the kind"
  t.fails(function() dataset { wrong } end, "record 1: questions%[1%]%.")
end)

t.case("SQuAD: questions of one passage join, characters become bytes, spans are checked", function()
  local context = "Zoë Ünal won. The café opened in 1931. It closed later."
  local function line(id, q, text, start)
    return ([[{"id": "%s", "context": "%s", "question": "%s", "answers": {"text": %s, "answer_start": %s}}]]):format(id,
      context, q, text, start)
  end
  local path = temporary(line("a", "Who won?", '["Zoë Ünal", "Ünal"]', "[0, 4]") .. "\n"
    .. line("b", "When did it open?", '["1931"]', "[33]") .. "\n" .. line("c", "Who lost?", "[]", "[]") .. "\n"
    .. line("d", "What opened?", '["café"]', "[19]") .. "\n", ".jsonl")
  local ds = dataset.read(path, { skip = true })
  os.remove(path)
  t.eq({ ds:len(), ds.questions, ds.rejects.count, ds.rejects[1].line }, { 1, 3, 1, 4 })
  t.ok(ds.rejects[1].reason:find("answer_start: 19 holds 'afé ', not 'café'", 1, true), ds.rejects[1].reason)
  local r = ds.records[1]
  t.eq({ r.questions[1].a, r.questions[1].aliases, r.questions[1].fact_ids }, { "Zoë Ünal", { "Ünal" }, { "f1" } })
  t.eq({ r.questions[3].a, r.questions[3].answerable, #r.questions[3].fact_ids }, { "I don't know", false, 0 })
  local m = r.facts[2].mentions[1]
  t.eq(r.passage:sub(m.value[1] + 1, m.value[2]), "1931")
  t.eq(r.passage:sub(m.sentence[1] + 1, m.sentence[2]), "The café opened in 1931.")
  t.eq(r.facts[1].mentions[1].sentence, { 0, 15 })
end)

t.case("SQuAD: the nested file", function()
  local path = temporary(([[{"version": "v2.0", "data": [{"title": "t", "paragraphs": [
    {"context": "A red fox.", "qas": [{"id": "q1", "question": "Which colour?", "answers": [{"text": "red",
      "answer_start": 2}], "is_impossible": false}, {"id": "q2", "question": "How old?", "answers": [],
      "is_impossible": true}]}, {"context": "A dog.", "qas": [{"id": "q3", "question": "What?", "answers":
      [{"text": "dog", "answer_start": 2}]}]}]}]}]]):gsub("\n%s*", " ") .. "\n")
  local ds = dataset.read(path)
  os.remove(path)
  t.eq({ ds:len(), ds.questions }, { 2, 3 })
  t.eq({ ds.records[1].questions[2].answerable, ds.records[2].questions[1].a }, { false, "dog" })
end)

t.case("LongBench: the data set's name and classes are kept for the scorer", function()
  local path = temporary(([[{"input": "Who?", "context": "Ann did.", "answers": ["Ann", "Ann B."], "dataset": "hotpotqa",
    "_id": "x1", "length": 2, "all_classes": null, "language": "en"}]]):gsub("\n%s*", " ") .. "\n"
    .. [[{"input": "", "context": "Long text.", "answers": ["Short."], "dataset": "gov_report", "_id": "x2"}]] .. "\n"
    .. [[{"input": "q", "context": "c", "answers": []}]] .. "\n")
  local ds = dataset.read(path, { skip = true })
  os.remove(path)
  t.eq({ ds:len(), ds.rejects.count, ds.records[1].id, ds.records[1].suite }, { 2, 1, "x1", "hotpotqa" })
  t.eq({ ds.records[1].questions[1].a, ds.records[1].questions[1].aliases }, { "Ann", { "Ann B." } })
  t.eq(ds.records[2].questions[1].q, "Answer:")
  t.ok(ds.rejects[1].reason:find("answers: is not a list of at least one text"), ds.rejects[1].reason)
end)

t.case("a file too big for memory says how to go on; a form that does not exist is named", function()
  local path = temporary(('{"passage": "%s", "questions": [{"q": "q?", "a": "x"}]}\n'):format(("x "):rep(1000)):rep(1))
  t.fails(function() dataset.read(path, { most = 1000 }) end, "more than 1000 B of text %-> size = N .*stream")
  t.fails(function() dataset.read(path, { form = "squat" }) end, "unknown form 'squat' %-> did you mean 'squad'")
  os.remove(path)
end)

t.case("marked spans: bytes stay, values win, labels join", function()
  t.eq(mark.spans("a red fox", { { 2, 5, "value", "f1" }, { 0, 5, "binding" } }, false), "a [[red|f1]] fox")
  t.eq(mark.spans("a red fox", { { 2, 5, "value", "f1" }, { 0, 9, "binding" } }, true),
    "\27[4ma \27[0m\27[1;32mred\27[0m\27[2m[f1]\27[0m\27[4m fox\27[0m")
  t.eq(mark.spans("abcd", { { 0, 2, "value", "f1" }, { 2, 4, "value", "f2" } }, false), "[[ab|f1]][[cd|f2]]")
  t.eq(mark.spans("ab", { { 0, 2, "value", "f1" }, { 0, 2, "value", "f2" } }, false), "[[ab|f1,f2]]")
  t.eq(mark.wrap("aa bb cc dd", 5), "aa bb\ncc dd")
  t.eq(mark.wrap("é é é é", 3), "é é\né é")
  t.eq(mark.wrap("unbreakable", 3), "unbreakable")
end)

t.case("a task named in data is a name, never a file to run", function()
  local base = os.tmpname()
  local lua, data = base .. ".lua", base .. ".jsonl"
  local file = assert(io.open(lua, "w"))
  file:write "intruder = true return { name = 'x', size = 1, rules = {}, generate = function() end }"
  file:close()
  local record = dataset("base", { size = 1 }).records[1]
  for _, name in ipairs { lua, "../" .. lua, "/" .. lua, "./x.lua" } do
    record.task = name
    file = assert(io.open(data, "w"))
    file:write(require("kvbench.json").encode(record), "\n")
    file:close()
    pcall(dataset, data)
    pcall(dataset, { record })
    t.ok(not dataset.check(record))
    t.eq(rawget(_G, "intruder"), nil, name)
  end
  for _, path in ipairs { base, lua, data } do os.remove(path) end
end)
