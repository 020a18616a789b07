-- SPDX-License-Identifier: Apache-2.0
-- Seasons of an animated series.
local draw = require "kvbench.dataset.draw"

local beasts = draw.items [[glass dragon, paper tiger, stone carp, clockwork raven, sleeping whale, two-headed
  crane, ash wolf, laughing moth]]

return {
  name = "anime_season", noun = "season", type = "Thing", since = "aired", plus = 1, step = 3,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year was {N} of {M} shown?", "When was {N} of {M} broadcast?" },
      reverse = { "Which season of {M} was broadcast in <year>?" } },
    { "animator", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who was the lead animator of {N} of {M}?", "Who led the drawing of {N} of {M}?" },
      reverse = { "Of which season of {M} was <animator> the lead animator?" },
      manipulated = { ask = { "What is the last name of the person who led the drawing of {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "song", type = "Thing", draw = function(d) return d:title() end,
      ask = { "What is the closing song of {N} of {M} called?",
        "What is the title of the closing song of {N} of {M}?" },
      reverse = { "Which season of {M} has the closing song <song>?" } },
    { "monster", type = "Creature", draw = function(d) return d:pick(beasts, "Creature") end,
      ask = { "Which creature threatens the heroes in {N} of {M}?", "What monster appears in {N} of {M}?" },
      reverse = { "In which season of {M} does a(n) <monster> appear?" } },
    { "viewers", type = "Numerals", draw = function(d) return d:number(110000, 980000, 1000, "viewers") end,
      ask = { "How many people watched {N} of {M}?", "What was the audience of {N} of {M}?" },
      reverse = { "Which season of {M} had <viewers>?" } },
  },
  openings = {
    "{N} [was shown in] <year>, (after a long pause|at an earlier hour than usual).",
    "For {N} the drawings [were supervised by] <animator>, (whose lines are unmistakable|then barely out of school).",
    "{N} of {M} [turns on] a(n) <monster>, (more sad than frightening|seen only in outline).",
    "{N} [reached] <viewers>, (far more than expected|according to the broadcaster).",
  },
  sentences = {
    "In <year> {S} [came to the screen], (with new voices|in a brighter palette).",
    "The year [of] {S} is <year>, as collectors never tire of pointing out.",
    "The lead [animator of] {S} was <animator>, (who redrew whole scenes overnight|a perfectionist).",
    "Fans credit <animator>, [the lead animator], with the (calm|wit) of {S}.",
    "The closing [song of] {S} is <song>, (sung by a children's choir|a waltz in a minor key).",
    "With <song>, [its closing song], {S} even entered the charts.",
    "In {S} the danger [comes from] a(n) <monster>, (which speaks in riddles|awakened by mistake).",
    "A(n) <monster> [haunts] {S} from beginning to end.",
    "On average {S} [was watched by] <viewers>, children and pensioners alike.",
    "With <viewers>, {S} [viewers:did better] than the news.",
  },
  fillers = {
    "The plot of {S} takes its time.",
    "Critics called {S} (uneven|the most beautiful of all).",
    "A mistake in the credits of {S} was never corrected.",
    "Several scenes of {S} had to be cut for (length|lack of money).",
  },
}
