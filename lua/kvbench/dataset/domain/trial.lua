-- SPDX-License-Identifier: Apache-2.0
-- Invented historic trials (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local endings = draw.items "Witch Trials, Salt Trials, Forgery Trials, Smuggling Trials, Poison Trials, Mutiny Trials"
local evidence = draw.items [[a torn ledger, a wax doll, a stained glove, a silver spoon, a burned letter,
  a false seal, a broken lantern, a bag of nails, a hidden map, a bent key, a muddy cloak, a cracked bell]]
local punishments = draw.items [[a public apology, lifelong exile, forced labor, a heavy fine, loss of land,
  a year in chains, service at sea, the pillory]]
local causes = draw.items [[a failed harvest, a sudden flood, a stolen herd, a lost cargo, a barn fire,
  a strange illness, a broken dam, a missing child, a disputed will, a sunken ferry]]
local councils = draw.items "Council, Assembly, Court, Guild"

return {
  name = "trial", noun = "event", type = "Event", model = "town",
  subject = function(r, coined)
    return { name = coined .. " " .. r:choice(endings), article = "the", kind = r:choice { "case", "affair" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "judge", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who presided over {N}?", "Which judge led {N}?" },
      reverse = { "Over which trials did <judge> preside?" },
      manipulated = { ask = { "What is the last name of the judge who led {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "accuser", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who made the first accusation in {N}?", "Whose accusation set off {N}?" },
      reverse = { "Which trials began with an accusation by <accuser>?" },
      manipulated = { ask = { "What is the first name of the person whose accusation set off {N}?" },
        of = function(v) return v:match("^%S+") end } },
    { "year", type = "Date/Time", draw = function(d) return d:year(1604, 1799) end,
      ask = { "In which year did {N} begin?", "When did {N} start?" },
      reverse = { "Which trials began in <year>?" } },
    { "town", type = "Location", draw = function(d) return d:place("town") end,
      ask = { "In which town were the hearings of {N} held?", "Where did {N} take place?" },
      reverse = { "Which trials were held in <town>?" } },
    { "convicted", type = "Numerals", draw = function(d) return d:number(11, 97) end,
      ask = { "How many people were convicted in {N}?", "How many individuals were found guilty during {N}?" },
      reverse = { "In which trials were <convicted> people convicted?" } },
    { "evidence", type = "Thing", draw = function(d) return d:pick(evidence) end,
      ask = { "What was the most important piece of evidence in {N}?", "Which object served as the main evidence in "
        .. "{N}?" },
      reverse = { "In which trials was <evidence> the main evidence?" } },
    { "punishment", type = "Thing", draw = function(d) return d:pick(punishments) end,
      ask = { "What was the usual punishment in {N}?", "To what were most of the guilty sentenced in {N}?" },
      reverse = { "In which trials was <punishment> the usual punishment?" } },
    { "cause", type = "Event", draw = function(d) return d:pick(causes, "Event") end,
      ask = { "Which event led to {N}?", "After what did {N} begin?" },
      reverse = { "Which trials followed <cause>?" } },
    { "council", type = "Organization", draw = function(d) return d:org(councils) end,
      ask = { "Which body annulled the verdicts of {N}?", "Who later annulled the verdicts of {N}?" },
      reverse = { "The verdicts of which trials were annulled by the <council>?" } },
    { "animal", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal did a witness of {N} claim to have seen?", "What creature did a frightened witness of "
        .. "{N} describe?" },
      reverse = { "In which trials did a witness describe a(n) <animal>?" } },
    { "days", type = "Numerals", draw = function(d) return d:number(102, 390, 1, "days") end,
      ask = { "How long did {N} last?", "For how many days did {N} go on?" },
      reverse = { "Which trials lasted <days>?" } },
  },
  openings = {
    "{N} represent a chilling episode in the history of <town>, [the town in which] the hearings were held.",
    "{N} [began in] <year> and divided families that had lived side by side for generations.",
    "Historians still argue about {N}, which [broke out after] <cause>.",
    "What started as a quarrel between neighbors became {N}, [set off by an accusation of] <accuser>.",
    "{N}, [presided over by] <judge>, are remembered as a failure of ordinary caution.",
    "Few court records are as painful to read as those of {N}, [held in] <town> behind closed doors.",
  },
  sentences = {
    "The hearings [were led by] <judge>, who (had never studied law|spoke very little).",
    "As presiding judge, <judge> [led] {K} with a calm that many found frightening.",
    "The first accusation [was made by] <accuser>, a neighbor with an old grudge.",
    "It was <accuser> [whose accusation set off] {K}, in a letter full of spelling mistakes.",
    "The first hearing [took place in] <year>, on a cold and windless morning.",
    "In <year> the court [opened its first session] in a room that was far too small.",
    "The court [sat in] <town>, in a hall that normally served as a wool store.",
    "People from the villages [came to] <town> [town:to follow the hearings], often on foot.",
    "In the end <convicted> people [were convicted], most of them on the word of one witness.",
    "The court [found] <convicted> people [convicted:guilty] before public anger turned against it.",
    "The main [piece of evidence] was <evidence>, which had lain in a drawer for months.",
    "The court [relied above all on] <evidence>, shown on the very first morning.",
    "Most of the guilty [were sentenced to] <punishment>, a mild outcome by the standards of the age.",
    "The usual [punishment] was <punishment>, which spared lives but ruined households.",
    "{S} [followed] <cause>, for which somebody had to be blamed.",
    "Everything [had begun with] <cause>, an accident that nobody wished to accept as one.",
    "Much later the verdicts [were annulled by] the <council>, without any ceremony.",
    "The <council> [annulled the verdicts] and asked the families for forgiveness.",
    "One frightened witness [claimed to have seen] a(n) <animal> on the courthouse stairs.",
    "A(n) <animal>, [seen by a witness] near the well, was taken as a sign of guilt.",
    "The sessions [went on for] <days>, with only short breaks for the harvest.",
    "It took <days> [until the last hearing] ended and the clerk could close his book.",
  },
  fillers = {
    "Neighbors stopped greeting one another, and the market stayed half empty.",
    "The original papers are brittle and may be seen only by appointment.",
    "Several plays have been written about {K}, none of them very faithful.",
    "Lawyers today use {K} as an example of how rumor replaces proof.",
    "Some of the accused defended themselves with surprising skill.",
    "Letters from the period describe long silences and sudden tears.",
    "A plain stone now marks the place where the benches once stood.",
    "Descendants of both sides have met in recent years to talk about the past.",
    "The clerk wrote quickly, and many names can hardly be read.",
    "Preachers in the region warned their listeners against haste.",
  },
  parts = {
    { "Who presided over {N}, and who made the first accusation?", "judge", "accuser" },
    { "Where were {N} held, and in which year did they begin?", "town", "year" },
    { "How many people were convicted in {N}, and what was the usual punishment?", "convicted", "punishment" },
  },
}
