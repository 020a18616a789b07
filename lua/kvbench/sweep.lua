-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep: model x dataset x presses x ratios x regimes, each passage prefilled once.
--
-- Eviction follows a dense prefill, so one prefill and one score a press serve every ratio and question of a passage;
-- all continuations run as rows of one continuous batch. Equal conditions (ratio 0 under any press; two presses that
-- keep the same set) run once and are written for each. Finished passages are on disk as they finish: a run that is
-- interrupted goes on where it was when it is started again with the same arguments.
local library = require "kvbench.ffi"
local evidence = require "kvbench.metric.evidence"
local presses = require "kvbench.press"
local progress = require "kvbench.progress"
local prompt = require "kvbench.prompt"
local ratios = require "kvbench.ratios"
local runs = require "kvbench.sweep.run"
local rows_of = require "kvbench.sweep.rows"
local text = require "kvbench.text"
local C = library.C

local M = {}

local defaults = {
  presses = { "ea", "adakv", "chunk" }, ratios = "paper", regimes = { "agnostic" }, evictable = "passage",
  style = "fewshot",
  idk_example = true, seed = 1, group = 4, label = "sweep",
}
local known = { "model", "dataset", "presses", "ratios", "regimes", "evictable", "style", "idk_example", "seed", "out",
  "group", "max_new_tokens", "ignore_stop", "score", "quiet", "label", "sinks", "question_tokens" }

local function settings(opt)
  local o = {}
  for name, value in pairs(defaults) do o[name] = value end
  for name, value in pairs(opt) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      error(("sweep: no option '%s' %s"):format(tostring(name), text.suggest(tostring(name), known)), 0)
    end
    o[name] = value
  end
  if type(o.model) ~= "table" then error("sweep: model is missing -> model = kv.model.load(...)", 0) end
  if type(o.dataset) ~= "table" or type(o.dataset.records) ~= "table" then
    error("sweep: dataset is missing -> dataset = kv.dataset(\"base\", {size = 20})", 0)
  end
  if not o.model.tokenizer then
    error(("sweep: model '%s' has no tokenizer, and datasets are texts"):format(o.model.name), 0)
  end
  if o.evictable ~= "passage" and o.evictable ~= "context" then
    error(("sweep: evictable is '%s' -> \"passage\" or \"context\""):format(tostring(o.evictable)), 0)
  end
  o.ratios = ratios.list(o.ratios)
  local list, seen = {}, {}
  for i, p in ipairs(o.presses) do
    list[i] = presses(p)
    if seen[list[i]:label()] then error(("sweep: press '%s' is listed twice"):format(list[i]:label()), 0) end
    seen[list[i]:label()] = true
  end
  o.presses, o.sinks = list, o.sinks or 4
  return o
end

-- Decoding ends at the model's stop tokens and, where the prompt style ends answers at a character, at every token that
-- contains it: the text is cut there anyway.
local function stop_ids(model, stops)
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

-- Strings that end an answer, the same for every record; renders each regime once.
local function stops_of(o)
  local record, stops = o.dataset.records[1], nil
  for _, regime in ipairs(o.regimes) do
    local options = { regime = regime, idk_example = o.idk_example, model = o.model, question = record.questions[1] }
    stops = prompt.render(o.style, record, options).stop
  end
  if not stops then error("sweep: regimes is empty -> regimes = {\"agnostic\"}", 0) end
  return stops
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
      list[#list + 1] = { regime = regime, record = record, questions = questions,
        prompt = prompt.render(o.style, record, options) }
    end
  end
  return list
end

local function new_tokens(o, question)
  if o.max_new_tokens then return o.max_new_tokens end
  return math.max(24, 2 * #o.model:ids(question.a) + 8)
end

-- What is appended for a question; with question_tokens (benchmarks) cut or repeated to that length.
local function question_ids(o, unit, question)
  local ids = o.model:ids(unit.prompt.suffix(question))
  local n, out = o.question_tokens, {}
  for i = 1, n or 0 do out[i] = ids[(i - 1) % #ids + 1] end
  return n and out or ids
end

-- All conditions of one prefilled context: {press label, ratio, keep} with ratio 0 once.
local function conditions_of(o, unit)
  local range = o.evictable == "passage" and unit.index.passage or { 0, unit.ctx.tokens }
  local list, wanted, full = {}, {}, false
  for _, ratio in ipairs(o.ratios) do
    if ratio == 0 then full = true else wanted[#wanted + 1] = ratio end
  end
  unit.ctx.seed = ("%s/%s"):format(o.seed, unit.record.id)
  if full then list[1] = { press = "full", ratio = 0 } end
  for _, press in ipairs(o.presses) do
    for _, keep in ipairs(#wanted > 0 and press:keeps(unit.ctx, wanted, { evictable = range }) or {}) do
      list[#list + 1] = { press = press:label(), ratio = keep.ratio, keep = keep, notes = keep.notes }
    end
  end
  return list
end

-- Queues every continuation of one prefilled context.
local function enqueue(o, state, unit)
  unit.index = evidence.index(unit.record, unit.ctx.spans, { base = unit.prompt.passage_span[1], sinks = o.sinks })
  local conditions = conditions_of(o, unit)
  unit.ctx:forget()
  for _, q in ipairs(unit.questions) do
    local question, twins = unit.record.questions[q], {}
    local ids = question_ids(o, unit, question)
    for _, condition in ipairs(conditions) do
      local hash = condition.keep and condition.keep:hash() or "full"
      local twin = twins[hash]
      if twin then
        twin[#twin + 1] = condition
      else
        twins[hash] = { condition }
        state.batch:add { ctx = unit.ctx, keep = condition.keep, ids = ids, max_new_tokens = new_tokens(o, question),
          ignore_stop = o.ignore_stop, tag = { unit = unit, question = q, conditions = twins[hash] } }
      end
      state.expected[unit.record] = (state.expected[unit.record] or 0) + 1
    end
  end
  unit.ctx:close() -- the continuations keep it
end

-- Prefills the contexts of a group of records, `group` at a time, since observations are larger than caches.
local function begin(o, state, records)
  local units = {}
  for _, record in ipairs(records) do
    for _, unit in ipairs(contexts_of(o, record)) do units[#units + 1] = unit end
  end
  for first = 1, #units, o.group do
    local texts = {}
    for i = first, math.min(first + o.group - 1, #units) do texts[#texts + 1] = units[i].prompt.context end
    for i, ctx in ipairs(o.model:prefill_many(texts, state.needs)) do
      local unit = units[first + i - 1]
      unit.ctx = ctx
      enqueue(o, state, unit)
    end
  end
end

local function check_cancelled(run, done, total)
  if C.kvb_cancelled() == 0 then return end
  error(("interrupted: %d of %d passages are done%s"):format(done, total,
    run.out and (" and stored in " .. run.out .. " -> run the same command to go on") or ""), 0)
end

-- Takes finished continuations, makes rows, and stores a record once all of its rows are there.
local function collect(o, state, run)
  for result in function() return state.batch:next() end do
    local unit = result.tag.unit
    for _, condition in ipairs(result.tag.conditions) do
      local rows = state.rows[unit.record] or {}
      state.rows[unit.record] = rows
      rows[#rows + 1] = rows_of.make(o, unit, result.tag.question, condition, result)
      state.done_rows = state.done_rows + 1
    end
    if #state.rows[unit.record] == state.expected[unit.record] then
      run:store(unit.record, state.rows[unit.record])
      state.rows[unit.record] = nil
      state.done_records = state.done_records + 1
    end
  end
end

local function records_left(o, run)
  local left = {}
  for _, record in ipairs(o.dataset.records) do
    if not run:has(record) then left[#left + 1] = record end
  end
  return left
end

--- Runs (or goes on with) a sweep. Options:
---   model, dataset      loaded ones                 presses   names, specs or presses (ea, adakv, chunk)
---   ratios              "paper", "cliff" or a list  regimes   agnostic, aware, aware_one
---   evictable           "passage" (default: prompt and examples are kept) or "context" (all competes, as in KVPress)
---   style, idk_example  the prompt's                max_new_tokens  default max(24, 2 x gold tokens + 8)
---   out                 folder for rows.jsonl, rows.csv and run.json; without it results stay in memory
---   question_tokens     appended tokens, cut or repeated to this number (benchmarks only)
---   group               passages prefilled at once  seed      of random presses      quiet   no progress
--- Returns a Run: run.rows and run:curves(...), see sweep/run.lua. After Ctrl-C what is done is kept; an error says so.
function M.run(opt)
  local o = settings(opt)
  local stops = stops_of(o) -- also finds a wrong style or regime before anything is written
  local run = runs.open(o)
  local left = records_left(o, run)
  local total = #o.dataset.records
  if #left == 0 then return run:finish() end
  local state = { needs = presses.needs(o.presses), rows = {}, expected = {}, done_rows = 0,
    done_records = total - #left }
  state.batch = o.model:batch { stop_ids = stop_ids(o.model, stops) }
  local bar = not o.quiet
    and progress.new { label = o.label, total = total, unit = "passages", done = state.done_records }
  local next_record, pending = 1, 0
  local started = C.kvb_time()
  local ok, err = pcall(function()
    repeat
      while next_record <= #left and state.batch:queued() == 0 do
        local group = {}
        for i = next_record, math.min(next_record + o.group - 1, #left) do group[#group + 1] = left[i] end
        next_record = next_record + #group
        begin(o, state, group)
      end
      pending = state.batch:step()
      collect(o, state, run)
      if bar then bar:update(state.done_records) end
    until pending == 0 and next_record > #left
  end)
  run.model_rows, run.model_padded_rows, run.model_steps = state.batch:rows()
  state.batch:close()
  if bar and ok then bar:finish() end
  if not ok then
    run:close()
    check_cancelled(run, state.done_records, total)
    error(err, 0)
  end
  run.seconds, run.continuations = C.kvb_time() - started, state.done_rows
  return run:finish()
end

return setmetatable(M, { __call = function(_, opt) return M.run(opt) end })
