-- SPDX-License-Identifier: Apache-2.0
-- Invented persons in a role: author of a book, director of a film, leader of a project ...
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "person", noun = "person", type = "Person",
  --- role  what the passage calls the person: "author"
  subject = function(d, role)
    local woman = d.r:uniform() < 0.5
    local name = d:fresh("Person", function(r) return (names.person(r, woman and "f" or "m")) end)
    return { name = name, short = name:match("%S+$"), kind = role or "person", role = role,
      pronouns = woman and { "she", "her", "her", "herself" } or { "he", "him", "his", "himself" } }
  end,
  facts = {
    { "born", type = "Date/Time", draw = function(d) return d:date(d.now - 66, d.now - 36) end,
      ask = { "When was {N} born?", "On which date was {N} born?" },
      reverse = { "Who was born on <born>?" }, np = "the {role} born on <born>",
      manipulated = { ask = { "In which year was {N} born?" }, of = function(v) return v:match("%d+$") end } },
    { "nationality", type = "Thing", draw = function(d) return d:pick(draw.nationalities) end,
      ask = { "What nationality does {N} have?", "Of which nationality is {N}?" },
      reverse = { "Which person in the passage is <nationality>?" }, np = "the <nationality> {role}" },
    { "trade", type = "Thing", draw = function(d) return d:pick(pool.trades) end,
      ask = { "What did {N} originally work as?", "In which occupation did {N} start out?" },
      reverse = { "Who once worked as a(n) <trade>?" }, np = "the {role} who once worked as a(n) <trade>" },
    { "pastime", type = "Thing", draw = function(d) return d:pick(pool.pastimes) end,
      ask = { "What is the favorite pastime of {N}?", "How does {N} spend free evenings?" },
      reverse = { "Whose favorite pastime is <pastime>?" }, np = "the {role} whose favorite pastime is <pastime>" },
    { "pet", type = "Creature", draw = function(d) return d:pick(pool.pets, "Creature") end,
      ask = { "Which animal does {N} keep?", "What pet lives with {N}?" },
      reverse = { "Who keeps a(n) <pet>?" }, np = "the {role} who keeps a(n) <pet>" },
    { "medal", type = "Thing", draw = function(d)
        return d:fresh("Thing", function(r) return names.coin(r, "org") .. " " .. r:choice(pool.medal_tails) end) end,
      ask = { "Which honor did {N} receive?", "Which award was given to {N}?" },
      reverse = { "Who received the <medal>?" }, np = "the {role} who received the <medal>" },
  },
  sentences = {
    "{S} [was born on] <born>, the (youngest|second) of five children.",
    "Born on <born>, [a date that] {S} [born:shares with a grandparent], the future {kind} was a quiet child.",
    "In the parish register the birth of {S} [is entered under] <born>, in (violet|fading) ink.",
    "{S} [holds] a(n) <nationality> passport and (travels with a single bag|speaks four languages badly).",
    "As a(n) <nationality> [citizen], {S} needed (a special permit|two visas) to work in the region.",
    "{S}, [who is] <nationality> [nationality:by birth], has lived in (rented rooms|harbor towns) for most of "
      .. "{his} life.",
    "{S} [originally worked as] a(n) <trade>, (a job that taught patience|and was good at it).",
    "Earlier in life {S} [had earned a living as] a(n) <trade>, mostly (at night|in the off-season).",
    "Old colleagues still remember {S} [as] a(n) <trade>, [trade:the first job] that paid the rent.",
    "On free evenings {S} [likes to spend the time] <pastime>, (alone and without hurry|with the radio on).",
    "{S} [relaxes by] <pastime>, which {he} calls (the better half of the day|a cure for meetings).",
    "Friends of {S} [tease] {him} about {his} love of <pastime>.",
    "{S} [keeps] a(n) <pet>, which (has its own chair|sleeps under the desk).",
    "A(n) <pet> [shares the house with] {S} and (tolerates guests|answers to no name).",
    "Photographs usually show {S} together with {his} <pet>, [the pet] of the household.",
    "{S} [received] the <medal>, and (skipped the ceremony|keeps it in a drawer with old keys).",
    "The <medal> [was awarded to] {S}, to the delight of {his} former teachers.",
    "In recognition of long service {S} [was given] the <medal>, the only honor {he} ever accepted.",
  },
  fillers = {
    "{S} answers letters by hand and (never|seldom) uses a telephone.",
    "Interviews with {S} are rare and (short|surprisingly funny).",
    "Colleagues describe {S} as (stubborn but fair|calm in a crisis).",
    "{S} gets up before dawn and does the (difficult|dull) work first.",
    "Success came late and changed (little|almost nothing).",
    "{S} has no patience for (jargon|long speeches).",
    "Younger colleagues learned from {S} how to (ask simple questions|throw things away).",
    "{S} once (missed a train|lost a suitcase) and wrote a whole chapter while waiting.",
    "There are rumors of an unfinished (memoir|opera).",
    "{S} carries a (notebook|pocket lens) at all times.",
    "When asked about plans, {S} tends to (change the subject|smile and say nothing).",
    "The desk of {S} is said to be perfectly (empty|tidy), except on Fridays.",
  },
}
