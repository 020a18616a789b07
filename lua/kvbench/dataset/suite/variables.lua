-- SPDX-License-Identifier: Apache-2.0
-- Variable tracking: "VAR KQZTA = 48291." and later "VAR BHWEX = VAR KQZTA."; which variables hold 48291? hops:
-- assignments after the first; chains: how many values are tracked (the first is asked for, the others distract).
local hay = require "kvbench.dataset.suite.hay"

local M = {}

local function variable(r, seen)
  while true do
    local letters = {}
    for i = 1, 5 do letters[i] = string.char(64 + r:int(1, 26)) end
    local name = table.concat(letters)
    if not seen[name] then
      seen[name] = true
      return name
    end
  end
end

-- An assignment; the value span is the variable, the binding what it is set to.
local function assignment(name, source)
  return function(w)
    local from = w.at
    w.put("VAR ")
    local v = w.put(name)
    w.put(" = ")
    local b = w.put(source)
    w.put(".")
    return { sentence = { from, w.at }, value = v, binding = { b } }
  end
end

-- Chains interleaved at random, each in its own order.
local function interleave(chains, r)
  local out, at, left = {}, {}, 0
  for c, chain in ipairs(chains) do at[c], left = 1, left + #chain end
  while left > 0 do
    local c = r:int(1, #chains)
    if chains[c][at[c]] then
      out[#out + 1] = chains[c][at[c]]
      at[c], left = at[c] + 1, left - 1
    end
  end
  return out
end

function M.make(_, p, r, measure)
  local seen, chains, value = {}, {}, nil
  for c = 1, p.chains do
    local number, previous = tostring(r:int(10000, 99999)), nil
    while seen[number] do number = tostring(r:int(10000, 99999)) end
    seen[number] = true
    value = value or number
    local chain = {}
    for h = 0, p.hops do
      local name = variable(r, seen)
      chain[h + 1] = { name = name, chain = c, write = assignment(name, previous and "VAR " .. previous or number) }
      previous = name
    end
    chains[c] = chain
  end
  local all, needles, none = interleave(chains, r), {}, {}
  for i, step in ipairs(all) do needles[i], none[i] = step.write, 0 end
  local sentence = hay.sentences(p.haystack, r)
  local n = hay.most(function(count) return measure((hay.assemble(sentence, count, needles, none))) <= p.length end,
    #needles .. " assignments")
  local passage, mentions = hay.assemble(sentence, n, needles, hay.places(r, #needles, n))
  local facts, answers, ids = {}, {}, {}
  for i, step in ipairs(all) do
    facts[i] = { id = "f" .. i, subject = "chain " .. step.chain, relation = "variable", type = "Thing",
      value = step.name,
      mentions = { mentions[i] } }
    if step.chain == 1 then answers[#answers + 1], ids[#ids + 1] = step.name, facts[i].id end
  end
  return { passage = passage, facts = facts, questions = { { q = ("Which variables hold the value %s?"):format(value),
    a = table.concat(answers, ", "), aliases = {}, answers = answers, fact_ids = ids, cue_ids = {}, direction = "reverse",
    answer_type = "Thing", question_type = "part", hop = p.hops, depth = p.hops, answerable = true } } }
end

return M
