-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep{precision = .03}: passages in a seeded random order until every watched curve point is that well known.
--
-- A watched point is a column at one (regime, press, ratio) over the answerable questions. Each has a confidence
-- sequence that holds at all sample sizes at once (stats/hedged.lua), at delta = .05 / points, so that looking after
-- every passage and stopping costs nothing of the promise: with probability .95 *all* watched points lie within
-- +-precision of what the whole suite would give. That is the suite's value; claims about what the generator makes need
-- the bootstrap over the passages that were run.
-- The value of a passage is the sum of its questions' over the largest number of questions a passage has, which is in
-- [0, 1] whatever the passage's size; the suite's number of questions turns means of it into means over questions.
-- The sample is the shortest prefix of the order that suffices. Which passages finished first, in what groups, or
-- before an interruption does not enter: the same seed gives the same sample and the same rows.
local csv = require "kvbench.csv"
local hedged = require "kvbench.stats.hedged"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local rng = require "kvbench.rng"
local rows_of = require "kvbench.sweep.rows"
local C, check = library.C, library.check

local M = {}
local Precision = {}
Precision.__index = Precision

local CONFIDENCE = .95
local GRID = 500 -- steps of a sequence: .002 is far below any useful precision

M.watch = { "word_f1", "hallucination" }

local BOUNDED = { f1 = true, word_f1 = true, contains = true, exact = true, hallucination = true, abstention = true,
  degenerate = true }

--- Checks the options precision and watch of a sweep; returns them with their defaults, or nil without precision.
function M.of(o)
  if o.precision == nil then
    if o.watch ~= nil then error("sweep: watch belongs to precision -> precision = .03", 0) end
    return nil
  end
  local p = o.precision
  if type(p) ~= "number" or not (p >= .005 and p < .5) then
    error(("sweep: precision is %s -> the half width every watched point should have, .005 to .5, e.g. .03"):format(
      tostring(p)), 0)
  end
  if o.score == false or o.variants then
    error(("sweep: precision watches scores of the plain conditions -> leave out %s"):format(
      o.variants and "variants" or "score = false"), 0)
  end
  local watch = o.watch or M.watch
  if type(watch) ~= "table" or #watch == 0 then error("sweep: watch is empty -> watch = {\"word_f1\"}", 0) end
  for _, name in ipairs(watch) do
    if not BOUNDED[name] then
      local names = {}
      for known in pairs(BOUNDED) do names[#names + 1] = known end
      table.sort(names)
      error(("sweep: cannot watch '%s': its range is not [0, 1] -> %s"):format(tostring(name),
        table.concat(names, ", ")), 0)
    end
  end
  return p, watch
end

local function answerable(record)
  local n = 0
  for _, question in ipairs(record.questions) do if question.answerable ~= false then n = n + 1 end end
  return n
end

-- Every watched point: {column, regime, press, ratio} with its sequence.
local function points_of(o, watch, N)
  local list = {}
  for _, regime in ipairs(o.regimes) do
    for _, column in ipairs(watch) do
      for _, ratio in ipairs(o.ratios) do
        for i, press in ipairs(o.presses) do
          if ratio > 0 or i == 1 then
            list[#list + 1] = { column = column, regime = regime, press = ratio == 0 and "full" or press:label(),
              ratio = ratio }
          end
        end
      end
    end
  end
  for _, point in ipairs(list) do
    point.sequence = hedged.new(N, { delta = (1 - CONFIDENCE) / #list, grid = GRID })
  end
  return list
end

local function key(regime, press, ratio) return ("%s|%s|%.6f"):format(regime, press, ratio) end

--- The watcher of a sweep with settings o, or nil when it does not ask for a precision. many: the sweep runs as several
--- processes, none of which sees the others' answers.
function M.new(o, many)
  if not o.precision then return nil end
  if many then
    error("sweep: precision looks after every passage, so one process samples them -> one device, no shards", 0)
  end
  local s = setmetatable({ precision = o.precision, order = {}, rank = {}, sums = {}, whole = {}, taken = 0, most = 0,
    questions = 0, out = o.out, quiet = o.quiet }, Precision)
  for i, record in ipairs(o.dataset.records) do
    s.order[i] = record
    local n = answerable(record)
    s.most, s.questions = math.max(s.most, n), s.questions + n
  end
  if s.questions == 0 then
    error("sweep: no question is answerable, so no watched column applies -> leave out precision", 0)
  end
  rng.new(("precision/%s/%s"):format(tostring(o.seed), tostring(o.dataset.hash))):shuffle(s.order)
  for i, record in ipairs(s.order) do s.rank[record.id] = i end
  s.points, s.at = points_of(o, o.watch, #s.order), {}
  for i, point in ipairs(s.points) do
    local k = key(point.regime, point.press, point.ratio)
    s.at[k] = s.at[k] or {}
    table.insert(s.at[k], i)
  end
  return s
end

--- Takes in what a run has already. left: records that are not whole; returns them in sampling order, none when the
--- sample suffices.
function Precision:resume(run, left)
  local open = {}
  for _, record in ipairs(left) do open[record.id] = true end
  run:each(function(rows)
    for _, row in ipairs(rows) do self:see(row) end
  end)
  for _, record in ipairs(self.order) do if not open[record.id] then self:done(record.id) end end
  return self.stopped and {} or self:sorted(left)
end

--- The records in sampling order.
function Precision:sorted(records)
  local out = { unpack(records) }
  table.sort(out, function(a, b) return self.rank[a.id] < self.rank[b.id] end)
  return out
end

--- A row that is there, in whatever order; rows of variants do not count.
function Precision:see(row)
  if (row.variant or "") ~= "" or not row.answerable or not self.rank[row.passage_id] then return end
  local sums = self.sums[row.passage_id] or {}
  self.sums[row.passage_id] = sums
  for _, i in ipairs(self.at[key(row.regime, row.press, row.ratio)] or {}) do
    local v = row[self.points[i].column]
    if v == true then v = 1 elseif v == false then v = 0 end
    sums[i] = (sums[i] or 0) + (v or 0)
  end
end

-- Half the width of a point in units of the column's mean over questions.
local function half(self, point)
  return (point.sequence.hi - point.sequence.lo) / 2 * self.most * #self.order / self.questions
end

local function widest(self)
  local top
  for _, point in ipairs(self.points) do if not top or half(self, point) > half(self, top) then top = point end end
  return top
end

--- All rows of a passage have been seen. Goes on along the order as far as passages are whole; sets self.stopped when
--- the sample suffices or there is no more.
function Precision:done(id)
  self.whole[id] = true
  while not self.stopped and self.taken < #self.order and self.whole[self.order[self.taken + 1].id] do
    self.taken = self.taken + 1
    local sums = self.sums[self.order[self.taken].id] or {}
    for i, point in ipairs(self.points) do point.sequence:add(math.min(1, (sums[i] or 0) / self.most)) end
    self.sums[self.order[self.taken].id] = nil
    local top = widest(self)
    if self.taken == #self.order then self.stopped = "all passages"
    elseif half(self, top) <= self.precision then self.stopped = "precision" end
  end
end

-- What is said of a point.
local function describe(self, point)
  local scale = self.most * #self.order / self.questions
  return { column = point.column, regime = point.regime, press = point.press, ratio = point.ratio,
    estimate = point.sequence.sum / point.sequence.n * scale, lo = point.sequence.lo * scale,
    hi = point.sequence.hi * scale }
end

--- The sample's report: {reason = "precision" | "all passages", n, of, precision, confidence, points = list of {column,
--- regime, press, ratio, estimate, lo, hi}, widest = one of them, text}.
function Precision:report()
  local r = { reason = self.stopped, n = self.taken, of = #self.order, precision = self.precision,
    confidence = CONFIDENCE, points = {} }
  for i, point in ipairs(self.points) do r.points[i] = describe(self, point) end
  local top = widest(self)
  r.widest = describe(self, top)
  local where = ("%s, %s at %g"):format(r.widest.column, r.widest.press, r.widest.ratio)
  local why = r.reason == "precision" and ("all %d watched points are known to +-%g"):format(#r.points, self.precision)
    or ("there are no more passages; the widest of %d watched points"):format(#r.points)
  r.text = ("stopped after %d of %d passages: %s (%s: +-%.3f), at %g %% confidence for all together"):format(r.n, r.of,
    why, where, half(self, top), 100 * CONFIDENCE)
  return r
end

local function columns_of(rows)
  local columns, seen, extra = {}, {}, {}
  for i, name in ipairs(rows_of.columns) do columns[i], seen[name] = name, true end
  for _, row in ipairs(rows) do
    for name in pairs(row) do if not seen[name] then seen[name], extra[#extra + 1] = true, name end end
  end
  table.sort(extra)
  for _, name in ipairs(extra) do columns[#columns + 1] = name end
  return columns
end

--- Cuts a finished run to the sample: run.rows, run.sample (ids in order) and run.stopped (the report, also printed).
--- With a folder sample.csv has the rows and precision.json the report; what was begun beyond the sample stays in the
--- store. Without a watcher the run is returned as it is.
function M.finish(watcher, run)
  if not watcher then return run end
  local inside, rows = {}, {}
  run.sample = {}
  for i = 1, watcher.taken do
    run.sample[i] = watcher.order[i].id
    inside[watcher.order[i].id] = true
  end
  run:each(function(list)
    for _, row in ipairs(list) do rows[#rows + 1] = row end
  end, inside)
  rawset(run, "rows", rows)
  run.stopped = watcher:report()
  if watcher.out then
    local text = json.encode(run.stopped) .. "\n"
    check(C.kvb_file_write(watcher.out .. "/precision.json", text, #text))
    csv.write(watcher.out .. "/sample.csv", columns_of(rows), rows)
  end
  if not watcher.quiet then print(run.stopped.text) end
  return run
end

return M
