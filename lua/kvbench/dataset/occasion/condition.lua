-- SPDX-License-Identifier: Apache-2.0
-- Outbreaks of an illness.
local draw = require "kvbench.dataset.draw"

local measures = draw.items [[closing the wells, burning old bedding, airing the barns, a ban on dancing, boiling
  all milk, moving the market, whitewashing every cellar, quarantine on barges]]

return {
  name = "condition_outbreak", noun = "outbreak", type = "Event", since = "year", plus = 2, step = 11,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} of {M} occur?", "When did {N} of {M} take place?" },
      reverse = { "Which outbreak of {M} occurred in <year>?" } },
    { "place", type = "Location", draw = function(d) return d:place("land") end,
      ask = { "Which region was hit by {N} of {M}?", "Where did {N} of {M} occur?" },
      reverse = { "Which outbreak of {M} hit <place>?" } },
    { "cases", type = "Numerals", draw = function(d) return d:number(120, 8800, 10, "cases") end,
      ask = { "How many people fell ill in {N} of {M}?", "What was the size of {N} of {M}?" },
      reverse = { "Which outbreak of {M} led to <cases>?" } },
    { "doctor", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who fought {N} of {M}?", "Who led the fight against {N} of {M}?" },
      reverse = { "Which outbreak of {M} was fought by <doctor>?" },
      manipulated = { ask = { "What is the last name of the person who led the fight against {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "measure", type = "Thing", draw = function(d) return d:pick(measures) end,
      ask = { "What ended {N} of {M}?", "Which measure brought {N} of {M} to an end?" },
      reverse = { "Which outbreak of {M} was ended by <measure>?" } },
  },
  openings = {
    "{N} [occurred in] <year>, (at the end of a mild winter|when nobody was prepared).",
    "{N} of {M} [hit] <place>, (a region without a single hospital|far from the coast).",
    "{N} [was fought by] <doctor>, (almost alone|who fell ill as well).",
    "{N} [led to] <cases>, (counted by village priests|according to a careful estimate).",
  },
  sentences = {
    "The records of {S} [are dated] <year>, and remarkably complete.",
    "In <year> {S} [broke out], (first in a boarding house|within a single week).",
    "The region [struck by] {S} was <place>, (thinly settled and poor|known for its fairs).",
    "Nearly every village in <place> [was touched by] {S} sooner or later.",
    "Before it was over {S} [had produced] <cases>, (most of them light|some of them severe).",
    "A total of <cases> [is on file for] {S}, though the true number may be higher.",
    "The fight [against] {S} was led by <doctor>, (who rode from farm to farm|with a staff of volunteers).",
    "Much of what is known about {S} was written down by <doctor>, [who fought it].",
    "In the end <measure> [brought] {S} to a halt, (to general relief|after other attempts had failed).",
    "The measure [that ended] {S} was <measure>, (unpopular but effective|proposed by a midwife).",
  },
  fillers = {
    "Schools were closed during {S}, which pleased at least the children.",
    "Charlatans made good money during {S} with (amulets|sugar water).",
    "The mail was smoked over juniper during {S}.",
    "Songs about {S} were sung long after the last patient had recovered.",
  },
}
