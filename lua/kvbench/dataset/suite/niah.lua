-- SPDX-License-Identifier: Apache-2.0
-- Needles in a haystack: "The locker number of Kelmora is 4829153." keys: how many needles have keys of their own;
-- values: how many values the first key has; queries: how many keys are asked for in the one question.
local hay = require "kvbench.dataset.suite.hay"
local names = require "kvbench.dataset.names"

local M = {}

local function distinct(n, make)
  local seen, list = {}, {}
  while #list < n do
    local v = make()
    if not seen[v] then
      seen[v] = true
      list[#list + 1] = v
    end
  end
  return list
end

local function join(list)
  if #list == 1 then return list[1] end
  return table.concat(list, ", ", 1, #list - 1) .. " and " .. list[#list]
end

local function question_of(keys, per_key)
  if #keys > 1 then return ("What are the locker numbers of %s?"):format(join(keys)) end
  return (per_key > 1 and "What are all the locker numbers of %s?"
    or "What is the locker number of %s?"):format(keys[1])
end

function M.make(_, p, r, measure)
  local per_key, queries = p.values or 1, math.min(p.queries or 1, p.keys)
  local keys = distinct(p.keys, function() return names.coin(r, "town") end)
  local numbers = distinct(p.keys * per_key, function() return tostring(r:int(1000000, 9999999)) end)
  local order, needles = {}, {}
  for i = 1, #numbers do order[i] = i end
  r:shuffle(order)
  for i, k in ipairs(order) do
    needles[i] = hay.needle("The locker number of ", keys[(k - 1) % p.keys + 1], " is ", numbers[k], ".")
  end
  local sentence = hay.sentences(p.haystack, r)
  local none = {}
  for i = 1, #needles do none[i] = 0 end
  local n = hay.most(function(count) return measure((hay.assemble(sentence, count, needles, none))) <= p.length end,
    #needles .. " needles")
  local passage, mentions = hay.assemble(sentence, n, needles, hay.places(r, #needles, n, p.depth))
  local facts, asked, answers, ids = {}, {}, {}, {}
  for i, k in ipairs(order) do
    facts[i] = { id = "f" .. i, subject = keys[(k - 1) % p.keys + 1], relation = "number", type = "Numerals",
      value = numbers[k], mentions = { mentions[i] } }
  end
  for i = 1, queries do asked[i] = keys[i] end
  for _, key in ipairs(asked) do
    for _, fact in ipairs(facts) do
      if fact.subject == key then answers[#answers + 1], ids[#ids + 1] = fact.value, fact.id end
    end
  end
  return { passage = passage, facts = facts, questions = { { q = question_of(asked, per_key),
    a = table.concat(answers, ", "), aliases = {}, answers = answers, fact_ids = ids, cue_ids = {},
    direction = "forward", answer_type = "Numerals", question_type = #answers > 1 and "part" or "standard", hop = 0,
    depth = 0, answerable = true } } }
end

return M
