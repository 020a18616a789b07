-- SPDX-License-Identifier: Apache-2.0
-- What probes are asked: one item a question, with its class, its passage and the sentence template of its evidence.
local folds = require "kvbench.probe.folds"

local M = {}

local function fact_of(record, id)
  for _, fact in ipairs(record.facts) do if fact.id == id then return fact end end
end

-- The sentence that states a fact with every value and name in it blanked: equal for equal templates. "a" and "an" are
-- one, since the value decides between them.
local function template_of(record, fact)
  local mention = fact and fact.mentions and fact.mentions[1]
  if not mention or not mention.sentence then return nil end
  local from, to = mention.sentence[1], mention.sentence[2]
  local spans = {}
  local function add(s, mark) if s and s[1] >= from and s[2] <= to then spans[#spans + 1] = { s[1], s[2], mark } end end
  for _, other in ipairs(record.facts) do
    for _, m in ipairs(other.mentions or {}) do
      add(m.value, "<v>")
      for _, b in ipairs(m.binding or {}) do
        local word = record.passage:sub(b[1] + 1, b[2])
        if word:find "%u" then add(b, "<s>") end -- names; relation words are the template's own
      end
    end
  end
  table.sort(spans, function(a, b) if a[1] ~= b[1] then return a[1] < b[1] end return a[2] > b[2] end)
  local out, at = {}, from
  for _, s in ipairs(spans) do
    if s[1] >= at then
      out[#out + 1] = record.passage:sub(at + 1, s[1]) .. s[3]
      at = s[2]
    end
  end
  local text = table.concat(out) .. record.passage:sub(at + 1, to)
  return (text:gsub("(%f[%a][Aa])n (<v>)", "%1 %2"))
end

local function item_of(record, number, class)
  local question = record.questions[number]
  local fact = fact_of(record, question.fact_ids and question.fact_ids[1])
  return { record = record, question = number, class = class, passage = record.id, template = template_of(record, fact),
    type = (fact and fact.subject or record.id):match "%S+" }
end

--- The paper's target: the answer's tag (answer_type) of every answerable question.
function M.tags(records)
  local out = {}
  for _, record in ipairs(records) do
    for number, question in ipairs(record.questions) do
      if question.answerable ~= false and question.answer_type then
        out[#out + 1] = item_of(record, number, question.answer_type)
      end
    end
  end
  return out
end

--- The main target: which value a slot has, asked by one question template. Takes records (any number, read in order)
--- until `values` values have `per_value` items each; the values are those that most records have. Returns items, and
--- how many values there were to choose from.
function M.values(records, relation, values, per_value)
  local count, names, found = {}, {}, {}
  for _, record in ipairs(records) do
    for number, question in ipairs(record.questions) do
      local fact = question.fact_ids and #question.fact_ids == 1 and fact_of(record, question.fact_ids[1])
      if fact and fact.relation == relation and question.direction == "forward" and question.answerable ~= false
        and question.question_type == "standard" then
        if not count[fact.value] then count[fact.value], names[#names + 1] = 0, fact.value end
        count[fact.value] = count[fact.value] + 1
        found[#found + 1] = { record = record, number = number, value = fact.value }
      end
    end
  end
  table.sort(names, function(a, b)
    if count[a] ~= count[b] then return count[a] > count[b] end
    return a < b
  end)
  local room, out = {}, {}
  for i = 1, math.min(values, #names) do room[names[i]] = per_value end
  for _, f in ipairs(found) do
    if (room[f.value] or 0) > 0 then
      room[f.value] = room[f.value] - 1
      out[#out + 1] = item_of(f.record, f.number, f.value)
    end
  end
  return out, #names
end

--- Items with labels: classes under `least` items dropped. Returns {items, labels, names, dropped, plan, types} or
--- {reason}.
function M.prepare(items, least, seed)
  local kept, labels, names, dropped = folds.classes(items, function(item) return item.class end, least)
  local out = { items = kept, labels = labels, names = names, dropped = dropped, types = {} }
  if #names < 2 then
    out.reason = ("%d of %d classes have %d test items: a probe needs two"):format(#names, #names + #dropped, least)
    return out
  end
  for i, item in ipairs(kept) do out.types[i] = item.type end
  out.plan = folds.make(kept, seed)
  if out.plan.passages < 2 then out.reason = "one passage: nothing can be held out" end
  return out
end

return M
