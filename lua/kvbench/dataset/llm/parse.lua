-- SPDX-License-Identifier: Apache-2.0
-- Algorithm 1, lines 3 to 5: from a model's reply to a record. Marks become spans, placeholders and real names become
-- invented ones; everything else is left to the validator.
local encoder = require "kvbench.json_encode"
local json = require "kvbench.json"
local names = require "kvbench.dataset.names"
local real_names = require "kvbench.dataset.real_names"
local sentences = require "kvbench.dataset.sentences"

local M = {}

local function decode(raw)
  local from, to = raw:find("{", 1, true), nil
  for at in raw:gmatch("()}") do to = at end
  if not from or not to or to < from then return nil, "the reply holds no JSON object" end
  local ok, value = pcall(json.decode, raw:sub(from, to), "reply")
  if not ok then return nil, "the reply is " .. tostring(value):gsub("^reply: ", ""):gsub("\n.*", "") end
  for _, field in ipairs { "passage", "subject" } do
    if type(value[field]) ~= "string" then return nil, ("\"%s\" is missing or no text"):format(field) end
  end
  for _, field in ipairs { "facts", "questions" } do
    if not json.is_array(value[field]) then return nil, ("\"%s\" is missing or no list"):format(field) end
  end
  return value
end

local coin = {
  PERSON = function(r) return (names.person(r)) end,
  PLACE = function(r) return names.coin(r, "town") end,
  ORG = function(r) return names.coin(r, "org") .. " " .. r:choice { "Company", "Society", "Institute", "Works" } end,
  NAME = function(r) return names.coin(r, "land") .. " " .. names.coin(r, "ancient") end,
}
local coin_by_type = { Person = coin.PERSON, Location = coin.PLACE, Organization = coin.ORG, Creature = coin.NAME,
  Event = coin.NAME, Thing = coin.NAME }

-- Applies fn to every text of a decoded value.
local function map_texts(value, fn)
  if type(value) == "string" then return fn(value) end
  if type(value) ~= "table" or value == encoder.null then return value end
  local out = setmetatable({}, getmetatable(value))
  for k, v in pairs(value) do out[k] = map_texts(v, fn) end
  return out
end

-- Invented names for placeholders, then for values that are real names; `replaced` tells the audit which.
local function invent(value, r)
  local known, replaced, used = {}, {}, {}
  local function fresh(make)
    for _ = 1, 100 do
      local name = make(r)
      if not used[name] and not real_names.find(name, "Thing") then
        used[name] = true
        return name
      end
    end
    error("no fresh name left", 0)
  end
  local placeholder, list = "%f[%u]((%u+)_%d+)%f[%W]", {}
  map_texts(value, function(s)
    for word, kind in s:gmatch(placeholder) do
      if coin[kind] and known[word] == nil then known[word], list[#list + 1] = false, { word, kind } end
    end
  end)
  table.sort(list, function(a, b) return a[1] < b[1] end) -- tables are walked in no fixed order, names are drawn in one
  for _, item in ipairs(list) do
    known[item[1]] = fresh(coin[item[2]])
    replaced[item[1]] = known[item[1]]
  end
  value = map_texts(value, function(s)
    return (s:gsub(placeholder, function(word) return known[word] or nil end))
  end)
  for _, fact in ipairs(value.facts) do
    local make = type(fact) == "table" and type(fact.value) == "string" and coin_by_type[fact.type]
    local real = make and fact.value:find("^%u") and real_names.find(fact.value, fact.type) and fact.value
    if real then
      local name = fresh(make)
      replaced[real] = name
      local pattern = "%f[%w]" .. real:gsub("%p", "%%%0") .. "%f[^%w]"
      value = map_texts(value, function(s) return (s:gsub(pattern, name)) end)
    end
  end
  return value, replaced
end

-- Takes the marks out; returns the text and the marks' spans {id, from, to}.
local function unmark(marked)
  local parts, marks, at, from = {}, {}, 0, 1
  local function put(s)
    parts[#parts + 1] = s
    at = at + #s
  end
  while true do
    local start, stop, id, words = marked:find("%[%[([%w_]+):(.-)%]%]", from)
    if not start then break end
    put(marked:sub(from, start - 1))
    marks[#marks + 1] = { id = id, from = at, to = at + #words }
    put(words)
    from = stop + 1
  end
  put(marked:sub(from))
  return table.concat(parts), marks
end

local function sentence_of(list, span)
  for _, s in ipairs(list) do if span.from >= s[1] and span.to <= s[2] then return { s[1], s[2] } end end
  return { span.from, span.to }
end

-- What binds a value: its relation's words and the nearest mention of the subject, before it if there is one.
local function binding_of(marks, value, id)
  local relation, before, after = "r" .. (id:match("%d+$") or ""), nil, nil
  local spans = {}
  for _, m in ipairs(marks) do
    if m.id == "s" and m.to <= value.from then before = m end
    if m.id == "s" and m.from >= value.to and not after then after = m end
    if m.id == relation and m.to > m.from then spans[#spans + 1] = { m.from, m.to } end
  end
  local mention = before or after
  if mention then table.insert(spans, 1, { mention.from, mention.to }) end
  return spans
end

local function mentions_of(marks, list, id, bound)
  local mentions = {}
  for _, m in ipairs(marks) do
    if m.id == id then
      mentions[#mentions + 1] = { sentence = sentence_of(list, m), value = { m.from, m.to },
        binding = bound and binding_of(marks, m, id) or {} }
    end
  end
  return mentions
end

local function name_fact(value, passage, marks, list)
  local own = {}
  for _, m in ipairs(marks) do
    if m.id == "s" and passage:sub(m.from + 1, m.to) == value.subject then
      own[#own + 1] = { id = "name", from = m.from, to = m.to }
    end
  end
  local asked = "Thing"
  for _, q in ipairs(value.questions) do
    if type(q) == "table" and q.a == value.subject and type(q.answer_type) == "string" then asked = q.answer_type end
  end
  return { id = "name", subject = value.subject, relation = "name", type = asked, value = value.subject,
    mentions = mentions_of(own, list, "name", false) }
end

local function list_or_empty(v) return json.is_array(v) and v or {} end

--- A reply as a record (not yet validated), and the names that were replaced; or nil and the reason.
--   r  the stream that invents names
function M.record(raw, id, task_name, r)
  local value, problem = decode(raw)
  if not value then return nil, problem end
  local replaced
  value, replaced = invent(value, r)
  local passage, marks = unmark(value.passage)
  if #marks == 0 then return nil, "the passage holds no marks such as [[f1:value]]" end
  local list = sentences.spans(passage)
  local facts = { name_fact(value, passage, marks, list) }
  for i, fact in ipairs(value.facts) do
    if type(fact) ~= "table" or type(fact.id) ~= "string" then return nil, ("facts[%d] has no id"):format(i) end
    facts[#facts + 1] = { id = fact.id, subject = value.subject, relation = fact.relation, type = fact.type,
      value = fact.value, mentions = mentions_of(marks, list, fact.id, true) }
  end
  local questions = {}
  for i, q in ipairs(value.questions) do
    if type(q) ~= "table" then return nil, ("questions[%d] is no object"):format(i) end
    questions[i] = { q = q.q, a = q.a, aliases = list_or_empty(q.aliases), fact_ids = list_or_empty(q.facts),
      cue_ids = list_or_empty(q.cues), direction = q.direction, answer_type = q.answer_type,
      question_type = q.question_type, hop = q.hop or 0, depth = q.depth or 0, answerable = true }
  end
  return { id = id, task = task_name, subject = value.subject, passage = passage, facts = facts,
    questions = questions },
    replaced
end

return M
