-- SPDX-License-Identifier: Apache-2.0
-- Datasets: byte-reproducible, prefixes of one stream, spans that hold what they claim, and a validator that rejects
-- each kind of broken record for its own reason.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local template = require "kvbench.dataset.template"
local text = require "kvbench.dataset.text"
local names = require "kvbench.dataset.names"
local sha256 = require "kvbench.dataset.sha256"
local json_encode = require "kvbench.json_encode"
local rng = require "kvbench.rng"

local tasks = { "base", "knowledge", "coreference" }

local function words(s)
  local n = 0
  for _ in s:gmatch("%S+") do n = n + 1 end
  return n
end

local function copy(v)
  if type(v) ~= "table" then return v end
  local c = {}
  for k, x in pairs(v) do c[k] = copy(x) end
  return c
end

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

t.case("full sizes and counts of Table 1, every record valid", function()
  local expected = { base = { 200, 1199 }, knowledge = { 4000, 52000 }, coreference = { 8000, 72000 } }
  for _, name in ipairs(tasks) do
    local ds = dataset(name)
    t.eq({ ds.size, ds.questions }, expected[name], name)
    local n, ids, total, repeats = 0, {}, 0, 0
    for _, record in ipairs(ds.records) do
      t.ok(not ids[record.id], "repeated id " .. record.id)
      ids[record.id], n, total = true, n + #record.questions, total + words(record.passage)
      if ids[record.subject] then repeats = repeats + 1 end
      ids[record.subject] = true
    end
    t.eq(n, ds.questions)
    t.ok(repeats <= 2, name .. ": subjects repeat " .. repeats .. " times")
    local mean = ({ base = 175, knowledge = 32, coreference = 44 })[name]
    t.near(total / ds.size, mean, name == "base" and 5 or 1.5, name .. " mean length")
  end
end)

t.case("the records are these bytes", function()
  local pinned = {
    base = "edab32296c085a7f40062ca83125ac0258c80c2ded1e163d3daa2d99ece26a96",
    knowledge = "c8dadf961f884d00da08bc62bd8d1d30177a56be3a7738537d6e34da603051b1",
    coreference = "0e7fa98e4437a22e46e0f30b17b0cef567e5e9f7337adf2e65127e65e88f5121",
  }
  for _, name in ipairs(tasks) do t.eq(dataset(name, { size = 25, seed = "A" }).hash, pinned[name], name) end
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
          t.ok(sentence:match("^%u") and sentence:match("%.$"), sentence)
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

t.case("base: domains in balance, both directions, all answer types", function()
  local ds = dataset("base")
  local domains, types, kinds, five = {}, {}, {}, 0
  for _, record in ipairs(ds.records) do
    domains[record.domain] = (domains[record.domain] or 0) + 1
    if #record.questions == 5 then five = five + 1 end
    for _, q in ipairs(record.questions) do
      types[q.answer_type], kinds[q.question_type] = true, (kinds[q.question_type] or 0) + 1
      if q.question_type == "standard" then t.ok(words(q.a) <= 5, q.a) end
      t.eq(q.direction == "reverse", q.a == record.subject)
    end
  end
  local count = 0
  for _, n in pairs(domains) do
    count = count + 1
    t.eq(n, 20)
  end
  t.eq(count, 10)
  t.eq(five, 1)
  for _, type in ipairs { "Person", "Thing", "Organization", "Creature", "Location", "Numerals", "Date/Time",
    "Event" } do
    t.ok(types[type], "no answer of type " .. type)
  end
  t.ok(kinds.manipulated > 40 and kinds.part > 30)
end)

t.case("base: the place in the passage does not give the answer away", function()
  local total, n, first = {}, {}, 0
  for _, record in ipairs(dataset("base").records) do
    for _, fact in ipairs(record.facts) do
      if fact.relation ~= "name" then
        local key = record.domain .. "." .. fact.relation
        total[key] = (total[key] or 0) + fact.mentions[1].value[1] / #record.passage
        n[key] = (n[key] or 0) + 1
      end
    end
  end
  for key, sum in pairs(total) do
    if n[key] >= 12 then t.ok(sum / n[key] > 0.08 and sum / n[key] < 0.85, key .. " stands at " .. sum / n[key]) end
    if sum / n[key] < 0.2 then first = first + 1 end
  end
  t.ok(first <= 12, first .. " relations stand near the beginning")
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
    .. "coreference, knowledge")
  t.fails(function() dataset("../base") end, "no dataset")
  t.fails(function() dataset(nil) end, "no dataset 'nil'")
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
