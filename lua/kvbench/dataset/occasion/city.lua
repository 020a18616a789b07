-- SPDX-License-Identifier: Apache-2.0
-- Excavations of an ancient city.
local draw = require "kvbench.dataset.draw"

local finds = draw.items [[a bronze mirror, a hoard of seals, a painted coffin, a grain scale, a stone calendar, a
  board game of bone, a royal bath, a potter's wheel]]
local funders = draw.items [[Steel Works, Cotton Exchange, Lottery Fund, Learned Society, Brewing Company, Coal
  Board, Evening Paper, Bank]]

return {
  name = "city_excavation", noun = "excavation", type = "Event", since = "found", plus = 2, step = 11,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} of {M} begin?", "When was {N} of {M} carried out?" },
      reverse = { "Which excavation of {M} began in <year>?" } },
    { "director", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who directed {N} of {M}?", "Who was the director of {N} of {M}?" },
      reverse = { "Which excavation of {M} was directed by <director>?" },
      manipulated = { ask = { "What is the last name of the person who was the director of {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "find", type = "Thing", draw = function(d) return d:pick(finds) end,
      ask = { "What was the main find of {N} of {M}?", "What was unearthed during {N} of {M}?" },
      reverse = { "During which excavation of {M} was <find> unearthed?" } },
    { "workers", type = "Numerals", draw = function(d) return d:number(22, 690, 1, "workers") end,
      ask = { "How many people were employed on {N} of {M}?", "What was the size of the crew of {N} of {M}?" },
      reverse = { "Which excavation of {M} employed <workers>?" } },
    { "funder", type = "Organization", draw = function(d) return d:org(funders) end,
      ask = { "Who paid for {N} of {M}?", "Which company paid for {N} of {M}?" },
      reverse = { "Which excavation of {M} was paid for by the <funder>?" } },
  },
  openings = {
    "{N} [began in] <year>, (with a single trench|under a merciless sun).",
    "{N} of {M} [was directed by] <director>, (feared for early starts|whose notes are a pleasure to read).",
    "{N} [gave work to] <workers>, (paid by the basket|from five villages).",
    "{N} [is famous for] <find>, (which no one had expected so near the surface|lifted out by crane).",
  },
  sentences = {
    "The first trench of {S} [was dug in] <year>, on the wrong side of the hill.",
    "In <year> {S} [could start], (once the permits had arrived|two weeks late).",
    "The director [of] {S} was <director>, (who drew every shard|strict about lunch breaks).",
    "Everything about {S} [bears the mark of] <director>, [director:its director].",
    "The main [find of] {S} was <find>, (wrapped in reed mats|complete but for one corner).",
    "Towards the end {S} [turned up] <find>, to loud cheers.",
    "At its busiest {S} [employed] <workers>, cooks not included.",
    "With <workers> [on the payroll], {S} was a blessing for the district.",
    "{S} [was paid for by] the <funder>, (which wanted its name on the vases|for three seasons).",
    "The money [for] {S} came from the <funder>, in irregular sums.",
  },
  fillers = {
    "Jackals stole sandwiches all through {S}.",
    "The photographs of {S} were taken from a (balloon|kite).",
    "Several careers began on {S}.",
    "The dust of {S} got into every (watch|camera).",
  },
}
