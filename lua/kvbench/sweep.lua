-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep: model x dataset x presses x ratios x regimes, each passage prefilled once.
--
-- Eviction follows a dense prefill, so one prefill and one score a press serve every ratio and question of a passage;
-- all continuations run as rows of one continuous batch. Equal conditions (ratio 0 under any press; two presses that
-- keep the same set) run once and are written for each. Answers are stored as they finish: a run that is interrupted
-- goes on where it was, inside a passage too, when it is started again with the same arguments.
local library = require "kvbench.ffi"
local fleet = require "kvbench.fleet"
local presses = require "kvbench.press"
local progress = require "kvbench.progress"
local asked = require "kvbench.sweep.asked"
local pending = require "kvbench.sweep.pending"
local runs = require "kvbench.sweep.run"
local precision = require "kvbench.sweep.precision"
local rows_of = require "kvbench.sweep.rows"
local settings = require "kvbench.sweep.settings"
local signal = require "kvbench.signal"
local shards = require "kvbench.sweep.shards"
local units = require "kvbench.sweep.units"
local variants = require "kvbench.sweep.variants"
local C = library.C

local M = {}

-- How many sweeps this script has begun: workers of several GPUs find theirs by it.
local begun = 0

local function check_cancelled(run, done, total)
  if C.kvb_cancelled() == 0 then return end
  local text = ("%d of %d passages are done%s"):format(done, total,
    run.out and (" and stored in " .. run.out .. " -> run the same command to go on") or "")
  if signal.terminated() then io.stderr:write("kvbench: terminated: ", text, "\n") end
  error("interrupted: " .. text, 0)
end

-- Stores what is done of a record; when nothing of it is left, forgets it.
local function settle(state, record, run)
  local work = state.work[record]
  for block, count in pairs(work.counts) do
    if count.got == count.expected then
      run:done(record, block, count.expected)
      work.counts[block] = nil
    end
  end
  if next(work.counts) then return end
  state.work[record] = nil
  if state.watcher then state.watcher:done(record.id) end
  state.done_records, state.done_here = state.done_records + 1, state.done_here + 1
end

-- Takes finished continuations, makes rows and stores them.
local function collect(o, state, run)
  for result in function() return state.batch:next() end do
    local question, sets = asked.take(result)
    local record, rows = question.unit.record, {}
    for _, set in ipairs(sets) do
      for _, condition in ipairs(set.conditions) do
        rows[#rows + 1] = rows_of.make(o, question, condition, set)
        if state.watcher then state.watcher:see(rows[#rows]) end
        local count = state.work[record].counts[condition.press]
        count.got = count.got + 1
      end
    end
    if #rows > 0 then
      run:add(rows)
      state.done_rows = state.done_rows + #rows
      if not state.beginning then
        settle(state, record, run)
      elseif not state.beginning[record] then
        state.beginning[record], state.beginning[#state.beginning + 1] = true, record
      end
    end
  end
  run:tick(state)
end

-- Begins a group of records. What finishes meanwhile, where memory runs out, is settled when all that it is compared
-- with is queued.
local function begin(o, state, group, run)
  state.beginning = {}
  units.begin(o, state, group)
  local touched = state.beginning
  state.beginning = nil
  for _, record in ipairs(group) do touched[record] = false end
  for _, record in ipairs(group) do settle(state, record, run) end -- it may all be there
  for _, record in ipairs(touched) do
    if touched[record] then settle(state, record, run) end
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
local function on_devices(o, run, devices, sweep)
  local total = #o.dataset.records
  local bar = not o.quiet and progress.new { label = o.label, total = total, unit = "passages",
    done = total - #records_left(o, run) }
  local started = C.kvb_time()
  local before = run:count()
  local function left() return records_left(o, run) end
  local first = total - #left()
  local ok, err = pcall(shards.run, run, devices, sweep, left, function(done)
    if bar then bar:update(math.min(total, first + done)) end
  end)
  if bar and ok then bar:finish() end
  if not ok then
    local done = total - #left()
    run:close(C.kvb_cancelled() ~= 0 and "interrupted" or "failed")
    check_cancelled(run, done, total)
    error(err, 0)
  end
  run.seconds, run.continuations = C.kvb_time() - started, run:count() - before
  return run:finish()
end

-- The sweep of an opened run; shard: this process's share, if it is a worker.
local function work(o, run, shard, stops)
  local function open_folder(folder) return runs.open(setmetatable({ out = folder }, { __index = o })) end
  local busy = not shard and shards.merge(run) -- of workers that a user or a scheduler started
  local whole = run.out
  local left = records_left(o, run)
  local total = #o.dataset.records
  begun = begun + 1
  local devices = fleet.devices()
  local watcher = precision.new(o, devices or shard)
  if watcher then left = watcher:resume(run, left) end
  if #left == 0 then
    pending.found_complete()
    return precision.finish(watcher, run:finish())
  end
  if run.db and pending.gathering() then pending.incomplete(run, busy) end
  if devices then return on_devices(o, run, devices, begun) end
  if shard and (shard.sweep or begun) == begun then
    o.out = shards.folder(run.out or error("sweep: a worker needs a folder to work in -> out = ...", 0), shard)
    left = shards.share(left, shard, o.dataset.records)
    run = open_folder(o.out)
    left = records_left({ dataset = { records = left } }, run)
  elseif shard then -- a sweep of the script that is not this worker's
    run = open_folder(run.out)
  end
  local state = { needs = variants.needs(o, presses.needs(o.presses)), work = {}, done_rows = 0, run = run,
    total = total, done_records = total - #left, done_here = 0, watcher = watcher,
    share = #left, started = C.kvb_time() }
  state.batch = o.model:batch { stop_ids = units.stop_ids(o.model, stops), refill = o.refill }
  function state.relieve() return state.batch:relieve(function() collect(o, state, run) end) end
  local bar = not o.quiet
    and progress.new { label = o.label, total = total, unit = "passages", done = state.done_records }
  local next_record, waiting = 1, 0
  local started = C.kvb_time()
  local function enough() return watcher ~= nil and watcher.stopped ~= nil end
  local ok, err = pcall(function()
    repeat
      while next_record <= #left and state.batch:queued() == 0 do
        local group = {}
        for i = next_record, math.min(next_record + o.group - 1, #left) do group[#group + 1] = left[i] end
        next_record = next_record + #group
        begin(o, state, group, run)
      end
      waiting = state.batch:step()
      collect(o, state, run)
      if bar then bar:update(state.done_records) end
    until enough() or waiting == 0 and next_record > #left
  end)
  run.model_rows, run.model_padded_rows, run.model_steps = state.batch:rows()
  run.shared_tokens = state.shared_tokens or 0
  state.batch:close()
  if bar and ok then bar:finish() end
  if not ok then
    local closed, why = pcall(run.close, run, C.kvb_cancelled() ~= 0 and "interrupted" or "failed")
    if not closed and C.kvb_cancelled() ~= 0 then error(why, 0) end -- what was finished last is not stored
    check_cancelled(run, state.done_records, total)
    error(err, 0)
  end
  run.seconds, run.continuations = C.kvb_time() - started, state.done_rows
  precision.finish(watcher, run:finish())
  if not shard then return run end
  if shard.sweep then error(require("kvbench.args").finish(0, "this worker's share is done"), 0) end
  return pending.new(run, whole)
end

--- Runs (or goes on with) a sweep. Options:
---   model, dataset      loaded ones                 presses   names, specs or presses (ea, adakv, chunk)
---   ratios              "paper", "cliff" or a list  regimes   agnostic, aware, aware_other, aware_one
---   evictable           "passage" (default: prompt and examples are kept) or "context" (all competes, as in KVPress)
---   style, idk_example  the prompt's                max_new_tokens  default max(24, 2 x gold tokens + 8)
---   out                 folder of the run: run.sqlite as answers come, at the end rows.csv and rows.jsonl; without it
---     results stay in memory
---   question_tokens     appended tokens, cut or repeated to this number (benchmarks only)
---   trunk, dedupe       true: tokens that all questions begin with, and equal keep-sets, are computed once (same rows)
---   prefix_cache        true: what the contexts of a record begin with (aware_one) is computed once (same rows)
---   refill              true: an answer that ends makes room for the next at once (same rows)
---   variants            function(v) -> list of conditions to run beside (or instead of) each plain one: see
---     sweep/variants.lua
---   teacher             true: gold_logprob, gold_logprob_per_token and kl_full in every row (docs/observe.md)
---   observe             {"attention", "recall"}: what the answers look at, as columns (docs/observe.md)
---   metrics             list of {name =, columns = function(view) -> table}: columns of your own (docs/observe.md)
---   precision           e.g. .03: passages in a random order of the seed's until every watched curve point is known to
---     +- that (docs/statistics.md); watch = columns in [0, 1], default word_f1 and hallucination; run.stopped says why
---   group               passages prefilled at once  seed      of random presses      quiet   no progress
--- Returns a Run: run.rows and run:curves(...), see sweep/run.lua. After Ctrl-C what is done is kept; an error says so.
function M.run(opt)
  local o = settings.of(opt)
  local stops = units.stops(o) -- also finds a wrong style or regime before anything is written
  local shard = fleet.shard()
  local run = runs.open(o, shard and "look")
  signal.hold(true)
  local ok, result = pcall(work, o, run, shard, stops)
  if not ok then pcall(run.close, run, "failed") end -- where it is open still
  signal.hold(false) -- ends the process where SIGTERM came meanwhile
  if not ok then error(result, 0) end
  return result
end

return setmetatable(M, { __call = function(_, opt) return M.run(opt) end })
