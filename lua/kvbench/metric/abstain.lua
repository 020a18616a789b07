-- SPDX-License-Identifier: Apache-2.0
-- What counts as "I don't know": a phrase list, meant to be edited.
--
-- `whole` phrases are the entire answer; `inside` ones may be surrounded by other words of the answer's first sentence.
-- Both are written as kvbench.metric.text.norm leaves them (lower case, no apostrophes, no articles); `inside`
-- entries are Lua patterns and match at word boundaries. Precision before recall: "unknown" inside a sentence may be
-- part of a name.
local text = require "kvbench.metric.text"

local M = {}

M.whole = {
  "unknown", "none", "no answer", "not mentioned", "not stated", "not specified", "not given",
  "not provided", "not known", "not available", "not applicable", "not sure", "unsure", "unclear", "unanswerable",
  "undetermined", "unspecified", "no idea", "no information", "dont know", "do not know", "cannot say", "cant say",
  "cannot answer", "no one knows", "it is unknown", "idk",
}

M.inside = {
  "i dont know", "i do not know", "i dont have", "i do not have", "im not sure", "i am not sure", "im unsure",
  "i am unsure", "i have no idea", "i cannot", "i cant", "i can not", "im unable", "i am unable",
  "not enough information", "insufficient information", "no information", "no mention of", "it is unknown",
  "is not clear", "is unclear",
}

local function each(list, visit) for word in list:gmatch("%S+") do visit(word) end end

each("is are was were", function(verb)
  each("mentioned stated specified provided given disclosed", function(said)
    table.insert(M.inside, verb .. " not " .. said)
  end)
end)
each("passage text context article paragraph document story", function(source)
  each("mention state say specify provide contain indicate give tell include", function(verb)
    table.insert(M.inside, source .. " does ?no?t " .. verb)
  end)
end)
-- "It does not contain ..." may describe the thing asked about; "it does not say" cannot.
each("mention state say specify", function(verb) table.insert(M.inside, "it does ?no?t " .. verb) end)
each("answer determine find say tell", function(verb)
  table.insert(M.inside, "unable to " .. verb)
  table.insert(M.inside, "impossible to " .. verb)
end)
each("answered determined found inferred identified", function(done)
  table.insert(M.inside, "can ?not be " .. done)
  table.insert(M.inside, "cant be " .. done)
  table.insert(M.inside, "could not be " .. done)
end)

local function matches(n)
  if n == "" then return nil end
  for _, phrase in ipairs(M.whole) do if n == phrase then return phrase end end
  for _, pattern in ipairs(M.inside) do
    local found = n:match("%f[%w]" .. pattern .. "%f[%W]")
    if found then return found end
  end
end

--- The phrase by which a cleaned answer abstains, or nil. Only the first sentence is read, since a correct answer
--- may go on to say what the passage does not mention; an opening of at most three words ("Sorry.") is skipped.
function M.find(answer)
  if answer:lower():find("^%W*n%s*/%s*a%W*$") then return "n/a" end
  local sentences = {}
  for s in (answer:gsub("([.!?])%s+", "%1\n") .. "\n"):gmatch("([^\n]+)\n") do
    local n = text.norm(s)
    if n ~= "" then sentences[#sentences + 1] = n end
    if #sentences == 2 then break end
  end
  if not sentences[1] then return nil end
  local phrase = matches(sentences[1])
  if phrase or not sentences[2] then return phrase end
  local _, words = sentences[1]:gsub("%S+", "")
  if words <= 3 and sentences[1]:find("sorry", 1, true) then return matches(sentences[2]) end
end

return M
