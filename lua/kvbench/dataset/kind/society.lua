-- SPDX-License-Identifier: Apache-2.0
-- Invented societies of people devoted to the subject of a passage.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "society", noun = "society", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return names.coin(r, "org") .. " " .. r:choice(pool.society_tails)
      end),
      article = "the", kind = "society", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "founded", type = "Date/Time", draw = function(d) return d:year(d.since, d.now) end,
      ask = { "In which year was {N} founded?", "When was {N} founded?" },
      reverse = { "Which society was founded in <founded>?" }, np = "the society founded in <founded>" },
    { "seat", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "surname") .. " " .. r:choice(pool.houses) end) end,
      ask = { "In which building does {N} meet?", "Where does {N} hold its meetings?" },
      reverse = { "Which society meets in <seat>?" }, np = "the society that meets in <seat>" },
    { "members", type = "Numerals", draw = function(d) return d:number(140, 2900, 10, "members") end,
      ask = { "How large is {N}?", "How many people belong to {N}?" },
      reverse = { "Which society has <members>?" }, np = "the society with <members>" },
    { "emblem", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is the emblem of {N}?", "What creature do members of {N} wear on their badge?" },
      reverse = { "Which society has a(n) <emblem> as its emblem?" },
        np = "the society with a(n) <emblem> as its emblem" },
    { "feast", type = "Event", draw = function(d) return d:event() end,
      ask = { "Which yearly event is organized by {N}?", "Which event does {N} organize every year?" },
      reverse = { "Which society organizes the <feast>?" }, np = "the society that organizes the <feast>" },
    { "journal", type = "Thing", draw = function(d)
        return d:fresh("Thing",
          function(r) return r:choice(pool.journal_heads) .. " " .. r:choice(pool.journal_tails) end) end,
      ask = { "What is the title of the newsletter of {N}?", "What is the newsletter of {N} called?" },
      reverse = { "Which society publishes the newsletter <journal>?" },
      np = "the society that publishes the newsletter <journal>" },
  },
  sentences = {
    "{S} [was founded in] <founded> by (a handful of enthusiasts|nine people around a kitchen table).",
    "The minutes of {S} [go back to] <founded>, [founded:the year of its foundation], and have been kept "
      .. "without a gap.",
    "In <founded> {S} [was entered in the register of clubs], (under a misspelled name|as one of the last of "
      .. "its kind).",
    "{S} [meets in] <seat>, a building with (narrow stairs and bad coffee|excellent lamps).",
    "Meetings of {S} [are held in] <seat>, (always on a Tuesday|where the chairs never suffice).",
    "Anyone who looks for {S} [will find it in] <seat>, on the floor below the roof.",
    "{S} [has] <members>, (most of whom have never met|spread over several countries).",
    "With its <members>, {S} [members:is larger than] one would expect from the size of its room.",
    "Of the <members> [who belong to] {S}, hardly a third come to the general assembly.",
    "The emblem of {S} [is] a(n) <emblem>, (worn on a small tin badge|printed in faded green).",
    "A(n) <emblem> [was chosen as the emblem] of {S} after three rounds of voting.",
    "Members of {S} know each other by the <emblem> [on their badge].",
    "Once a year {S} [organizes] the <feast>, which pays for (the heating|the library).",
    "The <feast> [is organized by] {S} and draws far more people than (the lectures|the annual report).",
    "Preparations for the <feast>, [the yearly event of] {S}, begin in early spring.",
    "The newsletter of {S} [is called] <journal> and (appears whenever there is enough to say|has a crossword "
      .. "on its last page).",
    "<journal>, [the newsletter of] {S}, is edited by a retired typesetter.",
    "Much of what is known in the field first appeared in <journal>, [the newsletter of] {S}, a modest sheet "
      .. "with wide margins.",
  },
  fillers = {
    "New members are asked to bring (a chair|cake).",
    "Lectures are short, and the (questions|arguments) afterwards are long.",
    "The library holds (rare prints|old postcards) that researchers come from far away to see.",
    "{S} keeps out of politics as far as it can.",
    "Quarrels over (spelling|opening hours) have twice nearly split {S}.",
    "Walks are offered in (summer|spring), and nobody is turned away.",
    "A youth section was set up (recently|some time ago) and is thriving.",
    "Donations are small but (steady|welcome).",
    "{S} answers every inquiry, if sometimes only after a (month|season).",
    "An honorary title is given to anyone who attends (faithfully|without complaint) for a decade.",
    "Outsiders find the (rules|customs) of {S} hard to follow.",
    "The treasurer of {S} is said to count every (stamp|candle).",
  },
}
