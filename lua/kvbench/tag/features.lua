-- SPDX-License-Identifier: Apache-2.0
-- What the rules look at: the question taken apart, the answer's shape, how the answer stands in the passage. Nothing
-- here knows a generator's labels or spans: the same features come from a stranger's data.
local lexicon = require "kvbench.tag.lexicon"
local scan = require "kvbench.dataset.scan"

local M = {}

local auxiliary = {}
for word in ([[is are was were be been do does did has have had can could will would may might must should s]])
  :gmatch("%S+") do auxiliary[word] = true end

local wh = { which = true, what = true, who = true, whom = true, whose = true, when = true, where = true, why = true,
  how = true }

-- The first interrogative word and its place among the words.
local function interrogative(words)
  for i, word in ipairs(words) do if wh[word] then return word, i end end
end

-- The noun that is asked for: the last of the first run of known nouns among `window` words from `from`.
local function asked_noun(words, from, window)
  local found, tag
  for i = from, math.min(#words, from + window - 1) do
    local here = lexicon.find(lexicon.asked, words[i])
    if here then found, tag = words[i], here
    elseif found or auxiliary[words[i]] then break end
  end
  return found, tag
end

local being = { is = true, are = true, was = true, were = true }
local after_head = { of = true, called = true, that = true, which = true, who = true, ["in"] = true, at = true }

-- "What is the title of the series that ..." -> "title" and its tag; a noun that a verb follows is not what is asked
-- for.
local function what_is(words, at)
  local i = at + 1
  if not being[words[i] or ""] then return nil end
  i = i + 1
  while words[i] == "the" or words[i] == "a" or words[i] == "an" do i = i + 1 end
  for k = i, math.min(#words, i + 6) do
    if words[k] == "s" then return asked_noun(words, k + 1, 3) end -- "What is Ann's nationality?"
  end
  local noun, tag = asked_noun(words, i, 3)
  for k = i, math.min(#words, i + 3) do
    if words[k] == noun and (words[k + 1] == nil or after_head[words[k + 1]]) then return noun, tag end
  end
end

-- "The Salt Gate is a bridge ..." -> what the passage calls a name.
local function kind_in_passage(passage, answer)
  local at = 1
  while true do
    local from, to = passage:find(answer, at, true)
    if not from then return nil end
    local after = passage:sub(to + 1, to + 120):lower()
    local phrase = after:match("^,? *[iw][sa]s? an? ([^.;]*)") or after:match("^,? *[aw]e?re ([^.;]*)")
      or after:match("^,? an? ([^.,;]*)") or after:match("^,? *[iw][sa]s? the ([^.;]*)")
    if phrase then
      local _, tag = asked_noun(scan.tokens(phrase), 1, 8)
      if tag then return tag end
    end
    local before = passage:sub(math.max(1, from - 40), from - 1):lower()
    local noun = before:match("the ([%w]+) $")
    local tag = noun and lexicon.find(lexicon.asked, noun)
    if tag then return tag end
    at = to + 1
  end
end

-- What a passage is about, by what it calls it most often ("the band"), or by he and she.
local function topic(passage)
  local counts, best, best_tag = {}, 0, nil
  local lower = passage:lower()
  local _, people = passage:gsub("%f[%a][HhS]h?e%f[%A]", "")
  for _, before in ipairs { "the ", "this " } do
    for word in lower:gmatch(before .. "(%a+)") do
      local tag = lexicon.asked[word]
      if tag and tag ~= "Numerals" and tag ~= "Date/Time" then
        counts[word] = (counts[word] or 0) + 1
        if counts[word] > best then best, best_tag = counts[word], tag end
      end
    end
  end
  if people > best then return "Person" end
  return best > 1 and best_tag or nil
end

local function is_date(a)
  local lower = a:lower()
  for word in lower:gmatch("%a+") do if lexicon.months[word] and lower:find("%d") then return true end end
  return a:find("^[12]%d%d%d$") ~= nil or a:find("^%d+%.%d+%.%d%d%d%d$") ~= nil
    or a:find("^%d%d%d%d%-%d%d%-%d%d$") ~= nil or lower:find("^%d+ ?[bac]+[ced]+$") ~= nil
end

local number_words = {}
for word in ([[one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand
  million billion dozen]]):gmatch("%S+") do number_words[word] = true end

local function is_number(a)
  return a:find("^[$€£]?%d[%d.,]*%%?$") ~= nil or a:find("^[$€£]?%d[%d.,]* %l") ~= nil
    or number_words[(a:match("^(%a+)") or ""):lower()] == true
end

-- Occurrences of the answer in the passage as whole words, and how many of them are the year of a full date or one part
-- of a longer name.
local function places(passage, answer)
  local whole, inside, at = 0, 0, 1
  while answer ~= "" do
    local from, to = passage:find(answer, at, true)
    if not from then break end
    if scan.boundary(passage, from - 1) and scan.boundary(passage, to + 1) then
      whole = whole + 1
      local before, after = passage:sub(math.max(1, from - 14), from - 1), passage:sub(to + 1, to + 20)
      local dated = answer:find("^%d%d%d%d$") and (before:find("%u%l+ %d+, $") or before:find("%d%d? %u%l+ $"))
      local named = answer:find("^%u[%l]+$") and (before:find("%u[%l']+ $") and not before:find("[.!?] %u[%l']+ $")
        or after:find("^ %u%l"))
      if dated or named then inside = inside + 1 end
    end
    at = from + 1
  end
  return whole, inside
end

--- A question about what the passage is about.
function M.asks_subject(f)
  return f.q:find("subject of the") ~= nil or f.q:find("passage about") ~= nil or f.q:find("text about") ~= nil
    or f.q:find("passage describe") ~= nil or f.q:find("described in the passage") ~= nil
end

--- The features of a question with its answer and passage.
--   q, a: lower-case question (its first clause in `clause`) and answer; question, answer, passage: as they stand
--   words: of the clause; wh: the interrogative word; noun, noun_tag: what "which X" asks for; head, head_tag: what
--   "what is the X" asks for; named, named_tag: X of "name of the X"; suffix_tag: by the answer's last word;
--   kind_tag: what the passage calls the answer; topic_tag: the same for a question about the passage's subject; first: the
--   answer to the first clause; date, number, animal: the answer's shape; occurs, inside: see places;
--   second: there is a second question after "and"; pieces: the answer's parts
function M.of(q, passage)
  local f = { question = q.q, answer = q.a, passage = passage, q = q.q:lower(), a = q.a:lower() }
  f.abstains = f.a:find("^i do ?n[o']t know") ~= nil
  local clause, rest = f.q:match("^(.-),? and (.+)$")
  f.second = rest ~= nil and (rest:find("^[%a ]-%f[%a]wh[ioae]%a*") ~= nil or rest:find("^how%f[%A]") ~= nil)
  f.clause = f.second and clause or f.q
  f.words = scan.tokens((f.clause:gsub("'s%f[%A]", " s")))
  local word, at = interrogative(f.words)
  f.wh = word
  if word == "which" or word == "what" then
    f.noun, f.noun_tag = asked_noun(f.words, at + 1, 4)
    if f.words[at + 1] == "kind" or f.words[at + 1] == "type" or f.words[at + 1] == "sort" then
      f.noun, f.noun_tag = asked_noun(f.words, at + 3, 2)
    end
    if not f.noun then f.head, f.head_tag = what_is(f.words, at) end
  end
  local named = f.clause:match("name of the ([%a ]+)") or f.clause:match("name of ([%a ]+)")
  if named then f.named, f.named_tag = asked_noun(scan.tokens(named), 1, 4) end
  local first = f.second and f.answer:match("^(.-),? and ") or f.second and f.answer:match("^(.-), ") or f.answer
  f.first = first
  local last = first:match("(%a+)[^%a]*$")
  if last and first:find("^%u") then f.suffix_tag = lexicon.suffix[last:lower()] end
  f.animal = last ~= nil and lexicon.find(lexicon.animals, last:lower()) ~= nil and not first:find("%f[%a]%u")
  f.date, f.number = is_date(first), is_number(first)
  f.kind_tag = not f.abstains and f.answer:find("^%u") and kind_in_passage(passage, f.answer) or nil
  f.topic_tag = M.asks_subject(f) and (f.suffix_tag or f.kind_tag or topic(passage)) or nil
  f.occurs, f.inside = places(passage, f.answer)
  return f
end

return M
