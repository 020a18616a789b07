-- SPDX-License-Identifier: Apache-2.0
-- Invented schools and academies.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "school", noun = "school", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return names.coin(r, "org") .. " " .. r:choice(pool.school_tails)
      end),
      article = "the", kind = "school", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "established", type = "Date/Time", draw = function(d) return d:year(d.now - 160, d.now - 80) end,
      ask = { "In which year was {N} established?", "When was {N} established?" },
      reverse = { "Which school was established in <established>?" }, np = "the school established in <established>" },
    { "head", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who is the principal of {N}?", "Which principal runs {N}?" },
      reverse = { "Of which school is <head> the principal?" }, np = "the school run by <head>",
      manipulated = { ask = { "What is the last name of the principal of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "students", type = "Numerals", draw = function(d) return d:number(90, 980, 10, "students") end,
      ask = { "How many young people attend {N}?", "For how many people does {N} have places?" },
      reverse = { "Which school has <students>?" }, np = "the school with <students>" },
    { "material", type = "Thing", draw = function(d) return d:pick(draw.materials) end,
      ask = { "Of what is the main building of {N} made?", "From which material was the main building of {N} built?" },
      reverse = { "The main building of which school is made of <material>?" }, np = "the school built of <material>" },
    { "subject_taught", type = "Thing", draw = function(d) return d:pick(pool.subjects) end,
      ask = { "For which subject is {N} famous?", "Which subject gave {N} its good name?" },
      reverse = { "Which school is famous for teaching <subject_taught>?" },
      np = "the school famous for teaching <subject_taught>" },
    { "mascot", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is the mascot of {N}?", "What creature do the teams of {N} carry on their banner?" },
      reverse = { "Which school has a(n) <mascot> as its mascot?" },
        np = "the school with a(n) <mascot> as its mascot" },
  },
  sentences = {
    "{S} [was established in] <established>, with (one teacher and a borrowed stove|eleven pupils).",
    "A stone in the hall of {S} [gives] <established> [as the year of its foundation].",
    "Since <established>, [when] {S} [established:was set up], its rules have been rewritten only once.",
    "{S} [is run by] <head>, who (teaches first-year classes as well|plays the organ at assemblies).",
    "The principal of {S} [is] <head>, a (tireless reader|former pupil) with a loud laugh.",
    "Under <head>, [the present principal], {S} has (dropped uniforms|opened its garden to the public).",
    "{S} [has room for] <students>, (and a waiting list nearly as long|most of whom board).",
    "About <students> [attend] {S}, many from families that have done so for generations.",
    "With <students> [in its classes], {S} is small enough for everyone to know everyone.",
    "The main building of {S} [is made of] <material>, which (glows after rain|keeps out the summer heat).",
    "Built of <material>, [the main house of] {S} can be seen from the railway line.",
    "For the main building of {S} the founders [chose] <material>, against all advice.",
    "{S} [owes its good name to the teaching of] <subject_taught>, (a subject that others neglect|taught in "
      .. "small groups).",
    "Pupils come to {S} [above all for] <subject_taught>, whatever their parents may say.",
    "In <subject_taught>, {S} [has no rival] in the whole country.",
    "The mascot of {S} [is] a(n) <mascot>, (stuffed and somewhat moth-eaten|painted on every locker).",
    "A(n) <mascot> [is carried as a mascot] by the teams of {S}.",
    "At matches the pupils of {S} [cheer for] a(n) <mascot>, [mascot:the mascot], made of straw.",
  },
  fillers = {
    "Lessons begin with (a song|ten minutes of silence).",
    "The library of {S} is open all (night|weekend) before examinations.",
    "Former pupils send (seeds|books) instead of money.",
    "The food at {S} has a poor reputation, which is (deserved|out of date).",
    "An old (pear tree|pump) in the yard serves as a meeting point.",
    "Strict in its early days, {S} has become (mild|almost playful).",
    "The corridors of {S} are lined with (maps|portraits) that nobody looks at.",
    "Every class plants (a hedge|potatoes) in its first autumn.",
    "Graduates of {S} recognize each other by their (handwriting|whistle).",
    "The clock above the gate of {S} is kept (five minutes fast|deliberately wrong).",
    "Visitors to {S} are shown around by the (youngest|newest) pupils.",
    "Sports are optional, (gardening|mending) is not.",
  },
}
