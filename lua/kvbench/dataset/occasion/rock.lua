-- SPDX-License-Identifier: Apache-2.0
-- Ascents of a rock formation.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"

local gear = draw.items [[hemp ropes, wooden wedges, felt boots, iron spikes, a folding ladder, silk gloves, pulley
  blocks, leather slings]]

return {
  name = "rock_ascent", noun = "ascent", type = "Event", since = "mapped", plus = 2, step = 14,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year was {N} of {M} made?", "When did {N} of {M} succeed?" },
      reverse = { "Which ascent of {M} was made in <year>?" } },
    { "climber", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who led {N} of {M}?", "Who was the lead climber on {N} of {M}?" },
      reverse = { "Which ascent of {M} was led by <climber>?" },
      manipulated = { ask = { "What is the last name of the person who was the lead climber on {N} of {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "camp", type = "Location", draw = function(d)
        return d:fresh("Location", function(r)
          local name = names.coin(r, "surname")
          return name .. " Ledge", nil, name
        end)
      end,
      ask = { "Where did the party camp during {N} of {M}?", "At which place was the camp of {N} of {M}?" },
      reverse = { "On which ascent of {M} did the party camp on <camp>?" } },
    { "days", type = "Numerals", draw = function(d) return d:number(2, 39, 1, "days") end,
      ask = { "How long did {N} of {M} take?", "How much time did {N} of {M} need?" },
      reverse = { "Which ascent of {M} took <days>?" } },
    { "gear", type = "Thing", draw = function(d) return d:pick(gear) end,
      ask = { "What equipment was used on {N} of {M}?", "On what did the climbers rely during {N} of {M}?" },
      reverse = { "On which ascent of {M} did the climbers rely on <gear>?" } },
  },
  openings = {
    "{N} [was made in] <year>, (in thin, cold air|without any spectators).",
    "{N} of {M} [was led by] <climber>, (a baker by profession|who had never climbed at night).",
    "{N} [took] <days>, (most of them spent waiting for better weather|longer than the food lasted).",
    "{N} [relied on] <gear>, (brought along almost as an afterthought|and a good deal of luck).",
  },
  sentences = {
    "In <year> {S} [succeeded], (to the surprise of the villagers|at the third attempt).",
    "The date [of] {S} is given as <year>, scratched into a boulder.",
    "The lead [climber on] {S} was <climber>, (light, quick and short-tempered|a guide from the valley).",
    "It was <climber> [who led] {S}, (with a broken finger|singing most of the way).",
    "The party [on] {S} camped on <camp>, a shelf hardly wide enough for two.",
    "During {S} everyone [slept on] <camp>, (tied to the wall|wrapped in newspaper).",
    "From start to finish {S} [lasted] <days>, of which three were lost to fog.",
    "Within <days>, {S} [was completed], a good time for that route.",
    "What made {S} possible [was] <gear>, (borrowed from a shipyard|made for the purpose).",
    "On {S} the climbers [put their trust in] <gear>, which held.",
  },
  fillers = {
    "The summit book of {S} has been stolen.",
    "A flag left on {S} was carried off by birds.",
    "Newspapers reported {S} with several mistakes.",
    "One member of {S} never climbed again.",
  },
}
