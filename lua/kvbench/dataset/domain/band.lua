-- SPDX-License-Identifier: Apache-2.0
-- Invented bands (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local endings = names.list "Parade Arcade Static Carousel Signal Meridian Motel Ensemble Underpass Assembly"
local genres = draw.items [[folk rock, dream pop, surf punk, chamber jazz, synth pop, country blues, desert metal,
  ska punk, bossa nova, art rock, dub reggae, swing jazz]]
local labels = draw.items "Records, Sound Company, Music Group, Tapes"
local venues = draw.items "Ballroom, Playhouse, Theater, Concert Hall, Casino"

return {
  name = "band", noun = "band", type = "Organization", model = "town",
  subject = function(r, coined)
    return { name = coined .. " " .. r:choice(endings), kind = r:choice { "band", "group" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "founder", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who founded {N}?", "Which musician started {N}?" },
      reverse = { "Which band was founded by <founder>?", "What is the name of the band that <founder> started?" },
      manipulated = { ask = { "What is the last name of the founder of {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "town", type = "Location", draw = function(d) return d:place("town") end,
      ask = { "Which town does {N} come from?", "Where does {N} come from?" },
      reverse = { "Which band comes from <town>?", "Which band has its roots in the town of <town>?" } },
    { "year", type = "Date/Time", draw = function(d) return d:year(1961, 2009) end,
      ask = { "In which year was {N} formed?", "When was {N} formed?" },
      reverse = { "Which band was formed in <year>?" } },
    { "genre", type = "Thing", draw = function(d) return d:pick(genres) end,
      ask = { "What style of music does {N} play?", "Which genre is {N} known for?" },
      reverse = { "Which band plays <genre>?" } },
    { "album", type = "Thing", draw = function(d) return d:title() end,
      ask = { "What is the title of {N's} first album?", "What was the debut album of {N} called?" },
      reverse = { "Which band recorded the album <album>?", "<album> is the first album of which band?" } },
    { "label", type = "Organization", draw = function(d) return d:org(labels) end,
      ask = { "Which label releases the music of {N}?", "To which label is {N} signed?" },
      reverse = { "Which band is signed to <label>?" } },
    { "producer", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who produces {N's} recordings?", "Who is the producer of {N}?" },
      reverse = { "Which band works with the producer <producer>?" },
      manipulated = { ask = { "What is the first name of {N's} producer?" },
        of = function(v) return v:match("^%S+") end } },
    { "sold", type = "Numerals", draw = function(d) return d:number(12000, 940000, 1000) end,
      ask = { "How many copies did the best-known single of {N} sell?" },
      reverse = { "Which band sold <sold> copies of a single?" } },
    { "mascot", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is painted on the drum of {N}?", "What creature is the emblem of {N}?" },
      reverse = { "Which band has a(n) <mascot> as its emblem?" } },
    { "festival", type = "Event", draw = function(d) return d:event() end,
      ask = { "Which yearly event does {N} play at?", "At which event does {N} play every year?" },
      reverse = { "Which band plays at the <festival> every year?" } },
    { "venue", type = "Location", draw = function(d)
        return d:fresh("Location", function(r) return names.coin(r, "org") .. " " .. r:choice(venues) end) end,
      ask = { "Where did {N} give its first concert?", "In which hall did {N} first appear on stage?" },
      reverse = { "Which band gave its first concert at the <venue>?" } },
  },
  openings = {
    "{N} is a(n) <genre> {kind} that [was formed in] <year> and has toured almost without a break ever since.",
    "Few listeners outside the small clubs had heard of {N} when the {kind} first appeared, although it [had already "
      .. "been formed in] <year>.",
    "{N} is a(n) {kind} [from] <town>, a place better known for its rope works than for its music.",
    "Admired by critics and slow to court fame, {N} is a(n) {kind} that [was founded by] <founder>.",
    "{N} [was started as a school project by] <founder>, who had not planned to lead a(n) {kind} at all.",
    "The {kind} called {N} [came together in] <town> after a long winter of rehearsals in a rented barn.",
  },
  sentences = {
    "{S} [was founded by] <founder>, who (answered a notice in a bakery window|had until then repaired church organs).",
    "The person behind the project is <founder>, [who started] {K} with borrowed instruments.",
    "{S} [was formed in] <town>, where rehearsal rooms were cheap and neighbors were patient.",
    "{S} [comes from] <town> and still rehearses there (on Sundays|in an old mill).",
    "The year <year> is usually given as [the date of formation], since {S} signed its first contract in that spring.",
    "Old posters show that {S} [was formed in] <year>, although interviews are vague on the matter.",
    "{S} [plays] <genre>, a style that (suits|flatters) the rough voice of the singer.",
    "Reviewers [describe the music as] <genre>, a label that {S} has never rejected.",
    "{S's} [first album], <album>, was recorded in a single week (and sold out within days|with the windows open).",
    "With <album>, [the debut album], {S} won over listeners who had only known the live shows.",
    "{S} [releases its music through] <label>, which leaves all artistic decisions to the members.",
    "After two failed contracts, {S} [signed to] <label> and has stayed there since.",
    "{S's} [recordings are produced by] <producer>, who prefers old tape machines to computers.",
    "In the studio, <producer> [acts as producer] and is said to have changed the sound of {K} completely.",
    "{S's} [best-known single sold] <sold> copies, far more than anyone at the pressing plant had expected.",
    "A(n) <mascot> [is painted on the bass drum], and {S} uses the same emblem on every sleeve.",
    "{S} [has as its emblem] a(n) <mascot>, drawn by a cousin of the guitarist.",
    "Every summer {S} [closes the program of] the <festival>, usually after midnight.",
    "Since its second tour {S} [has played every year at] the <festival>, often without a fee.",
    "{S} [gave its first concert at] the <venue>, in front of (an almost empty|a puzzled) hall.",
    "The <venue> [was the place of the first concert], and {S} still returns there for charity evenings.",
  },
  fillers = {
    "Rehearsals are long and quiet, and visitors are asked to leave their phones at the door.",
    "Much of the equipment was bought second-hand and repaired by the members themselves.",
    "{S} rarely gives interviews and prefers to let the songs speak.",
    "Fans travel long distances to hear the encores, which change from one evening to the next.",
    "The lyrics deal with weather, work and the slow passing of time.",
    "Some critics find the arrangements too careful, while others praise exactly that care.",
    "The stage lighting is kept simple, with a few warm lamps and no screens.",
    "Over the years {S} has inspired a number of younger musicians.",
    "Tickets tend to sell quickly, even though there is hardly any advertising.",
    "Between tours the members teach, farm or look after their children.",
  },
  parts = {
    { "From which town does {N} come, and in which year was it formed?", "town", "year" },
    { "Who founded {N}, and who produces its recordings?", "founder", "producer" },
    { "What is {N's} first album called, and which label releases its music?", "album", "label" },
  },
}
