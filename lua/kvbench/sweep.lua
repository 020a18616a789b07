-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep: model x dataset x presses x ratios x regimes, each passage prefilled once.
--
-- Eviction follows a dense prefill, so one prefill and one score a press serve every ratio and question of a passage;
-- all continuations run as rows of one continuous batch. Equal conditions (ratio 0 under any press; two presses that
-- keep the same set) run once and are written for each. Finished passages are on disk as they finish: a run that is
-- interrupted goes on where it was when it is started again with the same arguments.
local library = require "kvbench.ffi"
local evidence = require "kvbench.metric.evidence"
local fleet = require "kvbench.fleet"
local presses = require "kvbench.press"
local progress = require "kvbench.progress"
local prompt = require "kvbench.prompt"
local runs = require "kvbench.sweep.run"
local rows_of = require "kvbench.sweep.rows"
local settings = require "kvbench.sweep.settings"
local shards = require "kvbench.sweep.shards"
local C = library.C

local M = {}

-- How many sweeps this script has begun: workers of several GPUs find theirs by it.
local begun = 0

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

-- Queues every continuation of one prefilled context.
local function enqueue(o, state, unit)
  unit.index = evidence.index(unit.record, unit.ctx.spans, { base = unit.prompt.passage_span[1], sinks = o.sinks })
  local conditions = conditions_of(o, unit)
  unit.ctx:forget()
  local asked = {}
  for i, q in ipairs(unit.questions) do asked[i] = question_ids(o, unit, unit.record.questions[q]) end
  local trunk = o.trunk and common_prefix(asked) or 0
  for i, q in ipairs(unit.questions) do
    local question, twins, ids = unit.record.questions[q], {}, asked[i]
    for _, condition in ipairs(conditions) do
      local hash = not condition.keep and "full" or o.dedupe and condition.keep:hash() or condition
      local twin = twins[hash]
      if twin then
        twin[#twin + 1] = condition
      else
        twins[hash] = { condition }
        state.batch:add { ctx = unit.ctx, keep = condition.keep, ids = ids, trunk = trunk, max_new_tokens = new_tokens(o, question),
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

-- The sweep on several GPUs: this process only starts workers and takes in what they finish.
local function on_devices(o, run, devices, sweep, open_folder)
  local total = #o.dataset.records
  local bar = not o.quiet and progress.new { label = o.label, total = total, unit = "passages",
    done = total - #records_left(o, run) }
  local started = C.kvb_time()
  local before = #run.rows
  local function left() return records_left(o, run) end
  local first = total - #left()
  local ok, err = pcall(shards.run, run, devices, sweep, left, open_folder, function(done)
    if bar then bar:update(math.min(total, first + done)) end
  end)
  if bar and ok then bar:finish() end
  if not ok then
    run:close()
    check_cancelled(run, total - #left(), total)
    error(err, 0)
  end
  run.seconds, run.continuations = C.kvb_time() - started, #run.rows - before
  return run:finish()
end

--- Runs (or goes on with) a sweep. Options:
---   model, dataset      loaded ones                 presses   names, specs or presses (ea, adakv, chunk)
---   ratios              "paper", "cliff" or a list  regimes   agnostic, aware, aware_one
---   evictable           "passage" (default: prompt and examples are kept) or "context" (all competes, as in KVPress)
---   style, idk_example  the prompt's                max_new_tokens  default max(24, 2 x gold tokens + 8)
---   out                 folder for rows.jsonl, rows.csv and run.json; without it results stay in memory
---   question_tokens     appended tokens, cut or repeated to this number (benchmarks only)
---   trunk, dedupe       true: tokens that all questions begin with, and equal keep-sets, are computed once (same rows)
---   group               passages prefilled at once  seed      of random presses      quiet   no progress
--- Returns a Run: run.rows and run:curves(...), see sweep/run.lua. After Ctrl-C what is done is kept; an error says so.
function M.run(opt)
  local o = settings.of(opt)
  local stops = stops_of(o) -- also finds a wrong style or regime before anything is written
  local run, shard = runs.open(o), fleet.shard()
  local function open_folder(folder) return runs.open(setmetatable({ out = folder }, { __index = o })) end
  if not shard then shards.merge(run, open_folder) end -- of workers that a user or a scheduler started
  local left = records_left(o, run)
  local total = #o.dataset.records
  begun = begun + 1
  if #left == 0 then return run:finish() end
  local devices = fleet.devices()
  if devices then return on_devices(o, run, devices, begun, open_folder) end
  if shard and (shard.sweep or begun) == begun then
    o.out = shards.folder(run.out or error("sweep: a worker needs a folder to work in -> out = ...", 0), shard)
    left = shards.share(left, shard)
    run:close()
    run = open_folder(o.out)
    left = records_left({ dataset = { records = left } }, run)
  end
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
  run:finish()
  if shard then error(require("kvbench.args").finish(0, "this worker's share is done"), 0) end
  return run
end

return setmetatable(M, { __call = function(_, opt) return M.run(opt) end })
