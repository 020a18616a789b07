-- SPDX-License-Identifier: Apache-2.0
-- Answer types (the paper's Table 4), first rule that applies. A rule's `tag` is a tag, or the name of a feature that
-- holds one. Readings of the table: a nationality is a Thing, a band asked as subject an Organization, a cause or an
-- account of what happened an Event.
local features = require "kvbench.tag.features"

-- Words of the question's first clause as one text with blanks around, for plain finding.
local function has(f, phrase)
  return (" " .. table.concat(f.words, " ") .. " "):find(" " .. phrase .. " ", 1, true) ~= nil
end

local measures = { many = true, much = true, long = true, tall = true, old = true, large = true, high = true,
  deep = true, far = true, big = true, wide = true, heavy = true, fast = true, often = true }

local function how(f)
  for i, word in ipairs(f.words) do if word == "how" then return f.words[i + 1] end end
end

return {
  axis = "answer_type", default = "Thing",
  rules = {
    { name = "when", tag = "Date/Time", when = function(f) return f.wh == "when" or has(f, "date of") end },
    { name = "how many", tag = "Numerals", when = function(f)
        return f.wh == "how" and measures[how(f)] and not (has(f, "how long ago"))
      end },
    { name = "parts of a name", tag = "Person", when = function(f)
        return has(f, "first name") or has(f, "last name") or has(f, "full name") or has(f, "surname")
      end },
    { name = "subject of the passage, as it is called there", tag = "topic_tag",
      when = function(f) return f.topic_tag and not f.noun_tag end },
    { name = "subject that is asked as a person", tag = "Person",
      when = function(f) return features.asks_subject(f) and f.noun_tag == "Person" end },
    { name = "which people, by name", tag = "Organization", when = function(f)
        return f.q:find("which people") and f.first:find("^%u")
      end },
    { name = "which people", tag = "Person", when = function(f) return f.q:find("which people") end },
    { name = "which area covers", tag = "Numerals", when = function(f) return f.noun == "area" and f.number end },
    { name = "which body of water", tag = "Location", when = function(f) return has(f, "body of water") end },
    { name = "which X", tag = "noun_tag", when = function(f) return f.noun_tag end },
    { name = "name of the X", tag = "named_tag", when = function(f) return f.named_tag end },
    { name = "X called", tag = "head_tag", when = function(f) return f.head_tag and f.head_tag ~= "Thing" end },
    { name = "who, an organization by its name", tag = "Organization", when = function(f)
        return (f.wh == "who" or f.wh == "whom") and f.suffix_tag == "Organization"
      end },
    { name = "for whom one works", tag = "Organization",
      when = function(f) return f.wh == "whom" and has(f, "work") end },
    { name = "who", tag = "Person", when = function(f) return f.wh == "who" or f.wh == "whom" or f.wh == "whose" end },
    { name = "where one studies", tag = "Organization", when = function(f)
        return f.wh == "where" and f.suffix_tag == "Organization"
      end },
    { name = "where", tag = "Location", when = function(f) return f.wh == "where" end },
    { name = "why, how it came about", tag = "Event", when = function(f)
        return f.wh == "why" or f.wh == "how" and how(f) == "did"
      end },
    { name = "what caused it", tag = "Event", when = function(f)
        return f.q:find("^what ended ") or f.q:find("^what created ") or f.q:find("^what caused ")
          or f.q:find("^what destroyed ") or f.q:find("^what led ") or f.q:find("^what happened ")
          or f.q:find("^what formed ") or f.q:find("^after what ")
      end },
    { name = "an animal", tag = "Creature", when = function(f) return f.animal end },
    { name = "a date", tag = "Date/Time", when = function(f) return f.date end },
    { name = "a number", tag = "Numerals", when = function(f) return f.number end },
    { name = "X that is a thing", tag = "Thing", when = function(f) return f.head_tag end },
    { name = "a name by its last word", tag = "suffix_tag", when = function(f) return f.suffix_tag end },
    { name = "as the passage calls it", tag = "kind_tag", when = function(f) return f.kind_tag end },
  },
}
