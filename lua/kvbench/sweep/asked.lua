-- SPDX-License-Identifier: Apache-2.0
-- What a sweep asks about one question: per keep-set an answer and, where wanted, its teacher-forced score, and once
-- per question the full cache's distributions. A row can be made when all parts of its condition are there; logits are
-- dropped as soon as they are scored.
local observe = require "kvbench.sweep.observe"
local teacher = require "kvbench.teacher"

local M = {}
local Asked = {}
Asked.__index = Asked

local function prefix(a, b)
  local k = 0
  while k < #a and k < #b and a[k + 1] == b[k + 1] do k = k + 1 end
  return k
end

--- One question of a unit. ids: what is appended; trunk: how many of them all questions begin with.
function M.new(o, state, unit, q, ids, trunk)
  local question = unit.record.questions[q]
  local self = setmetatable({ o = o, state = state, unit = unit, q = q, ids = ids, trunk = trunk, sets = {}, early = {},
    question = question, compares = o.observed and o.observed.reference,
    new_tokens = o.max_new_tokens or math.max(24, 2 * #o.model:ids(question.a) + 8) }, Asked)
  if o.teacher then
    self.gold = teacher.gold_ids(o.model, unit.prompt.suffix(question), question.a)
    -- answer and score begin with the same question: it is run once for both
    if o.trunk then self.trunk = #ids - 1 end
  end
  return self
end

-- Queues a request under a condition; `set` is what the result belongs to, nil for the question's own.
function Asked:send(part, set, condition)
  local request = part ~= "answer" and self.gold and teacher.request(self.ids, self.gold)
    or { ids = self.ids, max_new_tokens = part == "answer" and self.new_tokens or 0 }
  if part == "answer" and self.o.observed then observe.request(self.o.observed, request, self.unit, self.question) end
  request.lost = condition.lost
  if part == "reference" then observe.reference(self.o.observed, request, #self.ids - 1) end
  request.ctx, request.keep, request.ignore_stop = self.unit.ctx, condition.keep, self.o.ignore_stop
  request.temperature, request.patch = condition.temperature, condition.patch
  -- A variant's keep-set is its question's own: nobody would continue a trunk of it, and trunks by the hundred leave no
  -- room for those who wait for theirs.
  local shared = self.gold or (condition.variant or "") == ""
  request.trunk = shared and math.min(self.trunk, prefix(self.ids, request.ids), #request.ids - 1) or 0
  request.tag = { asked = self, part = part, set = set }
  self.state.batch:add(request)
end

-- Equal conditions of a question run once; what differs in more than its keep-set is never equal to anything.
local function identity(o, condition)
  if condition.temperature or condition.patch or condition.keep and condition.keep.cache and condition.variant then
    return condition
  end
  return not condition.keep and "full" or o.dedupe and condition.keep:hash() or condition
end

-- The set of a condition, made if it is new.
local function set_of(asked, condition, list)
  local id = identity(asked.o, condition)
  local set = asked.sets[id]
  if set then
    set.conditions[#set.conditions + 1] = condition
    return
  end
  set = { conditions = { condition }, full = id == "full" }
  asked.sets[id], list[#list + 1] = set, set
  local decoding = condition.keep and condition.keep.decoding -- such a press has no score without decoding
  set.scored = asked.o.teacher and not decoding
  -- what a keep-set loses of the full cache's attention: of sets that leave keys and values as they are
  set.lost_of = asked.o.observed and asked.o.observed.recall and condition.keep and not condition.keep.cache
    and not decoding and condition.keep or nil
end

--- Queues what a list of conditions needs, once; those that keep the same set share it.
function Asked:ask(conditions)
  local list, keeps, scored = {}, {}, false
  for _, condition in ipairs(conditions) do set_of(self, condition, list) end
  for _, set in ipairs(list) do
    scored = scored or set.scored
    if set.lost_of then
      keeps[#keeps + 1] = set.lost_of
      set.lost_at = #keeps
    end
  end
  if scored or #keeps > 0 or #list > 0 and self.compares then -- first, so that nothing waits for it
    self:send("reference", nil, { lost = #keeps > 0 and { keeps = keeps, from = #self.ids - 1 } or nil })
  end
  for _, set in ipairs(list) do
    self:send("answer", set, set.conditions[1])
    if set.scored and not set.full then self:send("score", set, set.conditions[1]) end
  end
end

local function score(asked, set, logits)
  set.score = logits and teacher.score(logits, asked.gold) or asked.reference
  set.kl = teacher.kl(asked.reference, set.score)
  if not logits then return end
  logits:close()
  set.score.logits = nil
end

local function complete(asked, set)
  return set.result and (not set.scored or set.score) and (not set.lost_at and not asked.compares or asked.lost)
end

-- The full cache's part of the question is back: what waited for it is looked at again.
local function refer(asked, result)
  if asked.gold then asked.reference = teacher.score(result.logits, asked.gold) end
  asked.lost = result.observed
  local touched = {}
  for _, waiting in ipairs(asked.early) do
    if waiting.set.scored and not waiting.set.score and (waiting.logits or waiting.set.full) then
      score(asked, waiting.set, waiting.logits)
    end
    touched[#touched + 1] = waiting.set
  end
  asked.early = {}
  return touched
end

--- What was observed of the full cache's last question row, for metrics that declare "reference"; else nil.
function M.reference(asked) return asked.compares and asked.lost or nil end

--- What the set's keep-set loses of the full cache's attention, [layers, heads] each: {recall, error}, or nil.
function M.lost(asked, set)
  if not set.lost_at then return nil end
  return { recall = asked.lost.recall[1][set.lost_at], error = asked.lost.error[1][set.lost_at] }
end

--- Takes a finished result; returns the asked question and a list of the sets that are now complete: {conditions,
--- result, score, kl}.
function M.take(result)
  local asked, part, set = result.tag.asked, result.tag.part, result.tag.set
  local touched = { set }
  if part == "reference" then
    touched = refer(asked, result)
    asked.referred = true
  elseif part == "score" and asked.referred then
    score(asked, set, result.logits)
  elseif part == "score" then
    asked.early[#asked.early + 1] = { set = set, logits = result.logits }
  else
    set.result = result
    -- the full cache is its own reference
    local needs_reference = set.scored and set.full or set.lost_at or asked.compares
    if needs_reference and not asked.referred then
      asked.early[#asked.early + 1] = { set = set }
    elseif set.scored and set.full then
      score(asked, set)
    end
  end
  local ready = {}
  for _, each in ipairs(touched) do
    if not each.taken and complete(asked, each) then
      each.taken, ready[#ready + 1] = true, each
    end
  end
  return asked, ready
end

return M
