-- SPDX-License-Identifier: Apache-2.0
-- knowledge: slot-filled biographies of about 32 words, 13 questions each (paper: Table 1 and the template of 3.1).
-- One template on purpose: no wording varies, so what compression changes is not language. Each fact is stated once.
local rng = require "kvbench.rng"
local pools = require "kvbench.dataset.pools"
local places = require "kvbench.dataset.places"
local dates = require "kvbench.dataset.dates"
local record = require "kvbench.dataset.record"

local task = {
  name = "knowledge", size = 4000, doc = "template biographies; 13 question kinds, four of them reverse",
  uses = { "kvbench.dataset.pools", "kvbench.dataset.places", "kvbench.dataset.dates",
    "kvbench.dataset.real_names" },
  rules = { words = { 27, 37 }, questions = { 13, 13 }, attributes = 4, answer_words = 9, real = { Location = true },
    whole_names = true },
}

local types = { name = "Person", birth_date = "Date/Time", university = "Organization", study_place = "Location",
  occupation = "Thing", home = "Location" }
local given = {}
for _, pool in ipairs { pools.female, pools.male } do for _, name in ipairs(pool) do given[#given + 1] = name end end

-- kind, question, direction, answer type, question type, answering facts, cue facts; answer as a function of the slots
local kinds = {
  { "When was {N} born?", "forward", "Date/Time", "standard", { "birth_date" },
    function(s) return s.date.text, s.date.aliases end },
  { "In which year was {N} born?", "forward", "Date/Time", "manipulated", { "birth_date" },
    function(s) return s.date.year end },
  { "Where did {N} study?", "forward", "Organization", "standard", { "university" },
    function(s) return s.university end },
  { "Where is the university in which {N} studied?", "forward", "Location", "standard", { "study_place" },
    function(s) return s.study.text, s.study.aliases end },
  { "What does {N} work as?", "forward", "Thing", "standard", { "occupation" }, function(s) return s.occupation end },
  { "Where does {N} live?", "forward", "Location", "standard", { "home" }, function(s) return s.home.text,
    s.home.aliases end },
  { "What is {N's} first name?", "forward", "Person", "manipulated", { "name" }, function(s) return s.first end },
  { "What is {N's} last name?", "forward", "Person", "manipulated", { "name" }, function(s) return s.last end },
  { "What does {N} work as, and in which country do they live?", "forward", "Thing", "part", { "occupation", "home" },
    function(s) return s.occupation .. ", " .. s.home.country, { s.occupation .. " in " .. s.home.country,
      s.occupation .. " and " .. s.home.country } end },
  { "Who studied in <university>?", "reverse", "Person", "standard", { "name" }, function(s) return s.name end,
    { "university" } },
  { "Who works as a(n) <occupation>?", "reverse", "Person", "standard", { "name" }, function(s) return s.name end,
    { "occupation" } },
  { "Who was born on <birth_date>?", "reverse", "Person", "standard", { "name" }, function(s) return s.name end,
    { "birth_date" } },
  { "Who lives in <home>?", "reverse", "Person", "standard", { "name" }, function(s) return s.name end, { "home" } },
}

--- Record number i (1-based) of a seed.
function task.generate(seed, i)
  local r = rng.new("kvbench/knowledge/" .. seed .. "/" .. i)
  local s = {}
  s.first, s.last = places.person(seed, "knowledge", given, i)
  s.name = s.first .. " " .. s.last
  s.date = dates.draw(r, 1940, 1999)
  s.study, s.home = places.draw(r, 2)
  s.university = places.university(r, { s.study, s.home })
  s.occupation = r:choice(pools.occupations)

  local rec = record.new(("knowledge-%s-%04d"):format(seed, i), "knowledge", {
    name = s.name, kind = "person", pronouns = { "they", "them", "their", "themselves" } }, types, r)
  local values = { birth_date = s.date.text, university = s.university, study_place = s.study.text,
    occupation = s.occupation, home = s.home.text }
  rec:say("{N} [was born on] <birth_date>.", values, nil, "born")
  rec:say("{he} [university:studied in] <university> [in] <study_place>.", values, nil, "studied")
  rec:say("{he} [work as] a(n) <occupation>.", values, nil, "works")
  rec:say("{he} [live in] <home>.", values, nil, "lives")
  for _, k in ipairs(kinds) do
    local a, aliases = k[6](s)
    rec:ask { template = k[1], direction = k[2], answer_type = k[3], question_type = k[4], facts = k[5], cues = k[7],
      a = a, aliases = aliases, values = values }
  end
  return rec:finish()
end

return task
