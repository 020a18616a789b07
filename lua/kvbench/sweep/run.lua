-- SPDX-License-Identifier: Apache-2.0
-- A run: the rows of a sweep, on disk as they come, and the curves drawn from them.
--
-- run.json says what was run (model, dataset, presses, prompt, device, revision and their hashes); rows.jsonl grows by
-- one passage at a time, so whatever stops a run leaves whole passages behind. A folder whose run.json differs is never
-- mixed with: the error names the difference.
local library = require "kvbench.ffi"
local csv = require "kvbench.csv"
local json = require "kvbench.json"
local rows_of = require "kvbench.sweep.rows"
local stats = require "kvbench.stats"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = {}
local Run = {}
Run.__index = Run

-- Names and versions of the sweep's own metrics; nil without any, as runs were stored before there were metrics.
local function metric_list(o)
  local list = {}
  for i, own in ipairs(o.metrics or {}) do list[i] = own.name .. (own.version and " " .. own.version or "") end
  return #list > 0 and list or nil
end

local function press_list(o)
  local list = {}
  for i, press in ipairs(o.presses) do list[i] = { label = press:label(), source_hash = press.source_hash } end
  return list
end

-- Everything that must agree for rows of two invocations to belong together.
local function manifest_of(o)
  return {
    model = o.model.name, model_hash = o.model.hash, dtype = o.model.dtype, device = o.model.device:match "^%a+",
    tier = o.model.tier,
    dataset = o.dataset.task, dataset_seed = o.dataset.seed, dataset_hash = o.dataset.hash,
    generator_hash = o.dataset.generator_hash, passages = #o.dataset.records, presses = press_list(o),
    ratios = o.ratios, regimes = o.regimes, evictable = o.evictable, style = o.style, idk_example = o.idk_example,
    max_new_tokens = o.max_new_tokens, ignore_stop = o.ignore_stop, seed = o.seed, sinks = o.sinks,
    variants = o.variants and o.variants.id, teacher = o.teacher or nil, metrics = metric_list(o),
    buckets = o.model.buckets,
    version = ffi.string(C.kvb_version()), revision = ffi.string(C.kvb_git_revision()),
  }
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read "*a"
  file:close()
  return content
end

-- Recorded, but no reason to keep rows apart: rows do not depend on the buckets (proven at load), and every line of
-- rows.jsonl names the revision that made it, should a run go on after an update.
local informative = { revision = true, version = true, buckets = true }

-- The first field in which two manifests differ, or nil.
local function difference(a, b)
  local names = {}
  for name in pairs(a) do names[name] = true end
  for name in pairs(b) do names[name] = true end
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local function text(value) return json.encode(value == nil and json.null or value) end
    local x, y = text(a[name]), text(b[name])
    if x ~= y and not informative[name] then return name, x, y end
  end
end

-- Rows of whole passages: a last line that was cut off, and rows of a passage that is not complete, are dropped.
local function read_rows(path)
  local content, rows, done = read_file(path) or "", {}, {}
  for line in content:gmatch "([^\n]*)\n" do
    local ok, block = pcall(json.decode, line)
    if ok and type(block) == "table" and block.rows then
      done[block.passage_id] = true
      for _, row in ipairs(block.rows) do
        for name, value in pairs(row) do
          if value == json.null then row[name] = nil end
        end
        rows[#rows + 1] = row
      end
    end
  end
  return rows, done, content ~= "" and content:sub(-1) ~= "\n"
end

--- Opens the run of a sweep's settings: new, or the one in o.out to go on with.
function M.open(o)
  local run = setmetatable({ out = o.out, rows = {}, done = {}, manifest = manifest_of(o), presses = {} }, Run)
  for i, press in ipairs(o.presses) do run.presses[i] = press:label() end
  if not o.out then return run end
  check(C.kvb_dir_make(o.out))
  local path, rows_path = o.out .. "/run.json", o.out .. "/rows.jsonl"
  local existing = read_file(path)
  if existing then
    local name, was, is = difference(json.decode(existing, path), json.decode(json.encode(run.manifest), "this run"))
    if name then
      error(("'%s' holds another run: %s was %s, now %s -> choose another out = folder, or delete this one"):format(
        o.out, name, was:sub(1, 80), is:sub(1, 80)), 0)
    end
    local torn
    run.rows, run.done, torn = read_rows(rows_path)
    if torn then -- a line cut off by whatever stopped the last run: rewritten without it
      local whole = read_file(rows_path):match "^(.*\n)[^\n]*$" or ""
      check(C.kvb_file_write(rows_path, whole, #whole))
    end
  else
    local content = json.encode(run.manifest) .. "\n"
    check(C.kvb_file_write(path, content, #content))
    check(C.kvb_file_write(rows_path, "", 0))
  end
  local file, reason = io.open(rows_path, "ab")
  if not file then error(("cannot append to '%s': %s"):format(rows_path, reason), 0) end
  run.file = file
  return run
end

function Run:has(record) return self.done[record.id] == true end

--- Adds all rows of one passage; with an output folder they are on disk when this returns.
function Run:store(record, rows)
  table.sort(rows, function(a, b) return a.key < b.key end)
  for _, row in ipairs(rows) do self.rows[#self.rows + 1] = row end
  self.done[record.id] = true
  if not self.file then return end
  local block = { passage_id = record.id, revision = self.manifest.revision, rows = rows }
  local ok, reason = self.file:write(json.encode(block), "\n")
  if ok then ok, reason = self.file:flush() end
  if not ok then
    error(("cannot write to '%s/rows.jsonl': %s -> free some space and run the same command to go on"):format(self.out,
      tostring(reason)), 0)
  end
end

function Run:close()
  if self.file then self.file:close() end
  self.file = nil
end

local function all_columns(rows)
  local columns, seen, extra = {}, {}, {}
  for _, name in ipairs(rows_of.columns) do
    columns[#columns + 1] = name
    seen[name] = true
  end
  for _, row in ipairs(rows) do
    for name in pairs(row) do
      if not seen[name] then
        seen[name] = true
        extra[#extra + 1] = name
      end
    end
  end
  table.sort(extra)
  for _, name in ipairs(extra) do columns[#columns + 1] = name end
  return columns
end

--- Orders the rows by key (whatever order they ran in) and writes rows.csv.
function Run:finish()
  self:close()
  table.sort(self.rows, function(a, b) return a.key < b.key end)
  if self.out then csv.write(self.out .. "/rows.csv", all_columns(self.rows), self.rows) end
  return self
end

--- Rows of one press with the shared full-cache rows at ratio 0: the plain ones, or those of one variant.
function Run:press_rows(label, variant)
  local list = {}
  for _, row in ipairs(self.rows) do
    if (row.press == label or row.press == "full") and (row.variant or "") == (variant or "") then
      list[#list + 1] = row
    end
  end
  return list
end

--- Series for plot.lines, one a press: mean of column y (or of y(row)) over the ratio, with a passage-bootstrap band.
--- opt: presses (default all), variant (default "": the plain rows), filter(row), band "sup-t"|"pointwise",
--- replicates, seed, name = {label -> shown name}.
function Run:curves(y, opt)
  opt = opt or {}
  local series = {}
  for _, label in ipairs(opt.presses or self.presses) do
    local rows = {}
    for _, row in ipairs(self:press_rows(label, opt.variant)) do
      if not opt.filter or opt.filter(row) then rows[#rows + 1] = row end
    end
    local points = stats.curve(rows, { x = "ratio", y = y, cluster = "passage_id", band = opt.band or "sup-t",
      replicates = opt.replicates or 2000, seed = opt.seed or 1 })
    local s = { label = opt.name and opt.name[label] or label, x = {}, y = {}, lo = {}, hi = {} }
    for i, p in ipairs(points) do
      s.x[i], s.y[i] = p.x, p.mean
      s.lo[i], s.hi[i] = p.lo or p.mean, p.hi or p.mean
    end
    series[#series + 1] = s
  end
  return series
end

return M
