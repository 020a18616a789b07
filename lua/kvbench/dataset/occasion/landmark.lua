-- SPDX-License-Identifier: Apache-2.0
-- Restorations of a building.
local draw = require "kvbench.dataset.draw"

local causes = draw.items [[a lightning strike, a burst water main, an infestation of beetles, a runaway tram, a
  minor earthquake, a night of vandalism, a hard frost, a chimney fire]]
local finds = draw.items [[a sealed bottle, a set of copper plates, a pair of dancing shoes, a walled-up clock, a
  love letter, a bricklayer's lunch box, a hidden fresco, a wooden crutch]]

return {
  name = "landmark_restoration", noun = "restoration", type = "Event", since = "opened", plus = 6, step = 18,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} of {M} begin?", "When did {N} of {M} take place?" },
      reverse = { "Which restoration of {M} began in <year>?" } },
    { "engineer", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who directed {N} of {M}?", "Who was in charge of {N} of {M}?" },
      reverse = { "Which restoration of {M} was directed by <engineer>?" },
      manipulated = { ask = { "What is the last name of the person who was in charge of {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "cause", type = "Event", draw = function(d) return d:pick(causes, "Event") end,
      ask = { "What made {N} of {M} necessary?", "After which mishap was {N} of {M} begun?" },
      reverse = { "Which restoration of {M} became necessary after <cause>?" } },
    { "cost", type = "Numerals", draw = function(d) return d:number(14000, 980000, 1000, "crowns") end,
      ask = { "How much did {N} of {M} cost?", "What was the price of {N} of {M}?" },
      reverse = { "Which restoration of {M} cost <cost>?" } },
    { "find", type = "Thing", draw = function(d) return d:pick(finds) end,
      ask = { "What was discovered during {N} of {M}?", "Which object came to light during {N} of {M}?" },
      reverse = { "During which restoration of {M} was <find> discovered?" } },
  },
  openings = {
    "{N} [began in] <year>, (behind a high fence|when the cracks could no longer be ignored).",
    "{N} of {M} [was directed by] <engineer>, (known for working slowly|against much advice from outside).",
    "{N} [became necessary after] <cause>, (which nobody had thought possible|at the worst possible moment).",
    "{N} [swallowed] <cost>, (twice the estimate|most of it for scaffolding).",
  },
  sentences = {
    "The scaffolding for {S} [went up in] <year>, (to the dismay of the postcard sellers|for the whole summer).",
    "In <year> {S} [got under way], (with a crew of only nine|after long debates).",
    "The person [in charge of] {S} was <engineer>, (who slept on the site|a specialist in old mortar).",
    "Under <engineer>, [who directed] {S}, every stone was numbered.",
    "The reason [for] {S} was <cause>, (as the newspapers reported at length|and the damage was considerable).",
    "After <cause>, {S} [could not be put off] any longer.",
    "The bill [for] {S} came to <cost>, (paid in small installments|a scandal at the time).",
    "All in all {S} [cost] <cost>, not a coin of it wasted.",
    "In the course of {S} workers [came upon] <find>, (now shown under glass|which caused much speculation).",
    "The strangest [discovery made during] {S} was <find>, (hidden behind a false wall|in the roof).",
  },
  fillers = {
    "Pigeons had to be evicted before {S} could start.",
    "A (roofer|stonemason) fell during {S} and survived with a sprained wrist.",
    "Opinions on the color chosen in {S} are still divided.",
    "Photographs taken before {S} show ivy up to the eaves.",
  },
}
