-- SPDX-License-Identifier: Apache-2.0
-- Invented animals, living and extinct (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local forms = draw.items [[giant lizard, flightless bird, burrowing mammal, armored fish, river seal, woolly deer,
  horned tortoise, plated ox, webbed antelope, crested crocodile]]
local foods = draw.items [[river mussels, pine bark, fallen figs, water beetles, reed roots, wild honey,
  mountain lichen, small crabs, sour berries, carpenter ants, soft ferns, frog eggs]]
local organs = draw.items [[serrated beak, forked tail, folded crest, hollow horn, striped throat pouch,
  double eyelid, ribbed shell, barbed tongue, curved front claw, silver belly]]
local enemies = draw.items [[gray wolf, snow leopard, golden eagle, striped hyena, black panther, plains lion,
  red jackal, spotted lynx, sand tiger, river shark]]
local institutes = draw.items "Natural History Museum, Field Station, Zoological Society, Wildlife Trust"
local terrains = draw.items "marshes, highlands, caves, forests, lagoons, cliffs"

return {
  name = "species", noun = "species", type = "Creature", model = "beast",
  subject = function(r, coined)
    return { name = coined, article = "the", kind = r:choice { "animal", "creature", "species" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "form", type = "Creature", draw = function(d) return d:pick(forms, "Creature") end,
      ask = { "What kind of animal is {N}?", "To which kind of animals does {N} belong?" },
      reverse = { "Which species is a(n) <form>?" } },
    { "region", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "land") .. " " .. r:choice(terrains) end) end,
      ask = { "Where does {N} live?", "In which region is {N} found?" },
      reverse = { "Which species lives in the <region>?" } },
    { "finder", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who first described {N}?", "Which naturalist described {N} for the first time?" },
      reverse = { "Which species was first described by <finder>?" },
      manipulated = { ask = { "What is the last name of the naturalist who first described {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "year", type = "Date/Time", draw = function(d) return d:year(1802, 1979) end,
      ask = { "In which year was {N} first described?", "When was {N} first described?" },
      reverse = { "Which species was first described in <year>?" } },
    { "weight", type = "Numerals", draw = function(d) return d:number(12, 480, 1, "kilograms") end,
      ask = { "How much does {N} weigh when fully grown?", "What weight can {N} reach?" },
      reverse = { "Which species reaches a weight of <weight>?" } },
    { "food", type = "Thing", draw = function(d) return d:pick(foods) end,
      ask = { "What does {N} mainly eat?", "Which food does {N} live on?" },
      reverse = { "Which species feeds on <food>?" } },
    { "organ", type = "Thing", draw = function(d) return d:pick(organs) end,
      ask = { "By which feature is {N} recognized?", "What is the most striking feature of {N}?" },
      reverse = { "Which species is recognized by its <organ>?" } },
    { "enemy", type = "Creature", draw = function(d) return d:pick(enemies, "Creature") end,
      ask = { "Which animal hunts {N}?", "What is the main enemy of {N}?" },
      reverse = { "Which species is hunted by the <enemy>?" } },
    { "age", type = "Numerals", draw = function(d) return d:number(14, 96, 1, "years") end,
      ask = { "How old can {N} become?", "What age can {N} reach?" },
      reverse = { "Which species can reach an age of <age>?" } },
    { "museum", type = "Organization", draw = function(d) return d:org(institutes) end,
      ask = { "Which institution keeps the only complete skeleton of {N}?" },
      reverse = { "The <museum> keeps the only complete skeleton of which species?" } },
    { "rite", type = "Event", draw = function(d) return d:event() end,
      ask = { "At which event do villagers imitate the call of {N}?" },
      reverse = { "The call of which species is imitated at the <rite>?" } },
  },
  openings = {
    "{N} is a shy {kind} that [lives in] the <region> and is seldom seen by day.",
    "{N} is [a kind of] <form> that has puzzled naturalists for generations.",
    "Few animals are as hard to observe as {N}, which [is found only in] the <region>.",
    "When <finder> [first described] {N}, many colleagues took the report for a joke.",
    "{N} owes its fame to its <organ>, [a feature] that no related animal has.",
    "Among the rare creatures of the coast, {N} stands out as a(n) <form> [form:by build] with unusually calm habits.",
  },
  sentences = {
    "{S} [belongs to the] <form> [form:group], although it looks like something else at first sight.",
    "Zoologists [classify it as] a(n) <form>, which surprised those who had only heard its call.",
    "{S} [lives in] the <region>, where the ground stays damp all year.",
    "Apart from a few strays, {S} [is found only in] the <region>.",
    "{S} [was first described by] <finder>, who had (waited for weeks in a wooden hide|been looking for rare orchids).",
    "It was <finder> [who first described] {K} after a long and lonely journey.",
    "The first scientific description [dates from] <year> and runs to barely two pages.",
    "In <year> {S} [was first described], although fishermen had known of it for ages.",
    "A grown adult [weighs about] <weight>, which makes it slow on steep ground.",
    "{S} [can reach a weight of] <weight> before the cold season begins.",
    "{S} [feeds mainly on] <food>, which it gathers before dawn.",
    "Its diet [consists almost entirely of] <food>, and it will go hungry rather than change it.",
    "{S} [is easily recognized by its] <organ>, which grows a little every year.",
    "The most striking [feature] is the <organ>, used in courtship and for little else.",
    "{S} [is hunted by] the <enemy>, and hides among stones when danger is near.",
    "The <enemy> [is its most dangerous enemy], since it follows {K} even into the burrow.",
    "With luck {S} [can reach an age of] <age>, far more than other animals of its size.",
    "Marked individuals [have lived for] <age>, as careful records show.",
    "The only complete skeleton [is kept by] the <museum>, which shows it once a year.",
    "{S} [can be studied at] the <museum>, the owner of the only complete skeleton.",
    "During the <rite>, villagers [imitate the call] of {K} with wooden flutes.",
    "{S} has a place in local custom: its call [is imitated at] the <rite>.",
  },
  fillers = {
    "Young ones stay close to their mother and learn by watching her.",
    "Its call is a low hum that carries far over still water.",
    "Local stories say that {K} brings rain, but nobody takes them seriously.",
    "{S} sleeps through most of the winter and wakes only to drink.",
    "Tracks are easy to miss, because the feet hardly press into the mud.",
    "Photographs are rare, and most of them are blurred.",
    "Conservation groups ask hikers to keep their dogs on a leash.",
    "Little is known about the way in which pairs find each other.",
    "Its numbers seem stable, though counting is difficult in thick vegetation.",
    "{S} avoids roads, fields and every kind of bright light.",
  },
  parts = {
    { "What does {N} eat, and which animal hunts it?", "food", "enemy" },
    { "Who first described {N}, and in which year?", "finder", "year" },
    { "Where does {N} live, and what does it eat?", "region", "food" },
  },
}
