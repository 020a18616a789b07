-- SPDX-License-Identifier: Apache-2.0
-- The taggers: text that no generator of ours wrote, the generators' own labels on a seed that the rules were not
-- written on, the arithmetic of the score, rules of the user's own.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local score = require "kvbench.tag.score"
local tag = require "kvbench.tag"

-- passage; then question, answer, answer type, question type
local foreign = {
  { "Marie Curie was a physicist who was born in Warsaw on 7 November 1867. She studied at the University of Paris and won "
    .. "two Nobel Prizes. Her husband Pierre was killed in a street accident in 1906. The couple owned two bicycles.",
    { "Who was killed in a street accident?", "Pierre", "Person", "standard" },
    { "Where was Marie Curie born?", "Warsaw", "Location", "standard" },
    { "When was Marie Curie born?", "7 November 1867", "Date/Time", "standard" },
    { "In what year was Marie Curie born?", "1867", "Date/Time", "manipulated" },
    { "In which year was Pierre killed?", "1906", "Date/Time", "standard" },
    { "What is Marie Curie's last name?", "Curie", "Person", "manipulated" },
    { "At which university did she study?", "University of Paris", "Organization", "standard" },
    { "How many bicycles did the couple own?", "two", "Numerals", "standard" },
    { "Which award did Marie Curie win twice?", "Nobel Prizes", "Thing", "standard" },
    { "Where was she born, and what did she win?", "Warsaw, two Nobel Prizes", "Location", "part" } },
  { "The Great Fire of Lisbon followed the earthquake of 1755. The city lay in ruins, 40,000 people died, and the Company of "
    .. "the Mint paid for 300 new houses. A stray dog found the king under a fallen beam.",
    { "Which disaster did the fire follow?", "the earthquake of 1755", "Event", "standard" },
    { "How many people died?", "40,000", "Numerals", "standard" },
    { "Which company paid for the houses?", "Company of the Mint", "Organization", "standard" },
    { "Which city lay in ruins?", "Lisbon", "Location", "standard" },
    { "What animal found the king?", "a stray dog", "Creature", "standard" },
    { "Why did the king survive?", "a dog found him", "Event", "manipulated" },
    { "Whom did the dog find?", "the king", "Person", "standard" } },
  { "The Velvet Owls are a rock band from Leeds. Their song Paper Moon sold 3 million copies.",
    { "What is the subject of the given passage?", "The Velvet Owls", "Organization", "standard" },
    { "What is the title of the song?", "Paper Moon", "Thing", "standard" },
    { "How many copies were sold?", "3 million", "Numerals", "standard" },
    { "From which town does the band come?", "Leeds", "Location", "standard" } },
}

t.case("text that no generator wrote", function()
  local n = 0
  for _, group in ipairs(foreign) do
    for i = 2, #group do
      local q, a, answer_type, question_type = unpack(group[i])
      local tags = tag({ q = q, a = a }, group[1])
      t.eq(tags.answer_type, answer_type, q .. " (rule: " .. tags.rules.answer_type .. ")")
      t.eq(tags.question_type, question_type, q .. " (rule: " .. tags.rules.question_type .. ")")
      n = n + 1
    end
  end
  t.eq(n, 21)
end)

-- The rules were written looking at seed A; these are seed B. Floors a little below what was measured.
t.case("the generators' labels, seed B", function()
  local floors = { base = { 0.97, 0.99, 200 }, knowledge = { 0.99, 0.99, 100 }, coreference = { 0.99, 0.99, 100 } }
  for name, floor in pairs(floors) do
    local scores = { answer_type = score.new "answer_type", question_type = score.new "question_type" }
    for record in dataset(name, { seed = "B", size = floor[3] }):records() do
      for _, q in ipairs(record.questions) do
        local tags = tag({ q = q.q, a = q.a }, record.passage)
        for axis, s in pairs(scores) do s:add(q[axis], tags[axis]) end
      end
    end
    for i, axis in ipairs(tag.axes) do
      local macro = scores[axis]:result().macro
      t.ok(macro >= floor[i], ("%s, %s: macro F1 %.3f"):format(name, axis, macro))
    end
  end
end)

t.case("precision, recall, F1 and the matrix, by hand", function()
  local s = score.new "question_type"
  for truth, row in pairs { standard = { standard = 6, part = 2 }, part = { part = 3, standard = 1 } } do
    for given, n in pairs(row) do for _ = 1, n do s:add(truth, given) end end
  end
  local r = s:result()
  t.near(r.classes.standard.precision, 6 / 7, 1e-12)
  t.near(r.classes.standard.recall, 6 / 8, 1e-12)
  t.near(r.classes.standard.f1, 2 * 6 / 15, 1e-12)
  t.near(r.classes.part.f1, 2 * 3 / 9, 1e-12)
  t.eq(r.classes.manipulated.support, 0)
  t.near(r.macro, (12 / 15 + 6 / 9) / 2, 1e-12) -- over the classes that occur
  t.near(r.accuracy, 9 / 12, 1e-12)
  t.ok(s:show():find("standard +0.857 +0.750 +0.800 +8 +| +6 +2\n"), s:show())
  t.ok(s:show():find("macro F1 0.733, accuracy 0.750 over 12 questions"), s:show())
end)

local function rules_file(content)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(content)
  f:close()
  return path
end

t.case("rules of the user's own go first", function()
  local path = rules_file [[return { answer_type = { { name = "ships are creatures here", tag = "Creature",
    when = function(f) return f.noun == "ship" end } } }]]
  local mine = tag.new { rules = path }
  local q, passage = { q = "Which ship sank?", a = "Vasa" }, "The Vasa sank."
  t.eq(tag(q, passage).answer_type, "Thing")
  local tags = mine:tag(q, passage)
  t.eq({ tags.answer_type, tags.rules.answer_type }, { "Creature", "ships are creatures here" })
  os.remove(path)
  for content, pattern in pairs {
    ["return 1"] = "returns no table", ["return { colour = {} }"] = "'colour' is no axis",
    ["return { answer_type = { { tag = 'Person' } } }"] = "answer_type rule 1 lacks tag or when",
    ["return { answer_type = { { tag = 'Colour', when = print } } }"] = "tag 'Colour' %-> one of: Person",
    ["return {"] = "do not load",
  } do
    path = rules_file(content)
    t.fails(function() tag.new { rules = path } end, pattern)
    os.remove(path)
  end
  path = rules_file "return { answer_type = { { name = 'bad', tag = 'Thing', when = function(f) return f.x.y end } } }"
  t.fails(function() tag.new({ rules = path }):tag(q, passage) end, "rule 'bad': .*attempt to index")
  os.remove(path)
end)

t.case("imported questions are tagged where they have no tags, and say so", function()
  local ds = dataset { { passage = "Ann was born in Rome.", questions = { { q = "Where was Ann born?", a = "Rome" },
    { q = "Who was born?", a = "Ann", answer_type = "Creature" } } } }
  local r = ds.records[1]
  t.eq({ r.tagged, r.questions[1].answer_type, r.questions[1].question_type, r.questions[2].answer_type },
    { "rules", "Location", "standard", "Creature" })
  t.eq(dataset({ { passage = "x", questions = { { q = "y?", a = "x" } } } }, { untagged = true }).records[1].tagged,
    nil)
  t.eq(dataset("base", { size = 1 }).records[1].tagged, nil)
end)
