-- SPDX-License-Identifier: Apache-2.0
-- Invented research projects that document the subject of a passage.
local draw = require "kvbench.dataset.draw"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "project", noun = "project", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return r:choice(pool.project_heads) .. " " .. r:choice(pool.project_tails)
      end),
      article = "the", kind = "project", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "begun", type = "Date/Time", draw = function(d) return d:year(d.now - 6, d.now - 1) end,
      ask = { "In which year was {N} launched?", "When did {N} begin?" },
      reverse = { "Which project was launched in <begun>?" }, np = "the project launched in <begun>" },
    { "sponsor", type = "Organization", draw = function(d) return d:org(pool.sponsors) end,
      ask = { "Who pays for {N}?", "Which institution finances {N}?" },
      reverse = { "Which project is financed by the <sponsor>?" }, np = "the project financed by the <sponsor>" },
    { "members", type = "Numerals", draw = function(d) return d:number(12, 96, 1, "volunteers") end,
      ask = { "How many people help {N} without pay?", "On how many unpaid helpers does {N} rely?" },
      reverse = { "Which project relies on <members>?" }, np = "the project that relies on <members>" },
    { "tool", type = "Thing", draw = function(d) return d:pick(pool.tools) end,
      ask = { "What equipment does {N} mainly use?", "With which tools does {N} do most of its work?" },
      reverse = { "Which project works mainly with <tool>?" }, np = "the project that works mainly with <tool>" },
    { "office", type = "Location", draw = function(d)
        return d:fresh("Location",
          function(r) return r:choice(pool.street_heads) .. " " .. r:choice(pool.street_tails) end) end,
      ask = { "Where is the office of {N}?", "At which address does {N} have its office?" },
      reverse = { "Which project has its office in <office>?" }, np = "the project with its office in <office>" },
    { "logo", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is the logo of {N}?", "What creature appears in the logo of {N}?" },
      reverse = { "Which project has a(n) <logo> as its logo?" }, np = "the project with a(n) <logo> as its logo" },
  },
  sentences = {
    "{S} [was launched in] <begun>, (with more hope than money|after several failed applications).",
    "Work [began in] <begun>, (in the rainiest spring on record|without any ceremony).",
    "Since <begun>, [when] {S} [begun:was started], not one (month|season) has passed without a new report.",
    "{S} [is financed by] the <sponsor>, which (asks for short summaries only|has never missed a payment).",
    "The bills [are paid by] the <sponsor>, whose auditors visit {S} once a year.",
    "A grant from the <sponsor> [keeps] {S} alive, although (inflation has eaten into it|it hardly covers the rent).",
    "{S} [relies on] <members>, who (share rooms and meals|come mostly from the neighborhood).",
    "Over the years <members> [have joined] {S}, many of them (retired|students).",
    "Without its <members>, [who work unpaid], {S} could not last a (month|season).",
    "Most of the work [is done with] <tool>, which (had to be borrowed at first|are easy to repair).",
    "{S} [works mainly with] <tool>, having tried (cheaper|heavier) equipment without success.",
    "The use of <tool> [sets] {S} apart from older studies, which relied on memory and luck.",
    "The office of {S} [is in] <office>, above (a bakery|a locksmith).",
    "From two rooms in <office>, [where] {S} [office:has its office], bulletins are sent to anyone who asks.",
    "Letters should be addressed to <office>, [the seat of] {S}, since nobody answers the telephone.",
    "The logo of {S} [shows] a(n) <logo>, (sketched on a napkin|a private joke among the founders).",
    "A(n) <logo> [serves as the logo] of {S} and is printed on every (envelope|helmet).",
    "{S} [has as its logo] a(n) <logo>, which was chosen by a vote.",
  },
  fillers = {
    "Results are published (openly|in plain language), so that anyone may check them.",
    "Every object is weighed, drawn and given a (number|label).",
    "The weekly meeting is known for its (soup|silences).",
    "Some findings contradict (older reports|what guidebooks say), which has led to letters of protest.",
    "A (small|travelling) display of photographs has been touring local schools.",
    "{S} has had its share of setbacks, among them (a burst pipe|a stolen van).",
    "Most of the data had to be copied by (hand|lamplight).",
    "{S} is often named as a model for similar efforts elsewhere.",
    "Newcomers spend their first (days|weeks) sorting index cards.",
    "Colleagues abroad follow {S} with (friendly|close) interest.",
    "Nobody involved with {S} expects quick answers.",
    "Old (notebooks|tape recordings) have turned out to be more useful than anyone thought.",
  },
}
