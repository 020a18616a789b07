-- SPDX-License-Identifier: Apache-2.0
-- Tours of a band.
local draw = require "kvbench.dataset.draw"

local vehicles = draw.items [[a converted ambulance, a mail truck, a horse trailer, a double-decker bus, a bread
  van, a camper with a broken heater, a retired fire engine, a small cargo boat]]

return {
  name = "band_tour", noun = "tour", type = "Event", since = "year", plus = 1, step = 4,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} of {M} take place?", "When did {M} go on {N}?" },
      reverse = { "Which tour of {M} took place in <year>?" } },
    { "manager", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who managed {N} of {M}?", "Who was the manager during {N} of {M}?" },
      reverse = { "Which tour of {M} was managed by <manager>?" },
      manipulated = { ask = { "What is the last name of the person who was the manager during {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "shows", type = "Numerals", draw = function(d) return d:number(12, 94, 1, "concerts") end,
      ask = { "How many times did {M} perform during {N}?", "What was the number of performances on {N} of {M}?" },
      reverse = { "Which tour of {M} had <shows>?" } },
    { "vehicle", type = "Thing", draw = function(d) return d:pick(vehicles) end,
      ask = { "In what did {M} travel during {N}?", "What means of transport was used on {N} of {M}?" },
      reverse = { "On which tour did {M} travel in <vehicle>?" } },
    { "last_stop", type = "Location", draw = function(d) return d:place("town") end,
      ask = { "Where did {N} of {M} end?", "In which town did {N} of {M} come to an end?" },
      reverse = { "Which tour of {M} ended in <last_stop>?" } },
  },
  openings = {
    "{N} [began in] <year>, (with little money and many plans|before anyone was quite ready).",
    "For {N} the travel arrangements [were in the hands of] <manager>, (who had never done this before|a friend "
      .. "of a friend).",
    "{N} of {M} [counted] <shows>, (some of them in front of a dozen people|and hardly a day off).",
    "{N} is remembered for <vehicle>, [in which everybody traveled] (and slept|with all the instruments).",
  },
  sentences = {
    "It was in <year> that {S} [finally got under way], (after two delays|on a rainy Monday).",
    "In <year> {S} [took place], (against the advice of the doctor|with new songs).",
    "The manager [of] {S} was <manager>, (who kept receipts in a shoe box|strict about bedtimes).",
    "Without <manager>, [the manager], {S} would have (ended after a week|gone bankrupt).",
    "Altogether {S} [consisted of] <shows>, (a few of them in the open air|more than planned).",
    "With <shows> [on the calendar], {S} left no time for (sightseeing|laundry).",
    "All through {S} the musicians [traveled in] <vehicle>, (which broke down twice|to the delight of children).",
    "For {S} someone [had found] <vehicle>, [vehicle:to travel in], (cheap but unheated|painted by hand).",
    "{S} [ended in] <last_stop>, (with a concert that lasted until sunrise|in front of an exhausted crowd).",
    "The last concert of {S} [was given in] <last_stop>, (where it had started to snow|to long applause).",
  },
  fillers = {
    "Everyone lost weight during {S}, (mostly for lack of time to eat|and a few lost their voices).",
    "Reviews of {S} were (mixed|friendly) at first and enthusiastic later.",
    "Recordings made on {S} were thought lost for (years|a long time).",
    "{S} paid for itself, (but only just|thanks to the sale of shirts).",
  },
}
