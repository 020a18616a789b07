-- SPDX-License-Identifier: Apache-2.0
-- Invented workshops and small manufactures.
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "workshop", noun = "workshop", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return names.coin(r, "surname") .. " " .. r:choice(pool.workshop_tails)
      end),
      article = "the", kind = "workshop", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "started", type = "Date/Time", draw = function(d) return d:year(d.now - 140, d.now - 74) end,
      ask = { "In which year was {N} started?", "When did {N} start up?" },
      reverse = { "Which workshop was started in <started>?" }, np = "the workshop started in <started>" },
    { "owner", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who owns {N}?", "To whom does {N} belong?" },
      reverse = { "Which workshop belongs to <owner>?" }, np = "the workshop that belongs to <owner>",
      manipulated = { ask = { "What is the first name of the owner of {N}?" },
        of = function(v) return v:match("^%S+") end } },
    { "hands", type = "Numerals", draw = function(d) return d:number(9, 88, 1, "workers") end,
      ask = { "How many people does {N} employ?", "What is the size of the staff of {N}?" },
      reverse = { "Which workshop employs <hands>?" }, np = "the workshop with <hands>" },
    { "ware", type = "Thing", draw = function(d) return d:pick(pool.wares) end,
      ask = { "What does {N} produce?", "What is made in {N}?" },
      reverse = { "Which workshop produces <ware>?" }, np = "the workshop that produces <ware>" },
    { "lane", type = "Location", draw = function(d)
        return d:fresh("Location",
          function(r) return r:choice(pool.street_heads) .. " " .. r:choice(pool.street_tails) end) end,
      ask = { "Where does {N} stand?", "At which address does one find {N}?" },
      reverse = { "Which workshop stands in <lane>?" }, np = "the workshop in <lane>" },
    { "client", type = "Organization", draw = function(d) return d:org(pool.clients) end,
      ask = { "Who is the best customer of {N}?", "Which company buys most from {N}?" },
      reverse = { "Of which workshop is the <client> the best customer?" },
      np = "the workshop that supplies the <client>" },
  },
  sentences = {
    "{S} [was started in] <started>, in (a rented shed|the cellar of a brewery).",
    "The oldest order book of {S} [begins in] <started>, [started:the year it opened].",
    "Since <started>, [when] {S} [started:took its first order], the machines have been replaced three times.",
    "{S} [belongs to] <owner>, who (still sharpens the tools in person|inherited it from an aunt).",
    "The owner of {S} [is] <owner>, a (careful bookkeeper|collector of clocks) who hates waste.",
    "Decisions at {S} [are made by] <owner>, [owner:the owner], usually while walking.",
    "{S} [employs] <hands>, (none of whom has ever been dismissed|several from the same family).",
    "A staff of <hands> [keeps] {S} going through the busy season.",
    "With just <hands>, {S} [hands:delivers] as much as factories ten times its size.",
    "{S} [produces] <ware>, (packed in straw and brown paper|each piece stamped by hand).",
    "Most of the <ware> [sold in the region come from] {S}.",
    "What {S} [makes] is <ware>, and nobody there would dream of anything else.",
    "{S} [stands in] <lane>, behind (a green gate|a row of garages).",
    "One hears {S} before one sees it: [its saws sound through] <lane> all day.",
    "The address of {S}, [unchanged from the start], is <lane>.",
    "The best customer of {S} [is] the <client>, which (pays late but well|orders every spring).",
    "Half of the output of {S} [goes to] the <client>, year after year.",
    "The <client> [buys more from] {S} than from anyone else.",
  },
  fillers = {
    "Apprentices at {S} sweep the floor for a (month|season) before they touch a tool.",
    "The air smells of (glue|hot metal), and the windows are always open.",
    "Lunch is taken at (noon|eleven), standing up.",
    "{S} has survived two fires and (a flood|a lawsuit).",
    "Nothing leaves {S} before it has been checked (twice|by three people).",
    "Old (patterns|drawings) are kept in flat drawers, wrapped in cloth.",
    "There is a radio, but it is (rarely|never) switched on.",
    "Customers of {S} are used to (waiting|plain speech).",
    "{S} does not advertise, except on (matchboxes|calendars).",
    "The youngest worker at {S} makes the (coffee|tea).",
    "Offcuts are given to (schools|neighbors) for nothing.",
    "A cat guards {S} at night, with (moderate|great) success.",
  },
}
