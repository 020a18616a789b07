-- SPDX-License-Identifier: Apache-2.0
-- coreference: biographies of about 44 words and nine questions that differ from each other in he/she alone. Matched
-- questions have an answer; in their pronoun-swapped twins nobody in the passage is meant, so the answer is "I don't
-- know". Nine kinds, of which a passage has five: four as pairs, the fifth matched in odd records and swapped in even
-- ones (5 + 4, 4 + 5).
local rng = require "kvbench.rng"
local pools = require "kvbench.dataset.pools"
local places = require "kvbench.dataset.places"
local dates = require "kvbench.dataset.dates"
local record = require "kvbench.dataset.record"

local he = { "he", "him", "his", "himself" }
local she = { "she", "her", "her", "herself" }
local types = { name = "Person", birth_date = "Date/Time", birth_place = "Location", gender = "Thing",
  university = "Organization",
  study_place = "Location", occupation = "Thing", employer = "Organization", home = "Location" }

local function value(key) return function(s) return s[key] end end
local function place(key) return function(s) return s[key].text, s[key].aliases end end
local function date(s) return s.date.text, s.date.aliases end

-- The nine kinds: question, answer type, question type, answering facts, answer, cue facts (of a reverse question).
local forward = {
  { "When was {he} born?", "Date/Time", "standard", { "birth_date" }, date },
  { "Where was {he} born?", "Location", "standard", { "birth_place" }, place "birth" },
  { "At which university did {he} study?", "Organization", "standard", { "university" }, value "university" },
  { "What does {he} work as?", "Thing", "standard", { "occupation" }, value "occupation" },
  { "For whom does {he} work?", "Organization", "standard", { "employer" }, value "employer" },
  { "Where does {he} live?", "Location", "standard", { "home" }, place "home" },
}
local reverse = {
  { "If {he} studied in <university>, what is {his} full name?", "Person", "standard", { "name" }, value "name",
    { "university" } },
  { "If {he} works as a(n) <occupation>, what is {his} last name?", "Person", "manipulated", { "name" }, value "last",
    { "occupation" } },
  { "If {he} lives in <home>, what is {his} first name?", "Person", "manipulated", { "name" }, value "first",
    { "home" } },
}

-- Every swapped question has a twin that differs in the pronoun only: nothing else decides what is answerable.
local function pairs_fault(rec)
  local swapped, plain = 0, {}
  local function neutral(q)
    local s = " " .. q:lower():gsub("[%p]", " ") .. " "
    s = s:gsub(" s?he ", " @ ")
    return (s:gsub(" her ", " @@ "):gsub(" his ", " @@ "))
  end
  for _, q in ipairs(rec.questions) do
    if q.answerable then plain[neutral(q.q)] = true else swapped = swapped + 1 end
  end
  local matched = #rec.questions - swapped
  if math.abs(matched - swapped) ~= 1 then return ("%d matched and %d swapped questions, expected 5 and "
    .. "4"):format(matched, swapped) end
  local twins = 0
  for _, q in ipairs(rec.questions) do if not q.answerable and plain[neutral(q.q)] then twins = twins + 1 end end
  if twins ~= 4 then return ("%d he/she pairs, expected 4"):format(twins) end
end

local task = {
  name = "coreference", size = 8000, doc = "template biographies; he/she question pairs of which one has no answer",
  uses = { "kvbench.dataset.pools", "kvbench.dataset.places", "kvbench.dataset.dates",
    "kvbench.dataset.real_names" },
  rules = { words = { 38, 52 }, questions = { 9, 9 }, attributes = 4, answer_words = 7, real = { Location = true },
    whole_names = true, extra = pairs_fault },
}

local function slots(seed, i, r)
  local woman = r:uniform() < 0.5
  local given = woman and pools.female or pools.male
  local s = { woman = woman }
  s.first, s.last = places.person(seed, woman and "coreference/f" or "coreference/m", given, i)
  s.name = s.first .. " " .. s.last
  s.date = dates.draw(r, 1940, 1999)
  s.birth, s.study, s.home = places.draw(r, 3)
  s.university = places.university(r, { s.birth, s.study, s.home })
  s.occupation, s.employer = r:choice(pools.occupations), places.employer(r)
  return s
end

-- Four forward kinds and one reverse, or three and two; in random order, so that the unpaired one is any of them.
local function choose_kinds(r)
  local f, v = r:shuffle({ unpack(forward) }), r:shuffle({ unpack(reverse) })
  local kinds = { f[1], f[2], f[3], v[1], r:uniform() < 0.5 and f[4] or v[2] }
  return r:shuffle(kinds)
end

local function ask(rec, s, kind, swapped, values)
  local woman = s.woman ~= swapped
  local p = woman and she or he
  local a, aliases = kind[5](s)
  rec:ask { template = kind[1], map = { he = p[1], him = p[2], his = p[3] },
    direction = kind[6] and "reverse" or "forward",
    answer_type = kind[2], question_type = kind[3], facts = kind[4], cues = kind[6], a = a, aliases = aliases,
    answerable = not swapped, values = values }
end

--- Record number i (1-based) of a seed.
function task.generate(seed, i)
  local r = rng.new("kvbench/coreference/" .. seed .. "/" .. i)
  local s = slots(seed, i, r)
  local rec = record.new(("coreference-%s-%04d"):format(seed, i), "coreference", {
    name = s.name, kind = "person", pronouns = s.woman and she or he }, types, r)
  local values = { birth_date = s.date.text, birth_place = s.birth.text, gender = s.woman and "female" or "male",
    university = s.university, study_place = s.study.text, occupation = s.occupation, employer = s.employer,
      home = s.home.text }
  rec:say("{N} [birth_date:was born on] <birth_date> [birth_place:in] <birth_place>.", values, nil, "born")
  rec:say("{he} [is] <gender>.", values, nil, "gender")
  rec:say("{he} [university:studied in] <university> [study_place:in] <study_place>.", values, nil, "studied")
  rec:say("{he} [occupation:works as] a(n) <occupation> [employer:for] <employer>.", values, nil, "works")
  rec:say("{he} [lives in] <home>.", values, nil, "lives")
  rec:bind_pronouns("gender")
  local first_swapped = i % 2 == 0
  for k, kind in ipairs(choose_kinds(r)) do
    ask(rec, s, kind, first_swapped, values)
    if k < 5 then ask(rec, s, kind, not first_swapped, values) end
  end
  return rec:finish()
end

return task
