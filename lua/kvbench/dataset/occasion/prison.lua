-- SPDX-License-Identifier: Apache-2.0
-- Riots in a prison.
local draw = require "kvbench.dataset.draw"

local causes = draw.items [[a change of diet, a stolen letter, the death of a cat, a lost chess game, a cut in
  tobacco, a new uniform, a canceled visit, a leaking ceiling]]
local places = draw.items [[boiler room, library, west stairs, carpentry shop, infirmary, chapel loft, potato store,
  bathhouse]]

return {
  name = "prison_riot", noun = "riot", type = "Event", since = "opened", plus = 3, step = 7,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} in {M} break out?", "When did {N} in {M} take place?" },
      reverse = { "Which riot in {M} broke out in <year>?" } },
    { "ringleader", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who was behind {N} in {M}?", "Who led {N} in {M}?" },
      reverse = { "Which riot in {M} was led by <ringleader>?" },
      manipulated = { ask = { "What is the last name of the person who led {N} in {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "cause", type = "Event", draw = function(d) return d:pick(causes, "Event") end,
      ask = { "What set off {N} in {M}?", "Over what did {N} in {M} break out?" },
      reverse = { "Which riot in {M} was set off by <cause>?" } },
    { "hours", type = "Numerals", draw = function(d) return d:number(5, 98, 1, "hours") end,
      ask = { "How long did {N} in {M} last?", "What was the duration of {N} in {M}?" },
      reverse = { "Which riot in {M} lasted <hours>?" } },
    { "room", type = "Location", draw = function(d) return d:pick(places, "Location") end,
      ask = { "In which part of {M} did {N} begin?", "Where in {M} did {N} start?" },
      reverse = { "Which riot in {M} began in the <room>?" } },
  },
  openings = {
    "{N} [broke out in] <year>, (on a Sunday|at roll call).",
    "{N} in {M} [was led by] <ringleader>, (a printer with a quiet voice|whom nobody had suspected).",
    "{N} [began in] the <room>, (where tempers were always short|shortly before dusk).",
    "{N} [was set off by] <cause>, (trivial in itself|after months of ill feeling).",
  },
  sentences = {
    "The smoke of {S} [could be seen in] <year> from (passing ships|every village around).",
    "In <year> {S} [caught] the guards (asleep|at dinner).",
    "At the center of {S} [stood] <ringleader>, (who negotiated politely|later transferred).",
    "The orders during {S} [came from] <ringleader>, shouted from a window.",
    "What lay [behind] {S} was <cause>, (as the official report admits|and nobody had foreseen the anger).",
    "It took only <cause> [to start] {S}, since (everyone was on edge|the heat was unbearable).",
    "After <hours>, {S} [was over], (without a single death|as suddenly as it had begun).",
    "For <hours>, [as long as] {S} [hours:lasted], the gates stayed shut.",
    "The first shouts of {S} [came from] the <room>, and windows broke within minutes.",
    "The <room>, [where] {S} [room:started], was never (repaired|used again).",
  },
  fillers = {
    "Hymns were sung during {S}, oddly enough.",
    "After {S} the bread ration was (raised|cut) for everyone.",
    "The governor learned of {S} from a (milkman|telegram).",
    "Nobody was ever tried for {S}.",
  },
}
