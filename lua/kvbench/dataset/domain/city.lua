-- SPDX-License-Identifier: Apache-2.0
-- Invented ancient cities (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local peoples = names.list [[Ashvari Belduun Corathi Dremmen Elsharan Fayoti Gurmesh Hathori Ilvane Jastari Khemune
  Lorvessa]]
local goods = draw.items [[purple dye, cedar oil, dried dates, glass beads, tin ingots, salted fish, woven carpets,
  incense resin, obsidian blades, blue pigment]]
local disasters = draw.items [[a long drought, a river flood, an earthquake, a plague of locusts, a palace fire,
  a desert storm, a siege, a volcanic eruption]]
local sciences = draw.items [[water clocks, star charts, bone surgery, arched bridges, tide tables, lens grinding,
  bronze casting, paper making, canal locks, map making]]
local institutes = draw.items "Archaeological Institute, University Museum, Antiquities Service, Excavation Fund"

return {
  name = "city", noun = "city", type = "Location", model = "ancient",
  subject = function(r, coined)
    return { name = coined, kind = r:choice { "city", "metropolis" }, pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "people", type = "Organization", draw = function(d) return d:pick(peoples, "Organization") end,
      ask = { "Which people built {N}?", "By whom was {N} founded?" },
      reverse = { "Which city was built by the <people>?" } },
    { "river", type = "Location", draw = function(d)
        return d:fresh("Location", function(r)
          local name = names.coin(r, "land")
          return name .. " River", nil, name
        end) end,
      ask = { "On which river did {N} lie?", "Which river flowed past {N}?" },
      reverse = { "Which city lay on the <river>?" } },
    { "ruler", type = "Person", draw = function(d)
        return d:fresh("Person", function(r) return r:choice { "Queen ", "King " } .. names.coin(r, "ancient") end) end,
      ask = { "Who ruled {N} at its height?", "Under which ruler did {N} flourish?" },
      reverse = { "Which city flourished under <ruler>?" } },
    { "goods", type = "Thing", draw = function(d) return d:pick(goods) end,
      ask = { "What did the merchants of {N} trade?", "From which goods did {N} grow rich?" },
      reverse = { "Which city grew rich from <goods>?" } },
    { "end_by", type = "Event", draw = function(d) return d:pick(disasters, "Event") end,
      ask = { "What brought {N} to an end?", "Which disaster ended {N}?" },
      reverse = { "Which city was ended by <end_by>?" } },
    { "digger", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who discovered the ruins of {N}?", "Which archaeologist found {N}?" },
      reverse = { "Which city was found by <digger>?" },
      manipulated = { ask = { "What is the last name of the archaeologist who found {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "found", type = "Date/Time", draw = function(d) return d:date(1841, 1964) end,
      ask = { "On which date were the ruins of {N} discovered?", "When were the ruins of {N} found?" },
      reverse = { "Which city was found on <found>?" },
      manipulated = { ask = { "In which year were the ruins of {N} found?", "In which year was {N} discovered?" },
        of = function(v) return v:match("%d+$") end } },
    { "residents", type = "Numerals", draw = function(d) return d:number(4000, 88000, 500) end,
      ask = { "How many people lived in {N}?", "What was the population of {N} at its height?" },
      reverse = { "Which city had <residents> inhabitants?" } },
    { "science", type = "Thing", draw = function(d) return d:pick(sciences) end,
      ask = { "For which craft or science was {N} famous?", "What were the scholars of {N} known for?" },
      reverse = { "Which city was famous for <science>?" } },
    { "god", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal was sacred in {N}?", "What creature was worshipped in {N}?" },
      reverse = { "In which city was the <god> sacred?" } },
    { "feast", type = "Event", draw = function(d) return d:event() end,
      ask = { "Which great celebration was held in {N}?", "Which celebration drew crowds to {N}?" },
      reverse = { "Which city celebrated the <feast>?" } },
    { "keeper", type = "Organization", draw = function(d) return d:org(institutes) end,
      ask = { "Which organization excavates {N} today?", "Who leads the excavations at {N} today?" },
      reverse = { "Which city is excavated by the <keeper>?" } },
  },
  openings = {
    "{N} was a(n) {kind} [on the banks of] the <river>, laid out in rings around a low hill.",
    "Long before maps gave it a name, {N} was [built by] the <people> at a crossing of caravan routes.",
    "{N} was a(n) {kind} that [grew rich from] <goods> and forgot how to defend itself.",
    "Under <ruler>, {N} [was at the height] of its power and needed no walls.",
    "The city of {N} [was famous for] <science>, and students came from distant lands.",
    "Nobody knew where {N} had stood until <digger> [discovered the ruins] under a field of barley.",
  },
  sentences = {
    "{S} [was built by] the <people>, who left hardly any written laws.",
    "The <people> [founded] {K} on dry ground and never moved its center.",
    "{S} [lay on] the <river>, which has changed its course since then.",
    "Fields [along] the <river> [river:fed the population] in good years and bad.",
    "Its most powerful [ruler] was <ruler>, whose face appears on every coin.",
    "In the days of <ruler>, {S} [flourished] and sent ships to every port.",
    "Its merchants [traded] <goods>, packed in small sealed jars.",
    "Most of the wealth [came from] <goods>, taxed at the eastern gate.",
    "In the end <end_by> [destroyed] what generations had built.",
    "{S} [came to an end through] <end_by>, as the upper layers show.",
    "The ruins [were discovered by] <digger>, who had come to count birds.",
    "It was <digger> [who found] {K}, led there by a shepherd's story.",
    "On <found> the first wall [came to light] beneath a layer of sand.",
    "The ruins [were found on] <found>, at the end of an unlucky season.",
    "At its height {S} [had] <residents> [residents:inhabitants], housed in narrow brick towers.",
    "Tax lists suggest [a population of] <residents>, not counting travelers.",
    "Its scholars [were known for] <science>, a skill handed down in families.",
    "{S} [owed its reputation to] <science>, taught in an open court.",
    "The <god> [was sacred here], and harming one was a serious offense.",
    "Temples [were dedicated to] the <god>, shown with open eyes.",
    "Crowds [came for] the <feast>, which lasted until the oil ran out.",
    "The greatest [celebration] of the year was the <feast>, when debts were forgiven.",
    "Excavations [are led by] the <keeper>, which works only in winter.",
    "The <keeper> [digs at the site today] and publishes its notes without delay.",
    "The name of the <people> [as builders of] {S} appears (on every gate|in a single inscription).",
    "Barges on the <river> [brought] grain and stone to {S}, [river:on its banks] since the earliest days.",
    "Under no ruler [did] {S} [ruler:do better] than under <ruler>, (a careful judge|who reigned for decades).",
    "Far away, people [knew] {S} [by] its <goods>, (worth more than silver|sold in tiny amounts).",
    "The last chapter of {S} [is] <end_by>, (of which travelers left reports|written in ash and rubble).",
    "The discovery of {S} [is owed to] <digger>, (who had been looking for a well|against all expert opinion).",
    "Since <found>, [the day of its discovery], {S} has (changed our picture of the period|kept scholars busy).",
    "In its best days {S} [counted] <residents> [residents:inhabitants], (more than any neighbor|crowded within "
      .. "the outer ring).",
    "Students traveled to {S} [to learn about] <science>, (a closely guarded skill|and stayed for years).",
    "The people of {S} [worshipped] the <god>, (which no one was allowed to touch|in open courtyards).",
    "Nothing in {S} [compared with] the <feast>, (when masters served their servants|lit by floating lamps).",
    "Today {S} [is excavated by] the <keeper>, (inch by inch|on a shrinking budget).",
  },
  fillers = {
    "Streets were paved with flat stones that still show the marks of wheels.",
    "Houses shared their inner courts, so that neighbors met every day.",
    "Songs about {K} survived among people who had never seen it.",
    "Clay tablets from the archive deal mostly with quarrels over goats.",
    "Painted plaster covers many walls, its colors protected by the dry air.",
    "Wells were guarded day and night, and water was shared by strict rules.",
    "Modern visitors walk on wooden boards to spare the floors.",
    "Scholars disagree about the meaning of the blue doors.",
    "Children played a board game whose rules have been worked out again.",
    "Poets called {K} the place where roads grow tired.",
    "Roof tiles from {S} have been found in (distant ports|nearby villages).",
    "Coins minted in {S} were (square|pierced in the middle).",
    "The gardens of {S} were watered by (hand|clay pipes).",
    "Merchants in {S} settled disputes by (drawing straws|a game of dice).",
    "The alphabet of {S} has still not been (fully read|agreed upon).",
    "Dogs had their own (graves|names) in {S}.",
  },
  parts = {
    { "Which people built {N}, and on which river did it lie?", "people", "river" },
    { "Who ruled {N} at its height, and who discovered its ruins?", "ruler", "digger" },
    { "What did the merchants of {N} trade, and what brought the city to an end?", "goods", "end_by" },
  },
}
