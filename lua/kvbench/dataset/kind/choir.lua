-- SPDX-License-Identifier: Apache-2.0
-- Invented choirs.
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "choir", noun = "choir", type = "Organization",
  subject = function(d)
    return { name = d:fresh("Organization", function(r)
        return names.coin(r, "town") .. " " .. r:choice(pool.choir_tails)
      end),
      article = "the", kind = "choir", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "formed", type = "Date/Time", draw = function(d) return d:year(d.now - 95, d.now - 71) end,
      ask = { "In which year was {N} formed?", "When was {N} formed?" },
      reverse = { "Which choir was formed in <formed>?" }, np = "the choir formed in <formed>" },
    { "conductor", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who conducts {N}?", "Under whose direction does {N} sing?" },
      reverse = { "Which choir is conducted by <conductor>?" }, np = "the choir conducted by <conductor>",
      manipulated = { ask = { "What is the last name of the conductor of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "voices", type = "Numerals", draw = function(d) return d:number(14, 118, 1, "singers") end,
      ask = { "How many voices does {N} have?", "What is the size of {N}?" },
      reverse = { "Which choir has <voices>?" }, np = "the choir with <voices>" },
    { "hall", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "surname") .. " " .. r:choice(pool.halls) end) end,
      ask = { "Where does {N} rehearse?", "In which building does {N} rehearse?" },
      reverse = { "Which choir rehearses in the <hall>?" }, np = "the choir that rehearses in the <hall>" },
    { "songs", type = "Thing", draw = function(d) return d:pick(pool.songs) end,
      ask = { "What does {N} mostly sing?", "For which songs is {N} known?" },
      reverse = { "Which choir is known for its <songs>?" }, np = "the choir known for its <songs>" },
    { "gala", type = "Event", draw = function(d) return d:event() end,
      ask = { "At which event does {N} sing every year?", "For which yearly event does {N} rehearse?" },
      reverse = { "Which choir sings at the <gala> every year?" }, np = "the choir that sings at the <gala>" },
  },
  sentences = {
    "{S} [was formed in] <formed>, when (a chapel stood empty|coal was short and singing kept people warm).",
    "The first concert of {S}, [given in] <formed>, was attended by a dozen relatives.",
    "In <formed> {S} [came into being], more or less by accident.",
    "{S} [is conducted by] <conductor>, who (beats time with a pencil|hums every part by heart).",
    "The conductor of {S} [is] <conductor>, feared for (sharp ears|long rehearsals).",
    "Under <conductor>, [its conductor], {S} has learned to sing softly.",
    "{S} [has] <voices>, (bakers, nurses and pensioners among them|not all of whom read music).",
    "On a good evening all <voices> of {S} [are present], which makes the floor creak.",
    "With <voices>, {S} [voices:fills] any stage in the province.",
    "{S} [rehearses in] the <hall>, where (the stove smokes|the windows rattle in the low notes).",
    "Rehearsals of {S} [take place in] the <hall>, on Thursdays after dark.",
    "Passers-by near the <hall> [often stop to listen when] {S} [hall:is rehearsing].",
    "{S} [is known for its] <songs>, (sung without sheet music|learned from old recordings).",
    "What {S} [sings best] is <songs>, handed down from one generation to the next.",
    "The heart of every program of {S} [is made up of] <songs>.",
    "{S} [sings every year at] the <gala>, (always as the last item|in borrowed coats).",
    "The <gala> [would be unthinkable without] {S}, which opens it each year.",
    "All winter {S} [rehearses for] the <gala>, its one great evening.",
  },
  fillers = {
    "The basses of {S} are outnumbered, but (proud|loud).",
    "New singers are welcome, provided that they can (keep still|count to eight).",
    "{S} has made one recording, which is (charming|a little out of tune).",
    "After rehearsal everyone goes for (soup|a walk).",
    "The robes of {S} were sewn from old (curtains|sails).",
    "Applause between the pieces is (discouraged|tolerated).",
    "A piano was donated to {S} and sold again for lack of (space|a tuner).",
    "In summer {S} sings in (hospitals|courtyards).",
    "Several couples met in the (alto|second) row.",
    "{S} never sings encores, out of (principle|superstition).",
    "The sheet music is kept in (biscuit tins|a locked cupboard).",
    "Tours are short, since {S} travels by (bicycle|bus).",
  },
}
