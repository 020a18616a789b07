-- SPDX-License-Identifier: Apache-2.0
-- What an intervention on a question acts on: its answer's tokens V, its binding tokens B, a decoy (the value of
-- another fact of the same type), and control windows of V's lengths elsewhere in the passage. Draws depend on the
-- question alone, so they are the same for every press, ratio and script.
local evidence = require "kvbench.metric.evidence"
local rng = require "kvbench.rng"

local M = {}

local function range(mention)
  local list = {}
  for t = mention[1], mention[2] - 1 do list[#list + 1] = t end
  return list
end

local function disjoint(tokens, taken)
  for _, t in ipairs(tokens) do if taken[t] then return false end end
  return true
end

-- Values of other facts that are not the answer's: same type first.
local function decoy_of(index, question, taken, r)
  local own, types, same, other = {}, {}, {}, {}
  for _, id in ipairs(question.fact_ids) do own[id] = true end
  for _, fact in ipairs(index.record.facts) do if own[fact.id] then types[fact.type or ""] = true end end
  for _, fact in ipairs(index.record.facts) do
    local mention = index.facts[fact.id][1]
    if not own[fact.id] and mention and mention.value and fact.value ~= question.a then
      local tokens = range(mention.value)
      if disjoint(tokens, taken) then
        local list = types[fact.type or ""] and same or other
        list[#list + 1] = { tokens = tokens, value = fact.value, same_type = list == same }
      end
    end
  end
  local list = #same > 0 and same or other
  return #list > 0 and r:choice(list) or nil
end

--- {answer, mentions, binding, decoy = {tokens, value, same_type}|nil, windows = {token sets}, r = a random source} of
--- a variant's v, or nil for questions without answer tokens. Windows have V's lengths and touch neither V, B nor
--- sinks.
function M.of(v)
  local e = evidence.of(v.index, v.question)
  if not e.answer then return nil end
  local r = rng.new("causal"):fork(tostring(v.record.id) .. "/" .. v.question.q)
  local taken = {}
  for t = 0, v.index.sinks - 1 do taken[t] = true end
  for _, list in ipairs { e.answer, e.binding } do for _, t in ipairs(list) do taken[t] = true end end
  local placebo = evidence.placebo(v.index, v.question)
  return { answer = e.answer, mentions = e.mentions, binding = e.binding, windows = placebo and placebo.windows or {},
    decoy = decoy_of(v.index, v.question, taken, r), r = r, taken = taken }
end

--- Two token lists as one.
function M.join(a, b)
  local out = { unpack(a) }
  for _, t in ipairs(b) do out[#out + 1] = t end
  return out
end

--- The passage's windows of `length` tokens that touch nothing of t.taken: array of {from, to}.
function M.windows(v, t, length)
  local list = {}
  for from = math.max(v.index.passage[1], v.index.sinks), v.index.passage[2] - length do
    local free = true
    for x = from, from + length - 1 do free = free and not t.taken[x] end
    if free then list[#list + 1] = { from, from + length } end
  end
  return list
end

return M
