-- SPDX-License-Identifier: Apache-2.0
-- The measures of the data sheet on texts whose numbers are known by hand, the sheet's place in a page, and the cached
-- full-size file.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local folder = require "kvbench.dataset.folder"
local measure = require "kvbench.dataset.measure"
local sheet = require "kvbench.dataset.sheet"
local store = require "kvbench.dataset.store"

local function each(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function record(passage, questions, at)
  return { passage = passage, questions = questions, facts = { { id = "f1", relation = "pet", value = "cat",
    mentions = { { value = { at or 0, (at or 0) + 3 } } } },
    { id = "f2", relation = "name", mentions = { { value = { 0, 3 } } } } } }
end

t.case("measures by hand", function()
  local q = { q = "What?", a = "a cat", fact_ids = { "f1" }, answer_type = "Creature", question_type = "standard",
    direction = "forward", hop = 1, depth = 2 }
  local name = { q = "Who?", a = "Ann", fact_ids = { "f2" }, answer_type = "Person", question_type = "standard",
    direction = "reverse", hop = 0, depth = 0 }
  local none = { q = "Who?", a = "I don't know", fact_ids = { "f1" }, answer_type = "Person", question_type = "part",
    direction = "forward", answerable = false }
  local m = measure.of(each { record("Ann has one cat. Bob has 12 dogs.", { q, name }, 12),
    record("Eve has one cat. It sleeps.", { none, none }) })
  t.eq({ m.records, m.questions, m.unanswerable, m.same_questions, m.same_passages }, { 2, 4, 2, 1, 0 })
  t.eq({ m.words.min, m.words.max, m.words.mean }, { 6, 8, 7 })
  t.eq(m.positions, { 0, 0, 0, 1, 0, 0, 0, 0, 0, 0 }) -- byte 12 of 33; names and unanswerable ones do not count
  t.eq({ m.answer_types.Creature, m.answer_types.Person, m.directions.reverse }, { 1, 3, 1 })
  t.eq({ m.hops[1], m.depths[2] }, { 1, 1 })
  t.near(m.ttr, 10 / 14, 1e-12) -- ann has one cat bob 12 dogs eve it sleeps
  t.near(m.repeated, 2 / 4, 1e-12) -- "N has one cat." twice; "N has 0 dogs.", "N sleeps."
  t.eq({ m.sentences, m.templates, m.twice }, { 4, 3, 0 })
  t.near(m.answer_words.mean, 1.5, 1e-12)
end)

t.case("the same passage twice is found", function()
  t.eq(measure.of(each { record("One cat.", {}), record("One cat.", {}) }).same_passages, 1)
end)

t.case("the sheet replaces what is between its marks, and nothing else", function()
  local page = "# a\n\n<!-- sheet -->\nold\n<!-- end of sheet -->\nend\n"
  t.eq(sheet.insert(page, "new\n", "x"), "# a\n\n<!-- sheet -->\nnew\n<!-- end of sheet -->\nend\n")
  t.fails(function() sheet.insert("# a\n", "new\n", "page.md") end, "page%.md.*has no lines <!%-%- sheet")
  local m = measure.of(dataset.each("hops", { size = 3 }), { encode = function() return { 1, 2 } end })
  m.seconds, m.open, m.closed = 1.25, { n = 16, share = 0.5 }, { n = 16, share = 0 }
  local text = sheet.text({ "hops" }, { hops = m }, { seed = "A", model = "tiny", dtype = "f32", samples = 2 })
  t.ok(text:find("| `hops` | 3 | 48 | 1,100 ± 20 |", 1, true), text)
  t.ok(text:find("12/12/12/12 | 12/18/12/6 |", 1, true), text)
end)

t.case("the published samples are the first records of seed A", function()
  local paths = require "kvbench.paths"
  for _, name in ipairs(dataset.tasks()) do
    local file = dataset.read(paths.datasets .. "/samples/" .. name .. ".jsonl.zst")
    t.eq(file.hash, dataset(name, { size = file:len() }).hash, name)
  end
end)

t.case("a full-size file is made once, and again when it is damaged", function()
  local place = os.tmpname()
  os.remove(place)
  local real, made = store.folder, 0
  store.folder = function() return place end
  local records = { { id = "a", task = "t", passage = "A.", questions = { 1, 2 } }, { id = "b", questions = { 3 } } }
  local function source()
    made = made + 1
    return each(records)
  end
  local hash = ("ab"):rep(32)
  local path, manifest = store.file("t", "A", source, hash)
  t.eq({ made, manifest.passages, manifest.questions, #manifest.hash }, { 1, 2, 3, 64 })
  t.ok(path:find("/t%-A%-abababababab%.jsonl%.zst$"), path)
  local bytes = folder.read(path)
  t.eq(bytes:sub(1, 4), "\40\181\47\253") -- zstd
  t.eq(store.file("t", "A", source, hash), path)
  t.eq(made, 1)
  folder.write(path, { bytes:sub(1, -2) })
  store.file("t", "A", source, hash)
  t.eq(made, 2)
  t.eq(folder.read(path), bytes)
  store.folder = real
  os.remove(path)
  os.remove(path .. ".manifest.json")
  os.remove(place)
end)
