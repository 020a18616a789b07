-- SPDX-License-Identifier: Apache-2.0
-- Where an answer's words come from: the gold, a rival value of the same slot, the prompt, the passage, or nowhere.
--
-- All matching is on whole words of kvbench.metric.text.norm. Values are searched longest first and what is found is
-- blanked out, so that "Bell Tower" does not also count as "Bell". What is read off a record is cached while the
-- record lives.
local text = require "kvbench.metric.text"

local M = {}

local records = setmetatable({}, { __mode = "k" })

-- Words that carry no content of their own; an answer is grounded by its other words.
local STOP = {}
for w in ([[of in on at by to for with from into as and or but not is was were are be been being it its he she they him
  her them his hers their this that these those which who whom whose what when where how there has have had do does did
  will would can could also very about answer question name named called known]]):gmatch("%S+") do STOP[w] = true end

local function set_of(s)
  local set = {}
  for w in s:gmatch("%S+") do set[w] = true end
  return set
end

--- What is read off a record once: { passage = normalised text, words = set, fact = by id, norm = by fact }.
function M.of_record(record)
  local r = records[record]
  if r then return r end
  local passage = text.norm(record.passage or "")
  r = { passage = passage, words = set_of(passage), fact = {}, norm = {} }
  for _, fact in ipairs(record.facts or {}) do
    r.fact[fact.id] = fact
    r.norm[fact] = { value = text.norm(tostring(fact.value or "")), subject = text.norm(tostring(fact.subject or "")) }
  end
  records[record] = r
  return r
end

--- The slot of a question: { golds (normalised), raw_golds, rivals = {{raw=, norm=}}, own = {norm = true} }.
--- Rivals are the other values of the same relation in the record - for reverse questions the other subjects - and
--- the pool's values; golds, aliases and the values of the question's own facts are no rivals. When the question is
--- unanswerable, its facts hold the tempting values, and those are rivals too.
function M.of(record, question, pool)
  local r = M.of_record(record)
  local answerable = question.answerable ~= false
  local s = { golds = {}, raw_golds = {}, rivals = {}, own = {}, question = text.norm(question.q or "") }
  if answerable then
    for _, gold in ipairs(text.golds(question)) do
      local n = text.norm(gold)
      s.golds[#s.golds + 1], s.raw_golds[#s.raw_golds + 1], s.own[n] = n, gold, true
    end
  end
  local field = question.direction == "reverse" and "subject" or "value"
  local relations = {}
  for _, id in ipairs(question.fact_ids or {}) do
    local fact = r.fact[id]
    if fact then
      relations[fact.relation] = true
      if answerable then s.own[r.norm[fact][field]] = true end
    end
  end
  local seen = {}
  local function rival(raw, norm)
    if norm == "" or s.own[norm] or seen[norm] then return end
    seen[norm] = true
    s.rivals[#s.rivals + 1] = { raw = raw, norm = norm }
  end
  for _, fact in ipairs(record.facts or {}) do
    if relations[fact.relation] then rival(tostring(fact[field]), r.norm[fact][field]) end
  end
  for _, value in ipairs(pool or {}) do rival(value, text.norm(value)) end
  return s
end

-- Removes every run with two or more content words that the answer shares with the question. Needed where the
-- gold is a part of the question ("What is Xena Bell's last name?"): repeating the question is not answering it.
local function without_echo(norm, question)
  local words, out, i = text.split(norm), {}, 1
  while i <= #words do
    local j, told = i, 0
    while j <= #words and text.has(question, table.concat(words, " ", i, j)) do
      if not STOP[words[j]] then told = told + 1 end
      j = j + 1
    end
    if told >= 2 then
      out[#out + 1] = "\2"
      i = j
    else
      out[#out + 1] = words[i]
      i = i + 1
    end
  end
  return table.concat(out, " ")
end

local function longest_first(a, b)
  if #a.norm ~= #b.norm then return #a.norm > #b.norm end
  return a.norm < b.norm
end

--- Which of the slot's values stand in a normalised answer: { gold =, rival =, rival_outside_question = } (nil when
--- absent).
function M.locate(norm, s)
  local golds, asked, all = {}, false, {}
  for _, g in ipairs(s.golds) do
    golds[g] = true
    asked = asked or text.has(s.question, g)
    all[#all + 1] = { norm = g }
  end
  for _, v in ipairs(s.rivals) do all[#all + 1] = v end
  table.sort(all, longest_first)
  local rest = " " .. (asked and without_echo(norm, s.question) or norm) .. " "
  local found = {}
  for _, v in ipairs(all) do
    local needle = " " .. v.norm .. " "
    local at = v.norm ~= "" and rest:find(needle, 1, true)
    while at do
      rest = rest:sub(1, at) .. "\1" .. rest:sub(at + #needle - 1)
      if golds[v.norm] then
        found.gold = found.gold or v.norm
      else
        found.rival = found.rival or v.raw
        if not found.rival_outside_question and not text.has(s.question, v.norm) then
          found.rival_outside_question = v.raw
        end
      end
      at = rest:find(needle, 1, true)
    end
  end
  return found
end

--- Content words of a normalised answer: no function words, and none that the question has.
function M.content(norm, question)
  local skip, out = set_of(question), {}
  for w in norm:gmatch("%S+") do if not STOP[w] and not skip[w] then out[#out + 1] = w end end
  return out
end

local TITLE = set_of "dr mr mrs ms miss prof professor sir lady lord captain king queen"

-- "Xena Ball" for "Xena Bell": the gold's first name, then a capitalised word that is not in the gold.
local function corrupted(cleaned, question)
  local kind = question.answer_type and tostring(question.answer_type):lower()
  if kind and kind ~= "person" then return nil end
  local words = {}
  for w in question.a:gmatch("%S+") do
    if not kind and not w:find("^%u") then return nil end
    local n = text.norm(w)
    if not (#words == 0 and TITLE[n]) then words[#words + 1] = n end
  end
  if #words < 2 or #words > 4 then return nil end
  local own, previous = {}, nil
  for _, w in ipairs(words) do own[w] = true end
  for w in cleaned:gmatch("%S+") do
    local n = text.norm(w)
    if previous == words[1] and n ~= "" and not own[n] and (w:find("^%W?%u") or w:find("^[\194-\244]")) then
      return words[1] .. " " .. n
    end
    -- Punctuation after the first name ends the name, so the next word is no surname.
    previous = w:find("[,.;:!?]$") and "" or n
  end
end

--- A value of the slot that is not the gold's: returns the value and how it was recognised: "gold_and_rival", "rival",
--- "part_of_rival" (the whole answer is part of a rival and not of the gold) or "corrupted_gold".
function M.conflict(cleaned, norm, s, question)
  local found = M.locate(norm, s)
  -- A rival that the question names is only an answer when nothing else is said.
  local rival = found.rival_outside_question or (#M.content(norm, s.question) == 0 and found.rival)
  if rival then return rival, found.gold and "gold_and_rival" or "rival" end
  for _, v in ipairs(s.rivals) do
    if text.has(v.norm, norm) and not STOP[norm] then
      local shared = text.has(s.question, norm)
      for g in pairs(s.own) do shared = shared or text.has(g, norm) end
      if not shared then return v.raw, "part_of_rival" end
    end
  end
  local bad = question and corrupted(cleaned, question)
  if bad then return bad, "corrupted_gold" end
end

--- other_in_context, ungrounded or mixed, by the answer's content words (no function words, none of the question's):
--- all, none or some of them stand in the passage. An answer without any is other_in_context when the passage has a
--- word of it, else ungrounded. Returns class, reason, matched; reason is "partial_gold", "verbatim", "recombined",
--- "question_words" or nil.
function M.grounding(norm, record, question, s)
  local r = M.of_record(record)
  local told = M.content(norm, s.question)
  if #told == 0 then
    for w in norm:gmatch("%S+") do
      if r.words[w] and not STOP[w] then return "other_in_context", "question_words", w end
    end
    return "ungrounded", "question_words"
  end
  local inside, outside = 0, nil
  for _, w in ipairs(told) do
    if r.words[w] then inside = inside + 1 else outside = outside or w end
  end
  if inside == #told then
    for _, g in ipairs(s.golds) do
      if text.has(g, norm) or text.has(g, table.concat(told, " ")) then return "other_in_context", "partial_gold", g end
    end
    return "other_in_context", text.has(r.passage, norm) and "verbatim" or "recombined"
  end
  if inside == 0 then return "ungrounded", nil, outside end
  return "mixed", nil, outside
end

return M
