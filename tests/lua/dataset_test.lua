-- SPDX-License-Identifier: Apache-2.0
-- Datasets: prefixes of one stream, spans that hold what they claim, the language of the templates, files. What each
-- task promises: dataset_tasks_test.lua; the validator: dataset_check_test.lua.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local template = require "kvbench.dataset.template"
local text = require "kvbench.dataset.text"
local names = require "kvbench.dataset.names"
local sha256 = require "kvbench.dataset.sha256"
local json_encode = require "kvbench.json_encode"
local rng = require "kvbench.rng"

local tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" }

t.case("sha256 agrees with the published vectors", function()
  t.eq(sha256.hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  t.eq(sha256.hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  t.eq(sha256.hex(("a"):rep(1000)), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
  t.eq(sha256.new():update(("a"):rep(77)):update(("a"):rep(923)):hex(), sha256.hex(("a"):rep(1000)))
end)

t.case("json text is stable and escaped", function()
  t.eq(json_encode.encode({ b = 1, a = { true, 2.5, "x\"\\\n\1" }, c = {} }, { "c" }),
    '{"c":[],"a":[true,2.5,"x\\"\\\\\\n\\u0001"],"b":1}')
  t.eq(json_encode.encode(setmetatable({}, json_encode.object)), "{}")
  t.eq(json_encode.encode { json_encode.null, 0.1, -3, 1e300 }, "[null,0.1,-3,1e+300]")
  t.fails(function() json_encode.encode { 0 / 0 } end, "nan has no JSON form")
  t.fails(function() json_encode.encode { a = print } end, "function has no JSON form")
end)

t.case("a small set is a prefix of a bigger one, and the seed matters", function()
  for _, name in ipairs(tasks) do
    local small, big = dataset(name, { size = 7 }), dataset(name, { size = 31 })
    for i = 1, 7 do t.eq(dataset.serialise(small.records[i]), dataset.serialise(big.records[i])) end
    t.eq(dataset(name, { size = 7 }).hash, small.hash)
    local b = dataset(name, { size = 7, seed = "B" })
    t.ok(b.hash ~= small.hash, name .. ": seeds A and B agree")
    for i = 1, 7 do t.ok(b.records[i].passage ~= small.records[i].passage) end
    t.eq(#small.generator_hash, 64)
  end
end)

t.case("the hash is over the serialised records", function()
  local ds = dataset("knowledge", { size = 3 })
  local lines = {}
  for i, record in ipairs(ds.records) do lines[i] = dataset.serialise(record) .. "\n" end
  t.eq(sha256.hex(table.concat(lines)), ds.hash)
end)

t.case("spans hold values, relation words and subject mentions", function()
  for _, name in ipairs(tasks) do
    for _, record in ipairs(dataset(name, { size = 60, seed = "B" }).records) do
      for _, fact in ipairs(record.facts) do
        for _, m in ipairs(fact.mentions) do
          t.eq(record.passage:sub(m.value[1] + 1, m.value[2]), fact.value)
          local sentence = record.passage:sub(m.sentence[1] + 1, m.sentence[2])
          t.ok(sentence:match('^"?%u') and sentence:match("%.$"), sentence)
          t.ok(sentence:find(fact.value, 1, true))
          for _, b in ipairs(m.binding) do
            local held = record.passage:sub(b[1] + 1, b[2])
            t.ok(held:match("^%S.*%S$") or held:match("^%S$"), "binding '" .. held .. "' has blanks at its ends")
          end
        end
      end
    end
  end
end)

t.case("a knowledge record is exactly what its template says", function()
  local record = dataset("knowledge", { size = 1 }).records[1]
  local by = {}
  for _, fact in ipairs(record.facts) do by[fact.relation] = fact end
  local p, v = record.passage, function(r) return by[r].value end
  t.eq(p, ("%s was born on %s. They studied in %s in %s. They work as %s %s. They live in %s."):format(v "name",
    v "birth_date", v "university", v "study_place", v("occupation"):match("^[AEIOU]") and "an" or "a",
      v "occupation", v "home"))
  local function held(spans)
    local out = {}
    for i, s in ipairs(spans) do out[i] = p:sub(s[1] + 1, s[2]) end
    return out
  end
  t.eq(held(by.birth_date.mentions[1].binding), { v "name", "was born on" })
  t.eq(held(by.university.mentions[1].binding), { "They", v "name", "studied in" })
  t.eq(held(by.study_place.mentions[1].binding), { "They", v "name", "in" })
  t.eq(held(by.home.mentions[1].binding), { "They", v "name", "live in" })
end)

t.case("coreference: 5 + 4 alternating, and the pronoun alone decides", function()
  local answerable = 0
  for i, record in ipairs(dataset("coreference", { size = 40 }).records) do
    local matched, swapped = 0, 0
    local man = record.passage:find("He is male", 1, true) ~= nil
    for _, q in ipairs(record.questions) do
      local padded = " " .. q.q:lower():gsub("%p", " ") .. " "
      local asks_man = padded:find(" he ", 1, true) ~= nil
      t.eq(q.answerable, asks_man == man, q.q)
      t.eq(q.answerable, q.a ~= "I don't know")
      if q.answerable then matched = matched + 1 else swapped = swapped + 1 end
      t.ok(#q.fact_ids > 0, "an unanswerable question still names what tempts")
    end
    t.eq({ matched, swapped }, i % 2 == 1 and { 5, 4 } or { 4, 5 })
    answerable = answerable + matched
  end
  t.eq(answerable, 180)
end)

t.case("template language: articles, forms of the subject, nested facts", function()
  t.eq({ template.article "oak", template.article "university", template.article "18 men", template.article "hour",
    template.article "Unit" },
    { "an", "a", "an", "an", "a" })
  t.eq(template.possessive "Alders", "Alders'")
  local subject = { name = "Kelm Arcade", article = "the", kind = "arcade", pronouns = { "it", "it", "its", "itself" } }
  local b = text.new(subject, rng.new(1))
  b:sentence("{N} is a(n) <rock> arcade [material:in] a row.", { rock = "oak", material = "x" })
  b:sentence("{his} [owner] is <owner>.", { owner = "Ada" })
  t.eq(b:text(), "The Kelm Arcade is an oak arcade in a row. Its owner is Ada.")
  t.eq(b.facts.owner.mentions[1], { sentence = { 43, 60 }, value = { 56, 59 }, binding = { { 43, 46 }, { 4, 15 },
    { 47, 52 } } })
  t.eq(b:name_fact().mentions[1].value, { 4, 15 })
  t.fails(function() b:sentence("<missing> x.", {}) end, "no value for <missing>")
  t.fails(function() b:sentence("{missing} x.", {}) end, "no filler")
end)

t.case("names do not repeat within a walk", function()
  local seen = {}
  for i = 1, 500 do
    local at = names.walk("A", "test", 500, i)
    t.ok(not seen[at] and at >= 0 and at < 500)
    seen[at] = true
  end
  t.ok(names.walk("A", "test", 500, 1) ~= names.walk("B", "test", 500, 1) or names.walk("A", "test", 500, 2)
    ~= names.walk("B", "test", 500, 2))
end)

t.case("unknown names and bad options are one clear line", function()
  t.fails(function() dataset("knowlege") end, "no dataset 'knowlege' %-> did you mean 'knowledge'%?.*base, "
    .. "coreference, hops, knowledge")
  t.fails(function() dataset("../base") end, "no dataset")
  t.fails(function() dataset(nil) end, "no dataset nil %->")
  t.fails(function() dataset("base", { size = 0 }) end, "size 0 %-> a whole number from 1 to 200")
  t.fails(function() dataset("base", { size = 201 }) end, "from 1 to 200")
  t.fails(function() dataset("base", { size = 1.5 }) end, "size 1.5")
  t.fails(function() dataset("base", { seed = "a/b" }) end, "seed 'a/b'")
end)

t.case("a task file of the user's own loads by path", function()
  local path = os.tmpname() .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write([[
    local base = require("kvbench.dataset").task("knowledge")
    return { name = "mine", size = 2, rules = base.rules, generate = base.generate }]])
  f:close()
  local ds = dataset(path, { size = 2 })
  t.eq(ds.task, "mine")
  t.eq(#ds.records, 2)
  f = assert(io.open(path, "w"))
  f:write("return { name = 'mine' }")
  f:close()
  local other = path:gsub("%.lua$", "2.lua")
  os.rename(path, other)
  t.fails(function() dataset(other) end, "returns no 'size'")
  os.remove(other)
end)

t.case("save writes lines and a manifest, whole or not at all", function()
  local path = os.tmpname()
  local ds = dataset("coreference", { size = 4 })
  dataset.save(ds, path)
  local f = assert(io.open(path, "rb"))
  local content = f:read("*a")
  f:close()
  t.eq(sha256.hex(content), ds.hash)
  f = assert(io.open(path .. ".manifest.json", "rb"))
  local manifest = f:read("*a")
  f:close()
  t.ok(manifest:find('"passages":4,"questions":36,"hash":"' .. ds.hash, 1, true), manifest)
  t.eq(io.open(path .. ".tmp"), nil)
  if pcall(require, "kvbench.cdef") then
    local back = dataset.read(path)
    t.eq({ back.task, back.size, back.questions, back.hash }, { "coreference", 4, 36, ds.hash })
  end
  os.remove(path)
  os.remove(path .. ".manifest.json")
  t.fails(function() dataset.save(ds, "/nonexistent/folder/x") end, "cannot write")
end)
