-- SPDX-License-Identifier: Apache-2.0
-- Invented prisons (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local endings = draw.items "Prison, Fortress, Jail, Penitentiary"
local colonists = draw.items "Navy, Mining Company, Salt Company, Trading House, Merchant League"
local goods = draw.items [[fishing nets, roof tiles, army boots, hemp rope, wooden crates, brass buttons,
  straw mats, soap bars, cotton sacks, ship sails]]
local waters = draw.items "Strait, Bay, Sound, Channel"
local uses = draw.items [[a museum, a music school, a seed bank, an archive, a bird sanctuary, a hostel,
  a film studio, a weather station]]

return {
  name = "prison", noun = "prison", type = "Location", model = "town",
  subject = function(r, coined)
    return { name = coined .. " " .. r:choice(endings), kind = r:choice { "prison", "complex" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "builder", type = "Organization", draw = function(d) return d:org(colonists) end,
      ask = { "Who built {N}?", "Which organization constructed {N}?" },
      reverse = { "Which prison was built by the <builder>?" } },
    { "water", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "land") .. " " .. r:choice(waters) end) end,
      ask = { "On which body of water does {N} lie?", "Which water does {N} overlook?" },
      reverse = { "Which prison lies on the <water>?" } },
    { "opened", type = "Date/Time", draw = function(d) return d:year(1805, 1899) end,
      ask = { "In which year did {N} receive its first inmates?", "When was {N} opened?" },
      reverse = { "Which prison was opened in <opened>?" } },
    { "closed", type = "Date/Time", draw = function(d) return d:date(1921, 1988) end,
      ask = { "On which date was {N} closed?", "When did the last inmates leave {N}?" },
      reverse = { "Which prison was closed on <closed>?" },
      manipulated = { ask = { "In which year was {N} closed?" }, of = function(v) return v:match("%d+$") end } },
    { "cells", type = "Numerals", draw = function(d) return d:number(112, 960, 4) end,
      ask = { "How many cells does {N} have?", "What is the number of cells in {N}?" },
      reverse = { "Which prison has <cells> cells?" } },
    { "inmate", type = "Person", draw = function(d) return d:person() end,
      ask = { "Which poet was held in {N}?", "Which poet was an inmate of {N}?" },
      reverse = { "In which prison was the poet <inmate> held?" },
      manipulated = { ask = { "What is the last name of the poet who was held in {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "warden", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who was the first warden of {N}?", "Which warden ran {N} in its early years?" },
      reverse = { "Of which prison was <warden> the first warden?" },
      manipulated = { ask = { "What is the first name of the first warden of {N}?" },
        of = function(v) return v:match("^%S+") end } },
    { "goods", type = "Thing", draw = function(d) return d:pick(goods) end,
      ask = { "What did the inmates of {N} make?", "Which goods were produced in {N}?" },
      reverse = { "In which prison did inmates make <goods>?" } },
    { "material", type = "Thing", draw = function(d) return d:pick(draw.materials) end,
      ask = { "From what was {N} built?", "Of which material are the walls of {N}?" },
      reverse = { "Which prison was built from <material>?" } },
    { "use", type = "Thing", draw = function(d) return d:pick(uses) end,
      ask = { "What is {N} used as today?", "What do the buildings of {N} house now?" },
      reverse = { "Which prison is used as <use> today?" } },
    { "revolt", type = "Event", draw = function(d) return d:event() end,
      ask = { "During which celebration did a group escape from {N}?", "On which occasion was there an escape from "
        .. "{N}?" },
      reverse = { "From which prison did a group escape during the <revolt>?" } },
    { "guards", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is shown on the gate of {N}?", "What creature is cast in iron on the gate of {N}?" },
      reverse = { "Which prison shows a(n) <guards> on its gate?" } },
  },
  openings = {
    "On a bare headland above the <water> [lies] {N}, a(n) {kind} that sailors used to avoid.",
    "{N} is a(n) {kind} that [was built by] the <builder> and feared along the whole coast.",
    "For most of its history {N} was known for a single name, that of the poet <inmate>, [who was held there].",
    "{N} is an old {kind} [built from] <material>, with a single gate and hardly any windows.",
    "Visitors who enter {N} today find <use>, since the {kind} [use:has long been put to another purpose].",
    "{N} [received its first inmates in] <opened>, and the records of that night have survived.",
  },
  sentences = {
    "{S} [was built by] the <builder>, which wanted a place that nobody could leave unseen.",
    "The construction [was the work of] the <builder>, which never published the true cost.",
    "{S} [overlooks] the <water>, whose currents made every escape by boat a gamble.",
    "From the cells one [could hear] the <water>, [water:just below the walls], in every storm.",
    "The first inmates [arrived in] <opened>, before the roof was finished.",
    "{S} [was opened in] <opened>, without speeches or guests.",
    "The last inmates [left on] <closed>, and the keys were handed to the mayor.",
    "{S} [was closed on] <closed>, after years of complaints about the damp.",
    "Arranged in long wings, the <cells> [cells] are so low that a tall adult cannot stand upright.",
    "{S} [has] <cells> [cells:cells], all of them facing north.",
    "Its best-known inmate [was] <inmate>, a poet who wrote on scraps of cloth.",
    "The poet <inmate> [was held in] {K} for a satire that few people had read.",
    "The first [warden] was <warden>, a former surveyor with a love of rules.",
    "{S} [was first run by] <warden>, a [warden] who kept a precise diary.",
    "The inmates [had to make] <goods>, which were sold far beyond the region.",
    "Work began before sunrise: in silence, everybody [produced] <goods> until dusk.",
    "The walls [are made of] <material>, cut by the inmates themselves.",
    "{S} [was built from] <material>, which stays cold even in summer.",
    "Today {S} [serves as] <use>, and the old kitchen is a reading room.",
    "After a long debate the buildings [were turned into] <use>.",
    "A small group [escaped during] the <revolt>, when most of the staff were in town.",
    "During the <revolt>, [while the watch was thin], several men [revolt:escaped over the wall of] {K}.",
    "The iron gate [shows] a(n) <guards>, the only ornament that the founders allowed.",
    "A(n) <guards>, cast in iron, [decorates the gate] of {K}.",
    "The money and the plans for {S} [came from] the <builder>, (which kept both secret|never known for kindness).",
    "On stormy days spray from the <water> [reaches the walls of] {S}, (salting every window|far below the "
      .. "guard walk).",
    "The history of {S} [starts in] <opened>, (with nineteen prisoners in chains|on a moonless night).",
    "As a place of detention {S} [came to its end on] <closed>, (to the relief of its neighbors|after a short "
      .. "ceremony).",
    "A count of the doors in {S} [gives] <cells> [cells:cells], (each with a slot for bread|not all of them "
      .. "ever used).",
    "The poet <inmate> [spent three years in] {S} (and wrote about little else|on account of four lines of verse).",
    "Discipline in {S} [was shaped by] <warden>, [the first warden], who (counted the spoons in person|distrusted "
      .. "silence).",
    "Most of the <goods> [sold along the coast were made in] {S}, (at no cost to the owners|by candlelight).",
    "For the walls of {S} the builders [chose] <material>, (thick enough to swallow any shout|shipped in by barge).",
    "The rooms of {S} now [hold] <use>, (and the yard a garden|open on most days).",
    "The only successful escape from {S} [happened during] the <revolt>, (by way of the laundry|with the help "
      .. "of a baker).",
    "On the gate of {S} one still [sees] a(n) <guards>, (rusted but recognizable|its paint long gone).",
  },
  fillers = {
    "Letters were read twice before they were passed on.",
    "Food was plain, and in hard winters there was little of it.",
    "A narrow path leads down to the landing stage, where supplies came in.",
    "Former inmates rarely spoke about {K} in public.",
    "The chapel has kept its painted ceiling, which was restored by volunteers.",
    "Guided walks begin at the gate and end in the inner yard.",
    "Graffiti in several languages can still be read near the stairs.",
    "Historians value the account books, in which every candle is listed.",
    "Fog often hides {K} from view until noon.",
    "Novelists have described it as a machine for wasting time.",
    "The kitchen of {S} produced (the same soup|porridge) every day of the year.",
    "Guards at {S} were paid badly and (slept worse|left as soon as they could).",
    "Swallows nest in the (watchtower|bakery) of {S}.",
    "A tunnel was found under {S}, leading (nowhere|to a locked cellar).",
    "The bell of {S} was rung (at every change of watch|only for fires).",
    "Visitors to {S} often lower their voices without (noticing|being told).",
  },
  parts = {
    { "Who was the first warden of {N}, and which poet was held there?", "warden", "inmate" },
    { "Who built {N}, and what was it built from?", "builder", "material" },
    { "How many cells does {N} have, and what did the inmates make?", "cells", "goods" },
  },
}
