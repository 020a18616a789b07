-- SPDX-License-Identifier: Apache-2.0
-- Later inquiries into historic trials.
local draw = require "kvbench.dataset.draw"

local findings = draw.items [[a forged signature, a missing page, a bribed clerk, a second confession, a secret
  payment, a false oath, a misread date, a swapped witness]]

return {
  name = "trial_inquiry", noun = "inquiry", type = "Event", since = "year", plus = 31, step = 40,
  facts = {
    { "year", type = "Date/Time", draw = function(d, s) return d:when(s) end,
      ask = { "In which year did {N} into {M} open?", "When was {N} into {M} held?" },
      reverse = { "Which inquiry into {M} opened in <year>?" } },
    { "chair", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who chaired {N} into {M}?", "Who was the head of {N} into {M}?" },
      reverse = { "Which inquiry into {M} was chaired by <chair>?" },
      manipulated = { ask = { "What is the last name of the person who was the head of {N} into {M}?" },
        of = function(v) return v:match("%S+$") end } },
    { "place", type = "Location", draw = function(d) return d:place("land") end,
      ask = { "Where did {N} into {M} meet?", "In which province did {N} into {M} sit?" },
      reverse = { "Which inquiry into {M} met in <place>?" } },
    { "pages", type = "Numerals", draw = function(d) return d:number(120, 4900, 10, "pages") end,
      ask = { "How long was the report of {N} into {M}?", "What was the length of the report of {N} into {M}?" },
      reverse = { "Which inquiry into {M} produced a report of <pages>?" } },
    { "finding", type = "Thing", draw = function(d) return d:pick(findings) end,
      ask = { "What did {N} into {M} uncover?", "Which irregularity did {N} into {M} bring to light?" },
      reverse = { "Which inquiry into {M} uncovered <finding>?" } },
  },
  openings = {
    "{N} [opened in] <year>, (at the request of the descendants|to widespread surprise).",
    "{N} [was chaired by] <chair>, (who trusted no copy|and advised by two archivists).",
    "{N} into {M} [met in] <place>, (far from the families concerned|in a drafty manor).",
    "{N} [uncovered] <finding>, (which the earlier lawyers had overlooked|among unsorted papers).",
  },
  sentences = {
    "The members of {S} [first met in] <year>, (in freezing weather|without much hope).",
    "In <year> {S} [was called into being], (mainly to calm the public|by a single vote).",
    "The chair [of] {S} was <chair>, (a patient reader of bad handwriting|whom both sides respected).",
    "It is thanks to <chair>, [who chaired] {S}, that (witnesses' letters were kept|the work was finished at all).",
    "The sessions of {S} [were held in] <place>, where the archive had been moved.",
    "For {S} the files [were brought to] <place>, (on eleven ox carts|under guard).",
    "The report of {S} [fills] <pages>, (in small print|with an index).",
    "At <pages>, the report [of] {S} was (too long to be read by many|soon abridged).",
    "What {S} [brought to light] was <finding>, (and nobody had an explanation|to the embarrassment of the bench).",
    "The most important [discovery of] {S} was <finding>, (mentioned in passing|confirmed by an expert).",
  },
  fillers = {
    "Newspapers followed {S} from day to day.",
    "Some descendants refused to speak to the members of {S}.",
    "Drafts from {S} were later sold at (auction|a flea market).",
    "{S} changed no verdict, but it changed opinions.",
  },
}
