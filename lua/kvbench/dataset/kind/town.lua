-- SPDX-License-Identifier: Apache-2.0
-- Invented towns.
local draw = require "kvbench.dataset.draw"
local names = require "kvbench.dataset.names"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "town", noun = "town", type = "Location",
  subject = function(d)
    return { name = d:place("town"), kind = "town", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "residents", type = "Numerals", draw = function(d) return d:number(1200, 48000, 100, "inhabitants") end,
      ask = { "How many people live in {N}?", "What is the population of {N}?" },
      reverse = { "Which town has <residents>?" }, np = "the town with <residents>" },
    { "river", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "land") .. " " .. r:choice(pool.waters) end) end,
      ask = { "On which water does {N} lie?", "On the banks of which water was {N} built?" },
      reverse = { "Which town lies on the <river>?" }, np = "the town on the <river>" },
    { "product", type = "Thing", draw = function(d) return d:pick(pool.wares) end,
      ask = { "What is {N} known for making?", "Which goods come from {N}?" },
      reverse = { "Which town is known for its <product>?" }, np = "the town known for its <product>" },
    { "mayor", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who is the mayor of {N}?", "Which mayor governs {N}?" },
      reverse = { "Of which town is <mayor> the mayor?" }, np = "the town governed by <mayor>",
      manipulated = { ask = { "What is the last name of the mayor of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "fair", type = "Event", draw = function(d) return d:event() end,
      ask = { "Which celebration is held in {N} every year?", "For which celebration do people come to {N}?" },
      reverse = { "Which town celebrates the <fair>?" }, np = "the town that celebrates the <fair>" },
    { "arms", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is on the coat of arms of {N}?", "What creature does the coat of arms of {N} show?" },
      reverse = { "Which town has a(n) <arms> on its coat of arms?" },
      np = "the town with a(n) <arms> on its coat of arms" },
  },
  sentences = {
    "{S} [has] <residents>, (a number that has been falling for decades|counting those who work at sea).",
    "No more than <residents> [live in] {S}, yet there are (three bookshops|two orchestras).",
    "At the last census {S} [was home to] <residents> and an unknown number of cats.",
    "{S} [lies on] the <river>, which (freezes in hard winters|smells of tar and wet rope).",
    "The oldest streets of {S} [run along] the <river>, on ground that was once a marsh.",
    "Ferries on the <river> [still stop at] {S}, although a bridge was built long ago.",
    "{S} [is known for its] <product>, (sold from open windows|made in family workshops).",
    "Most families in {S} [once lived from] <product>, and a few (still do|have gone back to it).",
    "Travelers who stop in {S} [seldom leave without] <product>.",
    "The mayor of {S} [is] <mayor>, who (bakes bread on weekends|knows everybody by name).",
    "In {S} the office of mayor [is held by] <mayor>, elected by (a tiny margin|show of hands).",
    "It is <mayor>, [the mayor], who opens the ball season in {S} each winter.",
    "Each year {S} [celebrates] the <fair>, (when even the banks stay closed|for which streets are washed twice).",
    "The <fair> [brings] crowds to {S}, and beds are hard to find.",
    "People in {S} count the months until the <fair>, [the great celebration] of the year.",
    "The coat of arms of {S} [shows] a(n) <arms> (above a broken oar|between two keys).",
    "A(n) <arms> [stands on the coat of arms] of {S}, though none has been seen there for a century.",
    "Above the door of the town hall in {S} hangs a(n) <arms>, taken from [the coat of arms].",
  },
  fillers = {
    "The (houses|doors) are painted in pale colors that suit the light.",
    "On market days the square smells of (smoked fish|fresh herbs).",
    "Trains stop in {S} twice a day, and (neither is punctual|both are nearly empty).",
    "The bell of the old church is slightly (flat|late).",
    "Young people often leave {S} and (often return|write home every week).",
    "There is a saying that in {S} even the (wind|river) takes its time.",
    "A theater group performs in a former (stable|warehouse).",
    "Winters are long, and neighbors in {S} visit each other (without notice|by lantern light).",
    "The main street is steep enough to (tire a mule|make cyclists dismount).",
    "Half of the roofs in {S} were replaced after (a hailstorm|the great gale).",
    "Photographers come to {S} for the (fog|evening light).",
    "Nothing in {S} is far from anything else.",
  },
}
