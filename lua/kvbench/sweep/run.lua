-- SPDX-License-Identifier: Apache-2.0
-- A run: the rows of a sweep, in a store as they come, and the curves drawn from them.
--
-- A folder holds run.sqlite (everything; docs/store.md), run.json (what was run) and, once the run is complete,
-- rows.csv and
-- rows.jsonl. Answers are stored as they finish, a transaction a second: whatever stops a run leaves whole answers
-- behind, and a work unit (a passage and a block of conditions) that is begun again only asks what is missing. A folder
-- whose manifest differs is never mixed with: the error names the difference. Without a folder rows stay in memory.
local library = require "kvbench.ffi"
local answers = require "kvbench.store.answers"
local curves = require "kvbench.sweep.curves"
local export = require "kvbench.sweep.export"
local folder = require "kvbench.sweep.folder"
local ledger = require "kvbench.store.ledger"
local locks = require "kvbench.sweep.lock"
local manifests = require "kvbench.sweep.manifest"
local progress_file = require "kvbench.sweep.progress_file"
local sessions = require "kvbench.store.sessions"
local work = require "kvbench.store.units"
local C = library.C

local M = {}
local Run = {}

--- How often what was added is made to last.
M.tick_seconds = 1

-- Rows are read from the store when first asked for; a run of millions is looked at through run.db instead.
function Run.__index(run, name)
  if name == "rows" and rawget(run, "out") then
    local list = run:reading(function(db) return export.rows(answers.new(db)) end)
    rawset(run, "rows", list)
    return list
  end
  return Run[name]
end

--- Opens the run of a sweep's settings: new, or the one in o.out to go on with; waits while another process has it.
--- how: "look" only reads what is done, without a lock.
function M.open(o, how)
  local run = setmetatable({ out = o.out, manifest = manifests.of(o), presses = {}, spent = 0, units = {}, ticked = 0 },
    Run)
  for i, press in ipairs(o.presses) do run.presses[i] = press:label() end
  run.blocks = manifests.blocks(run.manifest)
  if not o.out then
    rawset(run, "rows", {})
    return run
  end
  return folder.open(run, o, how)
end

--- The run stored in a folder, for reading; manifest: as its store has it.
function M.stored(out, manifest)
  local run = setmetatable({ out = out, manifest = manifest, presses = {}, spent = 0 }, Run)
  for i, press in ipairs(manifest.presses) do run.presses[i] = press.label end
  run.blocks = manifests.blocks(manifest)
  return run
end

--- Looks again which units are done, after a merge.
function Run:reload()
  self.answers = answers.new(self.db)
  self.units = work.load(self.db)
end

--- fn(db) on the run's store, open already or for this call.
function Run:reading(fn)
  if self.db then
    self:flush()
    return fn(self.db)
  end
  return folder.reading(self.out, fn)
end

--- Blocks of a record that are not done: a set of names, or nil when all are.
function Run:left(record)
  local done, left = self.units[record.id] or {}, nil
  for _, block in ipairs(self.blocks) do
    if not done[block] then
      left = left or {}
      left[block] = true
    end
  end
  return left
end

function Run:has(record) return self:left(record) == nil end

-- Time spent here is what a run pays for being kept: it is recorded with the session.
local function timed(name, fn)
  Run[name] = function(self, ...)
    if not self.db then return fn(self, ...) end
    local started = C.kvb_time()
    local result = fn(self, ...)
    self.spent = self.spent + C.kvb_time() - started
    return result
  end
end

--- Set of the keys that a record's rows have already, or nil.
timed("known", function(self, record)
  return self.db and self.answers:known(record.id)
end)

--- Adds rows that finished together. They are on disk after the next tick() a second later, or flush().
timed("add", function(self, rows)
  if not self.db then
    for _, row in ipairs(rows) do self.rows[#self.rows + 1] = row end
    return
  end
  self.db:begin()
  for _, row in ipairs(rows) do self.answers:add(row) end
end)

--- Stores where the tokens of a unit's context stand.
timed("add_context", function(self, unit)
  if not self.db then return end
  self.db:begin()
  ledger.add_context(self.db, self.answers:passage(unit.record.id), unit)
end)

--- Stores what a press left of a unit's context at its ratios (q: for a question, of presses that look at it).
timed("add_keeps", function(self, unit, label, keeps, q)
  if not self.db then return end
  self.db:begin()
  ledger.add_keeps(self.db, self.answers:passage(unit.record.id), unit, label, keeps, q)
end)

--- Stores the keep-sets of the variants among the conditions of question q.
timed("add_variants", function(self, unit, q, conditions)
  if not self.db then return end
  self.db:begin()
  ledger.add_variants(self.db, self.answers:passage(unit.record.id), unit, q, conditions)
end)

--- Marks a block of a record as done, with its number of answers.
timed("done", function(self, record, block, count)
  local units = self.units[record.id] or {}
  self.units[record.id] = units
  units[block] = true
  if not self.db then return end
  self.db:begin()
  work.done(self.db, self.answers:passage(record.id), block, count, self.session.id, self.manifest.revision)
end)

--- To be called between steps: once a second, makes what was added last and tells how far this process is (state: what
--- progress_file.write takes).
timed("tick", function(self, state)
  self.state = state
  if not self.db or C.kvb_time() - self.ticked < M.tick_seconds then return end
  self.ticked = C.kvb_time()
  self.db:commit()
  progress_file.write(self.out, state, "running")
end)

timed("flush", function(self)
  if self.db then self.db:commit() end
end)

--- Number of rows.
function Run:count()
  if not self.out then return #self.rows end
  return self:reading(function(db) return db:row "SELECT COUNT(*) FROM answers" end)
end

--- Gives the folder back; what was added is stored. outcome: "done", "interrupted" or "failed".
function Run:close(outcome)
  local ok, err = true, nil
  if self.db then
    ok, err = pcall(function()
      self.db:commit()
      sessions.finish(self.db, self, outcome or "interrupted")
      if outcome == "done" then self.db:settle() end
    end)
    self.db:close()
    self.db, self.answers = nil, nil
    progress_file.finish(self.out, self.state, outcome or "interrupted")
  end
  locks.release(self.lock)
  self.lock = nil
  if not ok then error(err, 0) end
end

--- Orders the rows by key (whatever order they ran in) and, with a folder whose units are all done, writes rows.csv and
--- rows.jsonl, unless they are there already.
function Run:finish()
  if not self.out then
    table.sort(self.rows, function(a, b) return a.key < b.key end)
  elseif self.db then
    self:flush()
    local ok, err = pcall(sessions.export, self)
    self:close(ok and "done" or "failed")
    if not ok then error(err, 0) end
  end
  return self
end

--- Calls fn(rows of a passage, its id) passage by passage, so that a large run is never in memory as a whole; wanted:
--- set of passage ids (default: all).
function Run:each(fn, wanted)
  if rawget(self, "out") and not rawget(self, "rows") then
    return self:reading(function(db) export.each(answers.new(db), fn, wanted) end)
  end
  local by, order = {}, {}
  for _, row in ipairs(self.rows) do
    local id = row.passage_id
    if not by[id] and (not wanted or wanted[id]) then by[id], order[#order + 1] = {}, id end
    if by[id] then table.insert(by[id], row) end
  end
  for _, id in ipairs(order) do fn(by[id], id) end
end

--- The keep-set that a press (its label) left of a passage at a ratio, from the ledger. opt: regime (default agnostic),
--- question (of regime aware_one).
function Run:keep(passage_id, press, ratio, opt)
  return self:reading(function(db) return ledger.keep(db, passage_id, press, ratio, opt) end)
end

--- The evidence index of a passage (metric.evidence), from the ledger. opt: as for keep.
function Run:index(passage_id, opt)
  return self:reading(function(db) return ledger.index(db, passage_id, opt) end)
end

Run.press_rows, Run.data, Run.curves = curves.press_rows, curves.data, curves.curves
Run.select, Run.load = curves.select, curves.load

return M
