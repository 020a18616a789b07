-- SPDX-License-Identifier: Apache-2.0
-- The compositional grammar of the base task: a domain gives an entity with attributes and many ways to say each; the
-- grammar draws values, picks sentences that state each attribute once, orders them at random after the opening, pads
-- with sentences that answer nothing, and asks in both directions. Offline counterpart of the paper's Algorithm 1.
local rng = require "kvbench.rng"
local names = require "kvbench.dataset.names"
local template = require "kvbench.dataset.template"
local draw = require "kvbench.dataset.draw"
local record = require "kvbench.dataset.record"

local M = {}

M.words = { 150, 200 }

-- Everything fixed of a template, lower case: what a value must not occur in.
local function literal(source) return (source:gsub("<[%w_]+>", " "):gsub("[%[%]]", ""):lower()) end

local function holds_word(s, word)
  local at = 1
  while true do
    local from, to = s:find(word, at, true)
    if not from then return false end
    if not s:sub(from - 1, from - 1):match("%w") and not s:sub(to + 1, to + 1):match("%w") then return true end
    at = from + 1
  end
end

-- A sentence is usable when its fixed words repeat no value: otherwise the attribute would be stated twice.
local function usable(source, values)
  local fixed = literal(source)
  for _, value in pairs(values) do if holds_word(fixed, value:lower()) then return false end end
  return true
end

-- Words of a template once realised, near enough to plan a length: first alternatives, two words for the subject.
local function estimate(source, values)
  local s = source:gsub("%(([^()|]*)|[^()]*%)", "%1"):gsub("<([%w_]+)>", function(rel) return values[rel] or "x" end)
  return template.words((s:gsub("{[SN]'?s?}", "x x")))
end

local function numbered(list, kind, domain)
  local out = {}
  for i, source in ipairs(list) do
    out[i] = { template = source, id = ("%s.%s%d"):format(domain.name, kind, i),
      relations = template.relations(source) }
  end
  return out
end

local function covers_new(sentence, covered, values)
  for _, rel in ipairs(sentence.relations) do if covered[rel] or not values[rel] then return false end end
  return true
end

-- An opening, then sentences in random order, each taken if all it states is new, until `target` attributes are stated.
local function choose_facts(domain, r, values, target)
  local plan, covered, count, words = {}, {}, 0, 0
  local function take(sentence)
    plan[#plan + 1] = sentence
    for _, rel in ipairs(sentence.relations) do covered[rel] = true end
    count, words = count + #sentence.relations, words + estimate(sentence.template, values)
  end
  for _, sentence in ipairs(r:shuffle(numbered(domain.openings, "opening", domain))) do
    if usable(sentence.template, values) then
      take(sentence)
      break
    end
  end
  for _, sentence in ipairs(r:shuffle(numbered(domain.sentences, "s", domain))) do
    if count >= target then break end
    if covers_new(sentence, covered, values) and usable(sentence.template, values) then take(sentence) end
  end
  return plan, words
end

-- Fillers go to random places after the opening until the length is near `length`.
local function pad(domain, r, plan, words, length, values)
  for _, filler in ipairs(r:shuffle(numbered(domain.fillers, "filler", domain))) do
    local n = estimate(filler.template, values)
    if words >= length then break end
    if words + n <= length + 8 and usable(filler.template, values) then
      table.insert(plan, r:int(2, #plan + 1), filler)
      words = words + n
    end
  end
end

local function realised(rec, fact) return rec.builder.facts[fact[1]] ~= nil end

local function reverse_questions(domain, rec, r, n, info)
  local asked = {}
  if r:uniform() < 0.35 then
    rec:ask { template = r:choice { "What is the subject of the given passage?", "What is the passage about?",
      "Which " .. domain.noun .. " does the passage describe?" }, facts = { "name" }, direction = "reverse",
      answer_type = domain.type, question_type = "standard", a = info.subject.name, aliases = info.name_aliases,
        values = info.values }
    n = n - 1
  end
  for _, fact in ipairs(r:shuffle(info.order())) do
    if n == 0 then break end
    if fact.reverse and realised(rec, fact) then
      rec:ask { template = r:choice(fact.reverse), facts = { "name" }, cues = { fact[1] }, direction = "reverse",
        answer_type = domain.type, question_type = "standard", a = info.subject.name, aliases = info.name_aliases,
        values = info.values }
      asked[fact[1]] = true
      n = n - 1
    end
  end
  return asked
end

local function manipulated_question(rec, r, info, asked)
  for _, fact in ipairs(r:shuffle(info.order())) do
    local change = fact.manipulated
    if change and realised(rec, fact) and not asked[fact[1]] then
      rec:ask { template = r:choice(change.ask), facts = { fact[1] }, direction = "forward", answer_type = fact.type,
        question_type = "manipulated", a = change.of(info.values[fact[1]]), values = info.values }
      asked[fact[1]] = true
      return 1
    end
  end
  return 0
end

local function part_question(domain, rec, r, info)
  for _, part in ipairs(r:shuffle({ unpack(domain.parts or {}) })) do
    local a, b = part[2], part[3]
    if rec.builder.facts[a] and rec.builder.facts[b] then
      local va, vb = info.values[a], info.values[b]
      local aliases = { va .. " and " .. vb, vb .. ", " .. va, vb .. " and " .. va }
      if info.types[b] == "Date/Time" then aliases[#aliases + 1] = va .. " in " .. vb end
      rec:ask { template = part[1], facts = { a, b }, direction = "forward", answer_type = info.types[a],
        question_type = "part",
        a = va .. ", " .. vb, aliases = aliases, values = info.values }
      return 1
    end
  end
  return 0
end

local function forward_questions(rec, r, n, info, asked)
  local order = r:shuffle(info.order())
  for round = 1, 2 do
    for _, fact in ipairs(order) do
      if n == 0 then return end
      local fresh = not asked[fact[1]] and round == 1 or round == 2 and asked[fact[1]] ~= "forward"
      if fact.ask and realised(rec, fact) and fresh then
        rec:ask { template = r:choice(fact.ask), facts = { fact[1] }, direction = "forward", answer_type = fact.type,
          question_type = "standard", a = info.values[fact[1]], aliases = info.aliases[fact[1]], values = info.values }
        asked[fact[1]] = "forward"
        n = n - 1
      end
    end
  end
end

--- One record of a domain.
--   id       its name; index: number of the record within the domain, for names that do not repeat within a seed
--   questions  how many to ask
function M.generate(domain, seed, id, index, questions)
  local r = rng.new("kvbench/base/" .. id)
  local at = names.walk(seed, domain.name, names.space(domain.model), index)
  local subject = domain.subject(r, names.nth(domain.model, at))
  local d = draw.new(r, subject.name .. " " .. subject.kind)
  local info = { subject = subject, values = {}, aliases = {}, types = { name = domain.type } }
  info.name_aliases = subject.article and { "The " .. subject.name, "the " .. subject.name } or {}
  for _, fact in ipairs(domain.facts) do
    info.values[fact[1]], info.aliases[fact[1]] = fact.draw(d, subject, info.values)
    info.types[fact[1]] = fact.type
  end
  function info.order() return { unpack(domain.facts) } end

  local plan, words = choose_facts(domain, r, info.values, r:int(8, 9))
  pad(domain, r, plan, words, r:int(160, 182), info.values)
  local rec = record.new(id, "base", subject, info.types, r)
  for _, sentence in ipairs(plan) do rec:say(sentence.template, info.values, subject.fill, sentence.id) end

  local asked = reverse_questions(domain, rec, r, r:int(2, 3), info)
  local n = #rec.questions
  if r:uniform() < 0.5 then n = n + manipulated_question(rec, r, info, asked) end
  if r:uniform() < 0.35 then n = n + part_question(domain, rec, r, info) end
  forward_questions(rec, r, questions - n, info, asked)
  r:shuffle(rec.questions)
  return rec:finish { domain = domain.name }
end

return M
