-- SPDX-License-Identifier: Apache-2.0
-- Question types (the paper's Table 5), first rule that applies: part = put together from two places, manipulated = a
-- part or transformation of what the text says, standard = as the text says it.
local scan = require "kvbench.dataset.scan"

-- An answer "A, B" or "A and B" whose parts stand in the passage, but not beside each other.
local function two_places(f)
  if f.abstains or f.occurs > 0 then return false end
  for _, glue in ipairs { ", ", " and ", "; " } do
    local from, to = f.answer:find(glue, 1, true)
    local a, b = from and f.answer:sub(1, from - 1), from and f.answer:sub(to + 1)
    if a and scan.occurrences(f.passage, a) > 0 and (scan.occurrences(f.passage, b) > 0) then return true end
  end
  return false
end

local function asks(f, phrase) return f.clause:find(phrase, 1, true) ~= nil end

return {
  axis = "question_type", default = "standard",
  rules = {
    { name = "two questions in one", tag = "part", when = function(f) return f.second end },
    { name = "an answer from two places", tag = "part", when = two_places },
    { name = "a part of a name", tag = "manipulated", when = function(f)
        return asks(f, "first name") or asks(f, "last name") or asks(f, "surname")
      end },
    { name = "the year of a date", tag = "manipulated", when = function(f)
        return asks(f, "year") and f.answer:find("^%d%d%d%d$") and f.occurs > 0 and f.inside == f.occurs
      end },
    { name = "a year, where the text gives dates only", tag = "manipulated", when = function(f)
        return f.abstains and asks(f, "which year") and not f.passage:find("[^,%d] [12]%d%d%d%f[%D]")
      end },
    { name = "not as the text says it", tag = "manipulated", when = function(f)
        return not f.abstains and f.occurs == 0 and scan.occurrences(f.passage:lower(), f.a) == 0
      end },
  },
}
