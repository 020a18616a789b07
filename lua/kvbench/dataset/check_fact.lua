-- SPDX-License-Identifier: Apache-2.0
-- The validator's part about facts: spans that hold what they claim, values stated once, names that nobody bears, slots
-- that can be told apart. Every fault is a text and the field it is about.
local real_names = require "kvbench.dataset.real_names"
local scan = require "kvbench.dataset.scan"
local boundary, occurrences = scan.boundary, scan.occurrences
local span_fault, inside, overlap = scan.span_fault, scan.inside, scan.overlap

local M = {}

M.answer_types = {
  Person = true, Thing = true, Organization = true, Creature = true, Location = true, Numerals = true,
  ["Date/Time"] = true, Event = true,
}

local function held(passage, span) return passage:sub(span[1] + 1, span[2]) end

local function check_binding(record, fact, m, where)
  if type(m.binding) ~= "table" or (#m.binding == 0 and fact.relation ~= "name") then
    return "the mention has no binding", where .. ".binding"
  end
  for i, span in ipairs(m.binding) do
    local field = ("%s.binding[%d]"):format(where, i)
    local fault = span_fault(span, "binding", #record.passage)
    if fault then return fault, field end
    if overlap(span, m.value) then return "binding overlaps the value", field end
  end
end

--- What every mention must satisfy, imported or generated: spans inside the passage, and the value where it is claimed.
function M.mention_spans(record, fact, m, where)
  local passage = record.passage
  for _, name in ipairs { "sentence", "value" } do
    local fault = span_fault(m[name], name, #passage)
    if fault then return fault, where .. "." .. name end
  end
  local value = held(passage, m.value)
  if value ~= fact.value then
    return ("value span holds '%s', not '%s'"):format(value, fact.value), where .. ".value"
  end
end

local function check_mention(record, fact, m, where)
  local fault, field = M.mention_spans(record, fact, m, where)
  if fault then return fault, field end
  local passage = record.passage
  if not (boundary(passage, m.value[1]) and boundary(passage, m.value[2] + 1)) then
    return "value span cuts a word", where .. ".value"
  end
  if not inside(m.value, m.sentence) then return "value lies outside its sentence", where .. ".value" end
  local sentence = held(passage, m.sentence)
  if not sentence:match("^[%u%d\"]") or not sentence:match("[.!?]\"?$") then
    return ("sentence span is not a whole sentence: '%s'"):format(sentence:sub(1, 60)), where .. ".sentence"
  end
  return check_binding(record, fact, m, where)
end

-- names: those of the passage's entities; a link has one as its value, and a name may be written many times.
local function check_fact(record, fact, where, rules, names)
  if fact.value == "" then return "the fact has no value", where .. ".value" end
  if not M.answer_types[fact.type] then
    return ("type '%s' -> one of Table 4's"):format(fact.type), where .. ".type"
  end
  if #fact.mentions == 0 then return "the fact is mentioned nowhere", where .. ".mentions" end
  for i, m in ipairs(fact.mentions) do
    local fault, field = check_mention(record, fact, m, ("%s.mentions[%d]"):format(where, i))
    if fault then return fault, field end
  end
  if names[fact.value] or rules.repeats then return end
  local n = occurrences(record.passage, fact.value)
  if n ~= 1 then return ("'%s' is stated %d times, not once"):format(fact.value, n), where .. ".value" end
end

-- No value may equal, or hold as whole words, another value of the passage: the slot would be ambiguous.
local function check_slots(facts, names)
  local lower = {}
  for i, fact in ipairs(facts) do lower[i] = fact.value:lower() end
  for i, a in ipairs(facts) do
    for j, b in ipairs(names[a.value] and {} or facts) do
      if i ~= j and not names[b.value] and occurrences(lower[i], lower[j]) > 0 then
        return ("values '%s' (%s) and '%s' (%s) cannot be told apart"):format(a.value, a.id, b.value, b.id),
          ("facts[%d].value"):format(i)
      end
    end
  end
end

local function check_invented(facts, rules)
  for i, fact in ipairs(facts) do
    if not (rules.real and rules.real[fact.type]) then
      local real = real_names.find(fact.value, fact.type, rules.whole_names)
      if real then return ("'%s' is a real name (%s)"):format(fact.value, real), ("facts[%d].value"):format(i) end
    end
  end
end

--- Facts by their ids. A doubled id is a fault (the second and third results).
function M.by_id(facts)
  local by_id = {}
  for i, fact in ipairs(facts) do
    local where = ("facts[%d].id"):format(i)
    if fact.id == "" then return nil, "the fact has no id", where end
    if by_id[fact.id] then return nil, ("fact id '%s' is used twice"):format(fact.id), where end
    by_id[fact.id] = fact
  end
  return by_id
end

--- The first fault of a record's facts, or nil.
function M.fault(record, rules)
  local attributes, names = 0, {}
  for _, fact in ipairs(record.facts) do if fact.relation == "name" then names[fact.value] = true end end
  for i, fact in ipairs(record.facts) do
    if fact.relation ~= "name" then attributes = attributes + 1 end
    local fault, field = check_fact(record, fact, ("facts[%d]"):format(i), rules, names)
    if fault then return fault, field end
  end
  if attributes < rules.attributes then
    return ("%d attributes, at least %d are needed"):format(attributes, rules.attributes), "facts"
  end
  local fault, field = check_slots(record.facts, names)
  if fault then return fault, field end
  return check_invented(record.facts, rules)
end

return M
