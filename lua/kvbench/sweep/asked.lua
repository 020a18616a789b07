-- SPDX-License-Identifier: Apache-2.0
-- What a sweep asks about one question: per keep-set an answer and, where wanted, its teacher-forced score, and once
-- per
-- question the full cache's distributions. A row can be made when all parts of its condition are there; logits are
-- dropped as soon as they are scored.
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
    question = question, new_tokens = o.max_new_tokens or math.max(24, 2 * #o.model:ids(question.a) + 8) }, Asked)
  if o.teacher then
    self.gold = teacher.gold_ids(o.model, unit.prompt.suffix(question), question.a)
    -- answer and score begin with the same question: it is run once for both
    if o.trunk then self.trunk = #ids - 1 end
  end
  return self
end

-- Queues a request under a condition; `set` is what the result belongs to, nil for the question's own.
function Asked:send(part, set, condition)
  local request = part == "answer" and { ids = self.ids, max_new_tokens = self.new_tokens }
    or teacher.request(self.ids, self.gold)
  request.ctx, request.keep, request.ignore_stop = self.unit.ctx, condition.keep, self.o.ignore_stop
  request.temperature, request.patch = condition.temperature, condition.patch
  request.trunk = math.min(self.trunk, prefix(self.ids, request.ids), #request.ids - 1)
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

--- Queues what a condition needs; conditions that keep the same set share it.
function Asked:add(condition)
  local id = identity(self.o, condition)
  local set = self.sets[id]
  if set then
    set.conditions[#set.conditions + 1] = condition
    return
  end
  set = { conditions = { condition }, full = id == "full" }
  self.sets[id] = set
  -- a press that evicts while it decodes has no score without decoding
  set.scored = self.o.teacher and not (condition.keep and condition.keep.decoding)
  if set.scored and not self.referred then
    self.referred = true
    self:send("reference", nil, {}) -- first, so that nothing waits for it
  end
  self:send("answer", set, condition)
  if set.scored and not set.full then self:send("score", set, condition) end
end

local function score(asked, set, logits)
  set.score = logits and teacher.score(logits, asked.gold) or asked.reference
  set.kl = teacher.kl(asked.reference, set.score)
  if not logits then return end
  logits:close()
  set.score.logits = nil
end

local function complete(asked, set)
  return set.result and (not set.scored or set.score)
end

--- Takes a finished result; returns the asked question and a list of the sets that are now complete: {conditions,
--- result, score, kl}.
function M.take(result)
  local asked, part, set = result.tag.asked, result.tag.part, result.tag.set
  local touched = {}
  if part == "reference" then
    asked.reference = teacher.score(result.logits, asked.gold)
    for _, waiting in ipairs(asked.early) do
      score(asked, waiting.set, waiting.logits)
      touched[#touched + 1] = waiting.set
    end
    asked.early = {}
  elseif part == "score" and asked.reference then
    score(asked, set, result.logits)
    touched[1] = set
  elseif part == "score" then
    asked.early[#asked.early + 1] = { set = set, logits = result.logits }
  else
    set.result = result
    if set.scored and set.full then -- the full cache is its own reference
      if asked.reference then score(asked, set) else asked.early[#asked.early + 1] = { set = set } end
    end
    touched[1] = set
  end
  local ready = {}
  for _, each in ipairs(touched) do
    if complete(asked, each) then ready[#ready + 1] = each end
  end
  return asked, ready
end

return M
