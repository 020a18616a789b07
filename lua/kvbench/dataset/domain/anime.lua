-- SPDX-License-Identifier: Apache-2.0
-- Invented animated series (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local endings = draw.items "Drift, Chronicle, Nexus, Protocol, Requiem, Voyage, Paradox, Quartet"
local studios = draw.items "Animation, Pictures, Film Works, Studio"
local jobs = draw.items [[noodle cook, clock repairer, rail inspector, kite maker, cloud surveyor, ferry captain,
  ghost lawyer, moon gardener, bicycle courier, map forger]]
local objects = draw.items [[bronze compass, cracked mirror, singing kettle, paper crane, blue umbrella,
  wooden flute, star chart, glass bead, silver thimble, rusty bell]]
local networks = draw.items "Television, Network, Broadcasting, Channel"
local orders = draw.items "Order, Syndicate, Circle, Brigade"

return {
  name = "anime", noun = "series", type = "Thing", model = "anime",
  subject = function(r, coined)
    return { name = coined .. " " .. r:choice(endings), kind = r:choice { "series", "show" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "creator", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who created {N}?", "Which artist created the series {N}?" },
      reverse = { "Which series was created by <creator>?", "What is the title of the series that <creator> created?" },
      manipulated = { ask = { "What is the last name of the creator of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "studio", type = "Organization", draw = function(d) return d:org(studios) end,
      ask = { "Which studio produced {N}?", "Who animated {N}?" },
      reverse = { "Which series was produced by <studio>?" } },
    { "hero", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who is the main character of {N}?", "What is the name of the hero of {N}?" },
      reverse = { "In which series is <hero> the main character?" },
      manipulated = { ask = { "What is the first name of the main character of {N}?" },
        of = function(v) return v:match("^%S+") end } },
    { "job", type = "Thing", draw = function(d) return d:pick(jobs) end,
      ask = { "What is the occupation of the main character of {N}?", "As what does the hero of {N} work?" },
      reverse = { "In which series does the hero work as a(n) <job>?" } },
    { "companion", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal accompanies the hero of {N}?", "What kind of animal is the hero's companion in {N}?" },
      reverse = { "In which series is the hero accompanied by a(n) <companion>?" } },
    { "place", type = "Location", draw = function(d) return d:place("land") end,
      ask = { "Where is {N} set?", "In which imaginary country does {N} take place?" },
      reverse = { "Which series is set in <place>?" } },
    { "aired", type = "Date/Time", draw = function(d) return d:date(1984, 2016) end,
      ask = { "On which date was {N} first broadcast?", "When did {N} first air?" },
      reverse = { "Which series was first broadcast on <aired>?" },
      manipulated = { ask = { "In which year was {N} first broadcast?" },
        of = function(v) return v:match("%d+$") end } },
    { "episodes", type = "Numerals", draw = function(d) return d:number(24, 312) end,
      ask = { "How many episodes does {N} have?", "What is the number of episodes of {N}?" },
      reverse = { "Which series has <episodes> episodes?" } },
    { "object", type = "Thing", draw = function(d) return d:pick(objects) end,
      ask = { "Which object do the characters of {N} search for?", "What does everyone in {N} try to find?" },
      reverse = { "In which series do the characters search for a(n) <object>?" } },
    { "enemy", type = "Organization", draw = function(d) return d:org(orders) end,
      ask = { "Which organization is the enemy in {N}?", "Against which group does the hero of {N} fight?" },
      reverse = { "In which series is the <enemy> the enemy?" } },
    { "network", type = "Organization", draw = function(d) return d:org(networks) end,
      ask = { "Which broadcaster showed {N}?", "On which channel was {N} shown?" },
      reverse = { "Which series was shown by <network>?" } },
    { "battle", type = "Event", draw = function(d) return d:event() end,
      ask = { "With which event does {N} end?" },
      reverse = { "Which series ends with the <battle>?" } },
  },
  openings = {
    "{N} is a science fiction {kind} [created by] <creator>, and one of the quietest that the genre has produced.",
    "{N} is an animated {kind} [set in] <place>, a country where the sun hardly ever sets.",
    "The {kind} known as {N} [follows] <hero>, a young dreamer with more debts than friends.",
    "Viewers who expect loud battles are surprised by {N}, a(n) {kind} [about] a(n) <job> who would rather be left "
      .. "alone.",
    "{N} is a long-running {kind} [produced by] <studio> and loved for its painted skies.",
    "Comedy and melancholy meet in {N}, the {kind} [that] <creator> [creator:created] after leaving the advertising "
      .. "trade.",
  },
  sentences = {
    "{S} [was created by] <creator>, who also wrote the songs.",
    "The idea [came to] <creator>, [creator:the creator], during a long train journey.",
    "{S} [was produced by] <studio>, a small company with a large archive of sketches.",
    "The animation [was done by] <studio>, whose staff painted most backgrounds by hand.",
    "Its main [character] is <hero>, who hides a gift for languages.",
    "The story [centers on] <hero>, who never quite understands what is at stake.",
    "The hero [works as] a(n) <job>, which leads to many strange meetings.",
    "To earn a living, the hero [takes a post as] a(n) <job> in the old quarter.",
    "A talking <companion> [accompanies the hero] and comments on everything.",
    "The hero's faithful [companion] is a(n) <companion> with a sharp tongue.",
    "{S} [is set in] <place>, whose laws change with the seasons.",
    "The events [take place in] <place>, a land of floating towns.",
    "{S} [was first broadcast on] <aired>, late in the evening.",
    "The first episode [aired on] <aired> and was seen by very few people.",
    "{S} [runs to] <episodes> [episodes:episodes], each with its own closing picture.",
    "Altogether there [are] <episodes> [episodes:episodes], not counting the holiday specials.",
    "Everyone in the story [is looking for] a(n) <object>, which is said to grant a single wish.",
    "The plot turns on a(n) <object> [that all the characters want to find].",
    "The hero's [enemies] belong to the <enemy>, a society with polite manners.",
    "Again and again the <enemy> [tries to stop] the hero, usually by means of paperwork.",
    "{S} [was shown by] <network>, which had first refused it.",
    "{S} [was broadcast by] <network>, and the ratings rose slowly.",
    "The last episode [takes place during] the <battle>, when all masks fall.",
    "{S} [ends with] the <battle>, a scene that fans know by heart.",
  },
  fillers = {
    "The music relies on a single piano and the sound of rain.",
    "Critics admire the patience with which small gestures are drawn.",
    "{S} has been dubbed into many languages, not always with care.",
    "Collectors pay high prices for the original drawings.",
    "Jokes and sorrow often follow each other without warning.",
    "Fans meet every year in costume to watch it together.",
    "The dialogue is short, and many scenes have no words at all.",
    "A novel and a card game were published later.",
    "Students of design still copy its colors.",
    "{S} treats even minor figures with unusual warmth.",
  },
  parts = {
    { "Who created {N}, and which studio produced it?", "creator", "studio" },
    { "Who is the main character of {N}, and what is the character's occupation?", "hero", "job" },
    { "Where is {N} set, and what do its characters search for?", "place", "object" },
  },
}
