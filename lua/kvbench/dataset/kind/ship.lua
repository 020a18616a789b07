-- SPDX-License-Identifier: Apache-2.0
-- Invented ships.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "ship", noun = "ship", type = "Thing",
  subject = function(d)
    return { name = d:fresh("Thing", function(r)
        return r:choice(pool.ship_heads) .. " " .. r:choice(pool.ship_tails)
      end),
      article = "the", kind = "ship", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "launched", type = "Date/Time", draw = function(d) return d:year(d.now - 110, d.now - 72) end,
      ask = { "In which year was {N} built?", "When was {N} built?" },
      reverse = { "Which ship was built in <launched>?" }, np = "the ship built in <launched>" },
    { "captain", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who was the captain of {N}?", "Which captain commanded {N}?" },
      reverse = { "Which ship was commanded by <captain>?" }, np = "the ship commanded by <captain>",
      manipulated = { ask = { "What is the last name of the captain of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "span", type = "Numerals", draw = function(d) return d:number(28, 119, 1, "meters") end,
      ask = { "What is the length of {N}?", "How long is {N} from bow to stern?" },
      reverse = { "Which ship is <span> long?" }, np = "the ship that is <span> long" },
    { "cargo", type = "Thing", draw = function(d) return d:pick(pool.cargoes) end,
      ask = { "What did {N} usually carry?", "What was the usual cargo of {N}?" },
      reverse = { "Which ship usually carried <cargo>?" }, np = "the ship that usually carried <cargo>" },
    { "port", type = "Location", draw = function(d)
        return d:fresh("Location", function(r)
          local name = names.coin(r, "town")
          return "Port " .. name, nil, name
        end) end,
      ask = { "What was the home port of {N}?", "In which port was {N} registered?" },
      reverse = { "Which ship was registered in <port>?" }, np = "the ship registered in <port>" },
    { "figurehead", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal was the figurehead of {N}?", "What creature was carved on the bow of {N}?" },
      reverse = { "Which ship had a(n) <figurehead> as its figurehead?" },
      np = "the ship with a(n) <figurehead> as its figurehead" },
  },
  sentences = {
    "{S} [was built in] <launched>, (at a yard that no longer exists|from timber meant for a bridge).",
    "The bell of {S} [bears the date] <launched>, [launched:the year of its construction].",
    "In <launched> {S} [left the slipway], (two months late|to the sound of a brass band).",
    "{S} [was commanded by] <captain>, who (never raised a hand to a boy|could smell a storm).",
    "For most of its years at sea the captain of {S} [was] <captain>, a strict but patient officer.",
    "Sailors who served under <captain>, [the captain] of {S}, spoke of (strong tea|long watches).",
    "From bow to stern {S} [measures] <span>, (too much for the old lock|less than its fame suggests).",
    "At <span>, {S} [was the longest] vessel on that route.",
    "A length of <span> [made] {S} hard to turn in narrow waters.",
    "{S} [usually carried] <cargo>, (stacked up to the rails|in barrels and sacks).",
    "The usual [cargo of] {S} was <cargo>, and the smell never left the cabins.",
    "Most voyages of {S} [were made with] <cargo> in the hold.",
    "{S} [was registered in] <port>, where (its anchor still stands on the quay|its crew had their families).",
    "Between voyages {S} [lay in] <port>, [port:its home port], and was scraped and painted.",
    "The home [port of] {S} was <port>, a place of (cranes and gulls|rain and good harbors).",
    "The figurehead of {S} [was] a(n) <figurehead>, (carved by the ship's cook|with one eye missing).",
    "A(n) <figurehead> [looked out from the bow] of {S}.",
    "Children on the quay used to wave at the <figurehead>, [the figurehead] of {S}.",
  },
  fillers = {
    "The crew of {S} ate together, whatever their (rank|language).",
    "In rough weather even old hands on {S} were (sick|silent).",
    "A (parrot|brass clock) from the mess hangs today in a tavern.",
    "The engine of {S} was noisy but (faithful|easy to mend).",
    "Songs were forbidden on deck, except (on Sundays|at anchor).",
    "There was never enough (light|fresh water) below deck.",
    "{S} ran aground once and came free with the next (tide|moon).",
    "Letters reached the crew of {S} in bundles, (months old|wet and half legible).",
    "Models of {S} are sold in (toy shops|harbor kiosks).",
    "The last logbook of {S} ends in the middle of a (sentence|word).",
    "Every deckhand on {S} learned to (sew|splice rope) in the first week.",
    "A photograph shows {S} in (dense fog|full sunshine) with laundry on the lines.",
  },
}
