-- SPDX-License-Identifier: Apache-2.0
-- Cup finals in the career of a football player.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"

local grounds = draw.items [[Stadium, Park, Arena, Ground, Oval, Field, Bowl, Meadow]]
local sides = draw.items [[Rangers, Albion, Dynamos, Corinthians, Spartans, Olympic, Strollers, Saints]]

return {
  name = "athlete_final", noun = "final", type = "Event", since = "born", plus = 19, step = 4,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year was {N} of {M} played?" },
      reverse = { "Which final of {M} was played in <year>?" } },
    { "rival", type = "Organization", draw = function(d) return d:org(sides) end,
      ask = { "Against which team was {N} of {M} played?", "Which team was the opponent in {N} of {M}?" },
      reverse = { "Which final of {M} was played against <rival>?" } },
    { "referee", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who was the referee in {N} of {M}?", "Who refereed {N} of {M}?" },
      reverse = { "Which final of {M} was refereed by <referee>?" },
      manipulated = { ask = { "What is the last name of the person who refereed {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "crowd", type = "Numerals", draw = function(d) return d:number(21000, 98000, 500, "spectators") end,
      ask = { "How many people watched {N} of {M}?", "What was the attendance at {N} of {M}?" },
      reverse = { "Which final of {M} drew <crowd>?" } },
    { "ground", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "surname") .. " " .. r:choice(grounds) end)
      end,
      ask = { "Where was {N} of {M} played?", "In which stadium was {N} of {M} held?" },
      reverse = { "Which final of {M} was played in <ground>?" } },
  },
  openings = {
    "{N} [was played in] <year>, (on a pitch like porridge|under floodlights).",
    "{N} of {M} [was a match against] <rival>, (the favorites by far|old enemies).",
    "{N} [took place at] <ground>, (sold out for weeks|in a gale).",
    "{N} [was refereed by] <referee>, (who had forgotten the cards|at the end of a long season).",
  },
  sentences = {
    "The year [of] {S} was <year>, as every fan knows.",
    "In <year> {S} [was decided] (by a header|in the last minute).",
    "The opponents [in] {S} were called <rival>, (a team without stars|a well-drilled team).",
    "In {S} it was <rival> [that had to be beaten], on neutral ground.",
    "The referee [of] {S} was <referee>, (booed at half-time|impartial to a fault).",
    "For <referee>, [the referee], {S} was (an honor|a long evening).",
    "The crowd [at] {S} numbered <crowd>, many of them standing.",
    "With <crowd> [in the stands], {S} set a record for the competition.",
    "{S} [was held at] <ground>, (with its famous slope|far from both cities).",
    "The venue [of] {S} was <ground>, (since torn down|freshly painted).",
  },
  fillers = {
    "The ball used in {S} was auctioned for charity.",
    "It rained during {S}, and the band got wet.",
    "Television showed {S} in a version without sound.",
    "Supporters still argue about the third goal of {S}.",
  },
}
