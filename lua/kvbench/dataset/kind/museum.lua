-- SPDX-License-Identifier: Apache-2.0
-- Invented museums devoted to the subject of a passage.
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "museum", noun = "museum", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return names.coin(r, "surname") .. " " .. r:choice(pool.museum_tails)
      end),
      article = "the", kind = "museum", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "opened", type = "Date/Time", draw = function(d) return d:date(d.since, d.now) end,
      ask = { "When did {N} open?", "On which date was {N} opened?" },
      reverse = { "Which museum was opened on <opened>?" }, np = "the museum opened on <opened>",
      manipulated = { ask = { "In which year was {N} opened?" }, of = function(v) return v:match("%d+$") end } },
    { "architect", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who designed the building of {N}?", "Which architect designed the rooms of {N}?" },
      reverse = { "The building of which museum was designed by <architect>?" },
      np = "the museum designed by <architect>",
      manipulated = { ask = { "What is the first name of the architect of {N}?" },
        of = function(v) return v:match("^%S+") end } },
    { "visitors", type = "Numerals", draw = function(d) return d:number(11000, 98000, 500, "visitors") end,
      ask = { "How many people come to {N} each year?", "What is the yearly attendance of {N}?" },
      reverse = { "Which museum attracts <visitors> a year?" }, np = "the museum with <visitors> a year" },
    { "treasure", type = "Thing", draw = function(d) return d:pick(pool.treasures) end,
      ask = { "What is the most valuable piece in {N}?", "Which object is the pride of {N}?" },
      reverse = { "Which museum owns a(n) <treasure>?" }, np = "the museum that owns a(n) <treasure>" },
    { "street", type = "Location", draw = function(d)
        return d:fresh("Location",
          function(r) return r:choice(pool.street_heads) .. " " .. r:choice(pool.street_tails) end) end,
      ask = { "On which street is {N}?", "Where does one find {N}?" },
      reverse = { "Which museum is on <street>?" }, np = "the museum on <street>" },
    { "donor", type = "Organization", draw = function(d) return d:org(pool.sponsors) end,
      ask = { "Which institution supports {N} with money?", "Who is the main sponsor of {N}?" },
      reverse = { "Which museum is sponsored by the <donor>?" }, np = "the museum sponsored by the <donor>" },
  },
  sentences = {
    "{S} [opened on] <opened>, (a day of heavy rain|with free lemonade for everyone).",
    "On <opened> {S} [welcomed its first visitors], although (the paint was still wet|two rooms were not yet "
      .. "finished).",
    "The doors of {S} [have been open since] <opened>, apart from (a short break for repairs|Mondays).",
    "The building of {S} [was designed by] <architect>, who (hid every cable behind oak panels|insisted on low "
      .. "windows).",
    "The rooms that house {S} are the work of <architect>, [the architect], who accepted no fee.",
    "It was <architect> [who designed] {S}, having won (a competition|a bet) against more famous rivals.",
    "In a good year {S} [attracts] <visitors>, (more than the town has beds for|many of them on rainy days).",
    "Some <visitors> a year [find their way to] {S}, most of them by chance.",
    "{S} [counts] <visitors> a year, a number that (has hardly changed|its founders never dreamed of).",
    "The pride of {S} [is] a(n) <treasure>, kept in (a case of thick glass|dim light).",
    "Nobody leaves {S} without having seen the <treasure>, [its most valuable piece].",
    "The most valuable [piece in] {S} is a(n) <treasure>, bought at (a country auction|a flea market).",
    "{S} [is on] <street>, between (a pharmacy and a music shop|two chestnut trees).",
    "The entrance of {S}, [easily missed], is on <street>, where a small brass plate marks the door.",
    "Buses stop on <street>, right [in front of] {S}.",
    "{S} [is supported by] the <donor>, which (pays for the night watch|asks for nothing in return).",
    "The <donor> [is the main sponsor] of {S} and is thanked on every ticket.",
    "Much of the budget of {S} [comes from] the <donor>, and the rest from the sale of postcards.",
  },
  fillers = {
    "Children are allowed to touch (nearly everything|the copies).",
    "The labels are written by hand and rarely longer than (a sentence|two lines).",
    "{S} is quiet in the morning and crowded after (lunch|church).",
    "The attendants know a great deal and (love to talk|wait to be asked).",
    "Part of the collection is still in (boxes|storage).",
    "Concerts are held in the (courtyard|stairwell) on warm evenings.",
    "A guest book near the exit is full of (drawings|complaints about the stairs).",
    "{S} lends pieces to other houses, but never for long.",
    "The cafe of {S} serves a (plum|walnut) cake that has its own admirers.",
    "The lighting is kept low to protect the (paper|fabrics).",
    "School groups get a (lantern|magnifying glass) at the door of {S}.",
    "{S} has been broken into once, and only (the clock|a ladder) was missing.",
  },
}
