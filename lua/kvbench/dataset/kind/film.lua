-- SPDX-License-Identifier: Apache-2.0
-- Invented documentary films about the subject of a passage.
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "film", noun = "film", type = "Thing",
  subject = function(d)
    return { name = d:fresh("Thing", function(r)
        return r:choice(pool.film_heads) .. " " .. r:choice(pool.film_tails)
      end),
      quote = true, kind = "film", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "premiered", type = "Date/Time", draw = function(d) return d:date(d.now - 4, d.now) end,
      ask = { "When was {N} first shown?", "On which date did {N} have its first screening?" },
      reverse = { "Which film was first shown on <premiered>?" }, np = "the film first shown on <premiered>",
      manipulated = { ask = { "In which year was {N} first shown?" }, of = function(v) return v:match("%d+$") end } },
    { "producer", type = "Organization", draw = function(d) return d:org(pool.film_companies) end,
      ask = { "Which company produced {N}?", "By which company was {N} financed?" },
      reverse = { "Which film was produced by <producer>?" }, np = "the film produced by <producer>" },
    { "length", type = "Numerals", draw = function(d) return d:number(48, 176, 1, "minutes") end,
      ask = { "How long is {N}?", "What is the running time of {N}?" },
      reverse = { "Which film is <length> long?" }, np = "the film that is <length> long" },
    { "composer", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who composed the music for {N}?", "Which composer wrote the music of {N}?" },
      reverse = { "For which film did <composer> write the music?" },
      np = "the film with music by <composer>",
      manipulated = { ask = { "What is the last name of the composer who wrote the music of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "location", type = "Location", draw = function(d) return d:place("land") end,
      ask = { "Where were most scenes of {N} shot?", "In which region was {N} mainly shot?" },
      reverse = { "Which film was mainly shot in <location>?" }, np = "the film mainly shot in <location>" },
    { "showcase", type = "Event", draw = function(d) return d:event() end,
      ask = { "At which event was {N} given a prize?", "At which event did {N} win the audience prize?" },
      reverse = { "Which film won the audience prize at the <showcase>?" },
      np = "the film that won the audience prize at the <showcase>" },
  },
  sentences = {
    "{S} [was first shown on] <premiered>, (in a hall with broken heating|before an invited audience).",
    "The first [screening took place on] <premiered> and ended in (a long silence|polite applause).",
    "On <premiered> {S} [reached the cinemas], where it stayed (longer than planned|for just one month).",
    "{S} [was produced by] <producer>, (which had never made a film of this kind|on a very small budget).",
    "Without <producer>, [which paid for the production], {S} would still be a (box of unused reels|pile of notes).",
    "The money for {S} [came from] <producer>, a company that (rarely takes risks|prefers comedies).",
    "With <length> [on the clock], {S} asks for some patience, but hardly a shot is wasted.",
    "{S} [lasts] <length>, and (most viewers wish it were longer|the pace never slackens).",
    "The final cut of {S} [runs for] <length>, less than half of what was filmed.",
    "The music of {S} [was composed by] <composer>, who used (a toy piano and three cellos|nothing but voices).",
    "It was <composer> [who wrote the music] for {S}, in the space of a single month.",
    "Much of the mood of {S} is owed to <composer>, [the composer], who (attended every day of shooting|works "
      .. "mostly for the stage).",
    "Most scenes of {S} [were shot in] <location>, because (the light there is softer|permits were cheaper there).",
    "For {S} the crew [spent a summer filming in] <location>, sleeping in (tents|an empty school).",
    "The landscapes that viewers see in {S} [belong to] <location>, a region (with hardly any roads|without a "
      .. "single cinema).",
    "{S} [won the audience prize at] the <showcase>, ahead of (several famous names|a much louder rival).",
    "At the <showcase>, {S} [received the audience prize], which the crew accepted in muddy boots.",
    "A turning point was the <showcase>, [where] {S} [showcase:was given the audience prize].",
  },
  fillers = {
    "The camera moves slowly, and (interviews|captions) are kept to a minimum.",
    "A few shots were taken from (a kite|a rowing boat).",
    "{S} has been shown in (schools|town halls) ever since.",
    "Critics compared the editing to (knitting|a long conversation).",
    "Some of the people who appear in {S} had never seen a camera before.",
    "There is no narrator, only (natural sound|the voices of passers-by).",
    "The poster was designed by (a student|the sound engineer).",
    "Unused material is stored in (a salt mine|a cool cellar) and may be viewed on request.",
    "{S} avoids easy conclusions, which (annoyed|pleased) a part of the audience.",
    "A restored copy has (recently|quietly) been made.",
    "Viewers often ask about the (dog|child) in the last scene.",
    "Few films of its kind have been discussed so (patiently|thoroughly).",
  },
}
