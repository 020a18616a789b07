-- SPDX-License-Identifier: Apache-2.0
-- Expeditions in search of a species.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"

local sponsors = draw.items [[Tobacco Company, Insurance Office, Daily Tribune, Shipping Office, Radio Corporation,
  Cement Works, Tea Company, Watch Factory]]

return {
  name = "species_expedition", noun = "expedition", type = "Event", since = "year", plus = 1, step = 12,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} in search of {M} set out?", "When did {N} to study {M} take place?" },
      reverse = { "Which expedition in search of {M} took place in <year>?" } },
    { "leader", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who led {N} in search of {M}?", "Who was at the head of {N} to study {M}?" },
      reverse = { "Which expedition in search of {M} was led by <leader>?" },
      manipulated = { ask = { "What is the last name of the person who was at the head of {N} to study {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "seen", type = "Numerals", draw = function(d) return d:number(3, 69, 1, "sightings") end,
      ask = { "How often was {M} observed during {N}?", "How many observations of {M} did {N} report?" },
      reverse = { "Which expedition reported <seen> of {M}?" } },
    { "camp", type = "Location", draw = function(d)
        return d:fresh("Location", function(r)
          local name = names.coin(r, "surname")
          return "Camp " .. name, nil, name
        end)
      end,
      ask = { "Where did {N} in search of {M} have its base?", "What was the base of {N} in search of {M}?" },
      reverse = { "Which expedition in search of {M} had its base at <camp>?" } },
    { "sponsor", type = "Organization", draw = function(d) return d:org(sponsors) end,
      ask = { "Who paid for {N} in search of {M}?", "Which company paid for {N} to study {M}?" },
      reverse = { "Which expedition in search of {M} was paid for by the <sponsor>?" } },
  },
  openings = {
    "{N} [set out in] <year>, (with porters and far too much luggage|before the rains).",
    "{N} to study {M} [was led by] <leader>, (a veteran of colder places|who spoke the local language).",
    "{N} [worked from] <camp>, (a cluster of tents and one tin hut|reached after a week on foot).",
    "The money for {N} [came from] the <sponsor>, (in exchange for the photographs|which hoped for publicity).",
  },
  sentences = {
    "The start of {S} [fell in] <year>, (a year of floods|later than intended).",
    "In <year> {S} [left for the field], (watched by a small crowd|with new equipment).",
    "At the head of {S} [stood] <leader>, (calm to the point of rudeness|for whom it was the last journey).",
    "Members of {S} praised <leader>, [the leader], for (good humor|sound judgment) in bad weather.",
    "The report of {S} [lists] <seen>, (all of them at dawn|each with a small sketch).",
    "In the end {S} [could claim] <seen>, (which satisfied nobody|more than the skeptics had predicted).",
    "The base of {S} [was] <camp>, (a damp place|on a ridge above the fog).",
    "For months {S} [was based at] <camp>, where (the tea tasted of smoke|mail came twice).",
    "{S} [was paid for by] the <sponsor>, (after other doors had closed|on very strict terms).",
    "Boxes marked with the name of the <sponsor>, [which financed] {S}, still turn up in attics.",
  },
  fillers = {
    "Leeches were the main topic of the diaries kept on {S}.",
    "A (cook|guide) who took part in {S} later wrote the liveliest account.",
    "Equipment left behind by {S} is used by herders to this day.",
    "{S} returned with (crates of plaster casts|several hundred plates) and one case of fever.",
  },
}
