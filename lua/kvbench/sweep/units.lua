-- SPDX-License-Identifier: Apache-2.0
-- From a record to continuations: the contexts of a record (units), their conditions, and the requests of a batch.
--
-- A unit is one prefilled context and the questions asked of it: {regime, record, questions, prompt, ctx, index}. A
-- condition is {press, ratio, keep, notes}; ratio 0 is one condition whatever the press. A variant is a condition made
-- for one question from a plain one (variants.lua): {variant =, columns =, temperature =, patch =} beside that.
local evidence = require "kvbench.metric.evidence"
local prefilled = require "kvbench.sweep.prefilled"
local prompt = require "kvbench.prompt"
local questions = require "kvbench.sweep.asked"
local rows_of = require "kvbench.sweep.rows"
local variants = require "kvbench.sweep.variants"

local M = {}

--- Decoding ends at the model's stop tokens and, where the prompt style ends answers at a character, at every token
--- that
-- contains it: the text is cut there anyway.
function M.stop_ids(model, stops)
  local ids, known_ids = {}, {}
  for _, id in ipairs(model.stop_ids) do
    ids[#ids + 1] = id
    known_ids[id] = true
  end
  for _, stop in ipairs(stops) do
    for id = 0, #stop == 1 and model.tokenizer.size - 1 or -1 do
      if not known_ids[id] and model.tokenizer:decode({ id }):find(stop, 1, true) then ids[#ids + 1] = id end
    end
  end
  return ids
end

--- Strings that end an answer, the same for every record; renders each regime once.
function M.stops(o)
  local record, stops = o.dataset.records[1], nil
  for _, regime in ipairs(o.regimes) do
    local options = { regime = regime, idk_example = o.idk_example, model = o.model, question = record.questions[1],
      list = regime == "aware_other" and prompt.other_questions(o.dataset.records, 1) or nil }
    stops = prompt.render(o.style, record, options).stop
  end
  if not stops then error("sweep: regimes is empty -> regimes = {\"agnostic\"}", 0) end
  return stops
end

-- Where a record stands in the dataset, from 1.
local function number_of(o, record)
  if not o.numbers then
    o.numbers = {}
    for i, each in ipairs(o.dataset.records) do o.numbers[each] = i end
  end
  return o.numbers[record]
end

-- The contexts of one record: one a regime, or one a question where the question stands inside the context.
local function contexts_of(o, record)
  local list = {}
  for _, regime in ipairs(o.regimes) do
    local options = { regime = regime, idk_example = o.idk_example, model = o.model }
    if regime == "aware_one" then
      for i, question in ipairs(record.questions) do
        options.question = question
        list[#list + 1] = { regime = regime, record = record, questions = { i },
          prompt = prompt.render(o.style, record, options) }
      end
    else
      local questions = {}
      for i = 1, #record.questions do questions[i] = i end
      if regime == "aware_other" then
        options.list = prompt.other_questions(o.dataset.records, number_of(o, record))
      end
      list[#list + 1] = { regime = regime, record = record, questions = questions,
        prompt = prompt.render(o.style, record, options) }
    end
  end
  return list
end

-- What is appended for a question; with question_tokens (benchmarks) cut or repeated to that length.
local function question_ids(o, unit, question)
  local ids = o.model:ids(unit.prompt.suffix(question))
  local n, out = o.question_tokens, {}
  for i = 1, n or 0 do out[i] = ids[(i - 1) % #ids + 1] end
  return n and out or ids
end

-- Token spans of the values that answer a question, for presses that force them; complete: there are no others.
local function answer_spans(unit, question)
  local spans = { complete = true }
  for _, id in ipairs(question.fact_ids or {}) do
    for _, mention in ipairs(unit.index.facts[id] or {}) do
      if mention.value then spans[#spans + 1] = mention.value end
    end
  end
  return spans
end

-- The conditions of one prefilled context that are still to be run: {press label, ratio, keep} with ratio 0 once; of
-- the presses that decide for the context, or with a question's ids for the question q (oracle, answer_aware).
local function conditions_of(o, state, unit, q, ids)
  unit.range = o.evictable == "passage" and unit.index.passage or { 0, unit.ctx.tokens }
  local options = { evictable = unit.range, ranks = o.variants ~= nil }
  local list, wanted, full = {}, {}, false
  for _, ratio in ipairs(o.ratios) do
    if ratio == 0 then full = true else wanted[#wanted + 1] = ratio end
  end
  unit.ctx.seed = ("%s/%s"):format(o.seed, unit.record.id)
  local left = state.work[unit.record].left
  if full and left.full and not q then list[1] = { press = "full", ratio = 0 } end
  if q then
    unit.ctx.questions = { { ids = ids } }
    unit.ctx.spans_of_interest = answer_spans(unit, unit.record.questions[q])
  end
  for _, press in ipairs(o.presses) do
    local label, due = press:label(), #wanted > 0 and press.per_question == (q ~= nil)
    local compared = o.compared == label -- a metric looks at its sets, also where its rows are stored already
    local keeps = due and (left[label] or compared)
      and prefilled.with_room(state, press.keeps, press, unit.ctx, wanted, options) or {}
    for _, keep in ipairs(compared and keeps or {}) do
      unit.compared = unit.compared or {}
      unit.compared[keep.ratio] = keep
    end
    if not left[label] then keeps = {} end
    state.run:add_keeps(unit, label, keeps, q)
    for _, keep in ipairs(keeps) do
      list[#list + 1] = { press = label, ratio = keep.ratio, keep = keep, notes = keep.notes }
    end
  end
  return list
end

-- How many tokens all questions begin with; each keeps one of its own.
local function common_prefix(questions)
  local first, n = questions[1], #questions[1] - 1
  for i = 2, #questions do
    local k = 0
    while k < n and k < #questions[i] - 1 and questions[i][k + 1] == first[k + 1] do k = k + 1 end
    n = k
  end
  return #questions > 1 and n or 0
end

--- Counts a row that a block of a record will have, or has already.
function M.expect(work, block, known)
  local count = work.counts[block]
  count.expected = count.expected + 1
  if known then count.got = count.got + 1 end
end

-- Queues every continuation of one prefilled context that has no answer yet.
local function enqueue(o, state, unit)
  unit.index = evidence.index(unit.record, unit.ctx.spans, { base = unit.prompt.passage_span[1], sinks = o.sinks })
  state.run:add_context(unit)
  local conditions, work = conditions_of(o, state, unit), state.work[unit.record]
  local by_question = false
  for _, press in ipairs(o.presses) do by_question = by_question or press.per_question end
  local needed = o.variants or by_question -- observations, after the presses that decide for the whole context
  if not needed then unit.ctx:forget() end
  local asked = {}
  for i, q in ipairs(unit.questions) do asked[i] = question_ids(o, unit, unit.record.questions[q]) end
  local trunk = o.trunk and common_prefix(asked) or 0
  for i, q in ipairs(unit.questions) do
    local question = questions.new(o, state, unit, q, asked[i], trunk)
    local own = { unpack(conditions) }
    for _, condition in ipairs(by_question and conditions_of(o, state, unit, q, asked[i]) or {}) do
      own[#own + 1] = condition
    end
    if o.variants then
      own = variants.expand(o, unit, q, own)
      state.run:add_variants(unit, q, own)
    end
    local new = {}
    for _, condition in ipairs(own) do
      local known = work.known[rows_of.key(unit, q, condition)]
      M.expect(work, condition.press, known)
      if not known then new[#new + 1] = condition end -- else answered before this run was interrupted
    end
    for _, own_metric in ipairs(#new > 0 and o.metrics or {}) do
      if own_metric.before then
        own_metric.before { ctx = unit.ctx, unit = unit, index = unit.index, record = unit.record, q = q,
          question = unit.record.questions[q], ids = asked[i], conditions = new }
      end
    end
    question:ask(new)
    for _, condition in ipairs(own) do
      for _, owned in ipairs(condition.close or {}) do owned:close() end -- the continuation keeps it
    end
  end
  if needed then unit.ctx:forget() end
  unit.ctx:close() -- the continuations keep it
end

--- Prefills the contexts of a group of records, `group` at a time, since observations are larger than caches, and
--- queues
--- what is left of them. state.work[record] = {left = blocks to do, known = keys of rows there are, counts = {[block] =
--- {expected, got}}} until the record is done.
function M.begin(o, state, records)
  local units = {}
  for _, record in ipairs(records) do
    local work = { left = state.run:left(record), known = state.run:known(record) or {}, counts = {} }
    for block in pairs(work.left) do work.counts[block] = { expected = 0, got = 0 } end
    state.work[record] = work
    for _, unit in ipairs(contexts_of(o, record)) do units[#units + 1] = unit end
  end
  prefilled.each(o, state, units, function(unit) enqueue(o, state, unit) end)
end

return M
