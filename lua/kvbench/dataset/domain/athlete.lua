-- SPDX-License-Identifier: Apache-2.0
-- Invented sports figures (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local roles = draw.items "goalkeeper, midfielder, defender, striker, winger, captain"
local clubs = draw.items "Rovers, Wanderers, Athletic, United, Harriers"
local awards = draw.items [[Golden Whistle, Silver Boot, Iron Glove, Crystal Ball, Bronze Laurel, Emerald Star,
  Platinum Scarf, Marble Cup, Amber Shield, Pearl Medal]]
local injuries = draw.items [[a torn ligament, a broken ankle, a back injury, a cracked rib, a knee operation,
  a shoulder fracture, a severe concussion, a foot infection]]
local pastimes = draw.items [[growing orchids, repairing radios, baking rye bread, playing chess, keeping bees,
  carving spoons, restoring motorcycles, writing crosswords, painting birds, collecting stamps]]
local charities = draw.items "Foundation, Children's Fund, Youth Academy, Relief Fund"

return {
  name = "athlete", noun = "person", phrase_noun = "football player", type = "Person", model = "surname",
  subject = function(r, coined)
    local woman = r:uniform() < 0.5
    local first = r:choice(woman and names.female or names.male)
    return { name = first .. " " .. coined, short = coined, kind = r:choice(roles),
      pronouns = woman and { "she", "her", "her", "herself" } or { "he", "him", "his", "himself" } }
  end,
  facts = {
    { "nationality", type = "Thing", draw = function(d) return d:pick(draw.nationalities) end,
      ask = { "What is {N's} nationality?", "What nationality does {N} have?" },
      reverse = { "Who is the <nationality> football player in the passage?" } },
    { "born", type = "Date/Time", draw = function(d) return d:date(1948, 1989) end,
      ask = { "When was {N} born?", "What is {N's} date of birth?" },
      reverse = { "Which football player was born on <born>?" },
      manipulated = { ask = { "In which year was {N} born?" }, of = function(v) return v:match("%d+$") end } },
    { "town", type = "Location", draw = function(d) return d:place("town") end,
      ask = { "In which town did {N} grow up?", "Where did {N} spend {his} childhood?" },
      reverse = { "Which football player grew up in <town>?" } },
    { "club", type = "Organization", draw = function(d) return d:org(clubs) end,
      ask = { "For which club did {N} play longest?", "With which club did {N} spend most of {his} career?" },
      reverse = { "Who spent most of a career with <club>?" } },
    { "coach", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who discovered {N}?", "Which coach discovered {N}?" },
      reverse = { "Which football player was discovered by the coach <coach>?" },
      manipulated = { ask = { "What is the last name of the coach who discovered {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "title_year", type = "Date/Time", draw = function(d, _, values)
        local born = tonumber(values.born:match("%d+$"))
        return d:year(born + 19, born + 33)
      end,
      ask = { "When did {N} win the world championship?", "In which year did {N} become world champion?" },
      reverse = { "Which football player won the world championship in <title_year>?" } },
    { "goals", type = "Numerals", draw = function(d) return d:number(14, 388, 1, "matches") end,
      ask = { "How many matches did {N} play for the national team?", "In how many matches did {N} play for the "
        .. "national team?" },
      reverse = { "Who played <goals> for the national team?" } },
    { "award", type = "Thing", draw = function(d) return d:pick(awards) end,
      ask = { "Which award did {N} receive?", "What prize was {N} given?" },
      reverse = { "Which football player received the <award>?" } },
    { "injury", type = "Event", draw = function(d) return d:pick(injuries, "Event") end,
      ask = { "What ended {N's} career?", "Why did {N} have to retire?" },
      reverse = { "Whose career was ended by <injury>?" } },
    { "pastime", type = "Thing", draw = function(d) return d:pick(pastimes) end,
      ask = { "What is {N's} favorite pastime?", "How does {N} relax?" },
      reverse = { "Which football player relaxes by <pastime>?" } },
    { "charity", type = "Organization", draw = function(d) return d:org(charities) end,
      ask = { "Which charity did {N} start?", "What is the charity of {N} called?" },
      reverse = { "Who started the <charity>?" } },
    { "nickname", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "After which animal was {N} nicknamed?", "What animal did fans compare {N} with?" },
      reverse = { "Which football player was nicknamed after the <nickname>?" } },
  },
  openings = {
    "{N}, a(n) <nationality> [football] {kind}, is widely regarded as one of the finest players of all time.",
    "{N} is a football {kind} who [grew up in] <town> and learned the game on a gravel yard.",
    "Born on <born>, {N} [born:came into the world] in a house without a television and became a football {kind}.",
    "When the coach <coach> [discovered] {N}, the future {kind} was carrying crates at the harbor.",
    "{N} is a football {kind} who [spent most of a career with] <club> and turned down many richer teams.",
    "Few people have shaped modern football as quietly as {N}, a(n) <nationality> [by birth] and a(n) {kind} by "
      .. "choice.",
  },
  sentences = {
    "{S} [has] <nationality> [nationality:nationality], although other countries tried to change that.",
    "{S} [was born on] <born>, the youngest in a large family.",
    "The official papers give <born> [as the date of birth], and nobody has ever doubted it.",
    "{S} [grew up in] <town>, where the only pitch was next to the gasworks.",
    "{S} [spent] {his} childhood in <town> and still owns a small flat there.",
    "{S} [played longest for] <club>, refusing better offers every summer.",
    "Most of {his} career [was spent with] <club>, under a series of impatient managers.",
    "The coach <coach> [discovered] {S} at a school tournament.",
    "{S} [was discovered by] <coach>, a coach who trusted first impressions.",
    "In <title_year> {S} [won the world championship], playing the final with a fever.",
    "{S} [became world champion in] <title_year>, after a match that went to penalties.",
    "For the national team {S} [played] <goals>, more than anyone of that generation.",
    "{S} [appeared in] <goals> for the national team, always with the same pair of boots.",
    "At the end of the season {S} [received] the <award>, handed over by a former rival.",
    "{S} [was given] the <award> and keeps it in the kitchen.",
    "{S's} career [was ended by] <injury>, suffered in a harmless practice game.",
    "After <injury>, {S} [had to retire] earlier than planned.",
    "{S} [relaxes by] <pastime>, a habit picked up from a grandparent.",
    "Away from the pitch, {S} [likes nothing more than] <pastime>.",
    "{S} [started] the <charity>, which pays for sports lessons in poor districts.",
    "Much of the prize money [went to] the <charity>, [a charity started by] {S}.",
    "Fans [nicknamed] {S} after the <nickname>, because of a strange way of running.",
    "Newspapers [compared] {S} with a(n) <nickname>, and the name stuck.",
    "Few people would guess that {S} [is] <nationality>, since (the accent is gone|the papers were lost for years).",
    "According to the club register {S} [was born on] <born>, (in a snowed-in clinic|during a general strike).",
    "In <town>, [where] {S} [town:grew up], a (street|playground) has been renamed.",
    "No shirt suited {S} [as well as that of] <club>, (worn for most of a career|faded by the end).",
    "The first to see the talent of {S} [was] the coach <coach>, (watching from a parked car|on a frozen field).",
    "The greatest year of {S} [was] <title_year>, [which brought the world title], (won in extra time|against "
      .. "all forecasts).",
    "The record of {S} [for the national team] stands at <goals>, (friendlies included|few of them lost).",
    "Of all honors {S} [values] the <award> [award:most], (the only one on display|won late).",
    "The career of {S} [came to an end with] <injury>, (on a wet afternoon|without a farewell match).",
    "Asked about {his} free time, {S} [mentions] <pastime>, (and little else|with shining eyes).",
    "Today {S} [spends much time on] the <charity>, [charity:founded by] {him} (after retirement|without any "
      .. "publicity).",
    "On the terraces {S} [was called after] a(n) <nickname>, (a name first used in mockery|and answered to it).",
  },
  fillers = {
    "Opponents remember a fair player who never argued with referees.",
    "Training sessions began before sunrise, whatever the weather.",
    "{S} reads every letter from young supporters and answers most of them.",
    "Television experts still use old recordings to explain how space is made.",
    "Teammates describe a calm voice that carried across the whole field.",
    "Interviews were rare, and photographs even rarer.",
    "{S} has turned down several invitations to enter politics.",
    "Success never changed the way in which old friends were treated.",
    "Journalists praised the timing of each pass rather than its speed.",
    "Young players are told to study the footwork and to ignore the hairstyle.",
    "The left foot of {S} was (famous|insured).",
    "{S} used to tie {his} laces (twice|last of all) before every game.",
    "Coaches quote {S} on the value of (sleep|simple passes).",
    "{S} gave away most of {his} (shirts|medals).",
    "A statue of {S} was planned and (quietly dropped|never paid for).",
    "Referees liked {S}, who (apologized after fouls|knew the rules better than most).",
  },
  parts = {
    { "Where did {N} grow up, and for which club did {he} play longest?", "town", "club" },
    { "Who discovered {N}, and in which year did {he} become world champion?", "coach", "title_year" },
    { "Which award did {N} receive, and what ended {his} career?", "award", "injury" },
  },
}
