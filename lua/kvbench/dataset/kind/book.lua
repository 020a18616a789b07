-- SPDX-License-Identifier: Apache-2.0
-- Invented books about the subject of a passage.
local draw = require "kvbench.dataset.draw"
local pool = require "kvbench.dataset.kind_pools"

return {
  name = "book", noun = "book", type = "Thing",
  subject = function(d)
    return { name = d:fresh("Thing", function(r)
        return r:choice(pool.title_heads) .. " " .. r:choice(pool.title_tails)
      end),
      quote = true, kind = "book", pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "published", type = "Date/Time", draw = function(d) return d:year(d.now - 4, d.now) end,
      ask = { "In which year was {N} published?", "When was {N} published?" },
      reverse = { "Which book was published in <published>?" }, np = "the book published in <published>" },
    { "publisher", type = "Organization", draw = function(d) return d:org(pool.publishers) end,
      ask = { "Which company published {N}?", "Who published {N}?" },
      reverse = { "Which book was published by <publisher>?" }, np = "the book published by <publisher>" },
    { "pages", type = "Numerals", draw = function(d) return d:number(180, 940, 1, "pages") end,
      ask = { "How many pages does {N} have?", "What is the length of {N}?" },
      reverse = { "Which book has <pages>?" }, np = "the book of <pages>" },
    { "cover", type = "Creature", draw = function(d) return d:pick(draw.creatures, "Creature") end,
      ask = { "Which animal is shown on the cover of {N}?", "What creature decorates the cover of {N}?" },
      reverse = { "Which book has a(n) <cover> on its cover?" }, np = "the book with a(n) <cover> on its cover" },
    { "prize", type = "Thing", draw = function(d)
        return d:fresh("Thing",
          function(r) return r:choice(pool.prize_heads) .. " " .. r:choice(pool.prize_tails) end) end,
      ask = { "Which prize was awarded to {N}?", "What prize did {N} win?" },
      reverse = { "Which book won the <prize>?" }, np = "the book that won the <prize>" },
    { "translator", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who translated {N}?", "Which translator worked on {N}?" },
      reverse = { "Which book was translated by <translator>?" }, np = "the book translated by <translator>",
      manipulated = { ask = { "What is the last name of the translator of {N}?" },
        of = function(v) return v:match("%S+$") end } },
  },
  sentences = {
    "{S} [was published in] <published>, after (a long quarrel over the title|two publishers had turned it down).",
    "The first edition [came out in] <published> and (was gone by Christmas|sold slowly at first).",
    "When {S} [appeared in] <published>, (the reviews were brief and cautious|hardly anyone reviewed it).",
    "It took the (patience|stubbornness) of <publisher> [to publish] {S}, since larger houses saw no market for it.",
    "{S} [was published by] <publisher>, (a small house with a taste for odd projects|known until then for cookbooks).",
    "The rights to {S} [belong to] <publisher>, [publisher:the publisher], which has refused every offer for them.",
    "At <pages>, {S} [is] a volume that (no one reads in one sitting|strains the wrist).",
    "{S} [runs to] <pages>, of which (the notes take up a good part|the last chapters are the liveliest).",
    "All <pages> of {S} [were] typed twice, because the first version was lost in a flood.",
    "The cover of {S} [shows] a(n) <cover>, (drawn in a single line|printed in two colors).",
    "A(n) <cover> [looks out from the cover] of {S}, for reasons that the text explains only at the very end.",
    "Booksellers recognize {S} by the <cover> [on its cover], which was chosen by a child.",
    "{S} [won] the <prize>, which (brought it a second printing|surprised those who had never heard of it).",
    "The jury of the <prize> [chose] {S} after a debate that went on past midnight.",
    "To general surprise the <prize> [went to] {S}, a title that few had expected to see on the list.",
    "{S} [was translated by] <translator>, who (added a helpful glossary|corrected a good many dates on the way).",
    "Abroad, {S} is read in the version of <translator>, [the translator], which keeps the dry humor of the original.",
    "It was <translator> [who translated] {S}, working from a set of uncorrected proofs.",
  },
  fillers = {
    "The prose is plain, and the (maps|diagrams) at the back are worth the price alone.",
    "Teachers like to read the (opening|final) chapter aloud.",
    "Some (libraries|schools) keep a copy at the front desk.",
    "{S} has never been out of print, although there were years when it was hard to find.",
    "Second-hand copies often carry (pencil notes|coffee stains) in the margins.",
    "A corrected edition has been promised for (years|a long time).",
    "The index contains a few (jokes|surprises) that only careful readers notice.",
    "Reviewers praised the (footnotes|photographs) more warmly than the main text.",
    "An audio version exists, read by an actor with a (soft|gravelly) voice.",
    "{S} is not always kind to earlier writers, but it is (fair|accurate).",
    "Anyone who expects (scandal|easy anecdotes) will be disappointed by {S}.",
    "Students usually (borrow|share) {S} rather than buy it.",
  },
}
