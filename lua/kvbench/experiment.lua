-- SPDX-License-Identifier: Apache-2.0
-- What experiment scripts share: parameters, model, data, one stored sweep for all that read the same rows, captions,
-- files, verdicts. A script says what is asked and what is drawn; how it is kept, named and reported is said here once.
--
--   local e = kv.experiment { name = "tasks", title = "What compression costs", paper = "figures 2-8, 27",
--     options = { tasks = { "base" } } }
--   local run, dataset = e:sweep { task = "base", regime = "agnostic" }
--   e:save(kv.plot.lines {...}, "f1")
--   e:verdict("cannot tell", "floor: ...")
--   e:finish()
--
-- Files go to out/<name>/ (--out): each figure as PNG, PDF, SVG and CSV, tables as CSV, and result.json, which is what
-- the report reads. Sweeps go to out/sweeps/ (--sweeps), one folder per settings, so the second script that wants the
-- same rows finds them there.
local library = require "kvbench.ffi"
local csv = require "kvbench.csv"
local json = require "kvbench.json"
local defaults = require "kvbench.experiment.defaults"
local gate = require "kvbench.experiment.gate"
local panels = require "kvbench.experiment.panels"
local records = require "kvbench.experiment.records"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = { series = panels.series, of_press = panels.of_press, panel = panels.lines, note = panels.note,
  at = panels.at, names = panels.names,
  shown = panels.shown, join = records.join, kept = records.kept, closed_book = records.closed_book }

local Experiment = setmetatable({}, { __index = M }) -- e.panel, e.join, e.bands, ...: the module's functions
Experiment.__index = Experiment

--- A script's frame. spec: name, title, paper (figures it stands for), options (defaults of its own, also of common
-- ones; false leaves one out), docs (one line each). The common options are model, seed,
-- passages, presses, ratios, evictable, style, idk_example, sweeps and out; e.opt holds all.
function M.new(spec)
  local options, explained = { out = "out/" .. spec.name }, {}
  for name, value in pairs(defaults.common) do options[name] = value end
  for name, value in pairs(spec.options or {}) do options[name] = value end
  for name, value in pairs(defaults.docs) do explained[name] = value end
  for name, value in pairs(spec.docs or {}) do explained[name] = value end
  for name, value in pairs(defaults.common) do
    if type(value) ~= "boolean" and options[name] == false then options[name] = nil end
  end
  local opt = require "kvbench.args"(options, explained)
  if opt.passages and (opt.passages < 0 or opt.passages % 1 ~= 0) then
    error(("--passages is %s, expected a whole number (0: the script's default)"):format(opt.passages), 0)
  end
  if type(opt.ratios) == "string" and not require("kvbench.ratios").grids[opt.ratios] then
    local list = {}
    for word in opt.ratios:gmatch "[^,]+" do list[#list + 1] = tonumber(word) or word end
    opt.ratios = list
  end
  check(C.kvb_dir_make(opt.out))
  return setmetatable({ name = spec.name, title = spec.title, paper = spec.paper, opt = opt, started = C.kvb_time(),
    figures = {}, tables = {}, verdicts = {}, notes = {}, runs = {}, stored = {} }, Experiment)
end

--- The model, loaded when first asked for.
function Experiment:model()
  self.loaded = self.loaded or require("kvbench.model").load(self.opt.model)
  return self.loaded
end

--- The presses asked for, named ones resolved; list: other names.
function Experiment:presses(list)
  local out = {}
  for i, name in ipairs(list or self.opt.presses) do
    out[i] = require "kvbench.press"(type(name) == "string" and defaults.presses[name] or name)
  end
  return out
end

--- The first passages of a task: n, or --passages, or the task's default size, at most what there is.
function Experiment:dataset(task, n)
  local size = n or self.opt.passages > 0 and self.opt.passages or defaults.sizes[task] or 16
  return require "kvbench.dataset"(task, { size = size, seed = self.opt.seed })
end

local function short_hash(value)
  local text = require("kvbench.json_encode").encode(value)
  local h = C.kvb_hash64(text, #text, 0)
  return ("%08x"):format(tonumber(h / 4294967296ULL))
end

local function word(text) return (tostring(text):gsub("^.*/", ""):gsub("[^%w_.-]", "_")) end

--- A sweep over a task in one regime, or what is stored of it. o: task or dataset, regime ("agnostic"), presses,
-- ratios, passages, columns (what the script reads of run.rows, for less memory: run:load), and further options of
-- kv.sweep. Returns run, dataset.
function Experiment:sweep(o)
  local opt, model = self.opt, self:model()
  local ds = o.dataset or self:dataset(o.task, o.passages)
  local settings = { model = model, dataset = ds, presses = self:presses(o.presses), ratios = o.ratios or opt.ratios,
    regimes = { o.regime or "agnostic" }, evictable = o.evictable or opt.evictable, style = o.style or opt.style,
    idk_example = opt.idk_example, seed = opt.seed }
  local own = { task = true, dataset = true, regime = true, presses = true, ratios = true, passages = true,
    evictable = true, style = true, name = true, columns = true }
  for name, value in pairs(o) do if not own[name] then settings[name] = value end end
  local known = { settings.evictable, settings.style, tostring(opt.idk_example), model.dtype, model.device:match "^%a+",
    ds.hash, ds.generator_hash or "", o.name or "", settings.teacher and "teacher" or "" }
  for _, ratio in ipairs(require("kvbench.ratios").list(settings.ratios)) do known[#known + 1] = ratio end
  for _, press in ipairs(settings.presses) do known[#known + 1] = press:label() .. press.source_hash end
  for _, metric in ipairs(o.metrics or {}) do
    known[#known + 1] = type(metric) == "string" and metric or metric.name .. (metric.version or "")
  end
  settings.out = settings.out or ("%s/%s-%s-%s-%d-%s-%s"):format(opt.sweeps, word(model.name), word(ds.task),
    word(opt.seed), #ds.records, settings.regimes[1], short_hash(known))
  local before = self.stored[settings.out]
  if before then return before.run, before.dataset end
  settings.label = settings.label or ("%s, %s"):format(ds.task, settings.regimes[1])
  local run = require "kvbench.sweep"(settings)
  if o.columns then
    local columns = { unpack(gate.columns) }
    for _, name in ipairs(o.columns) do columns[#columns + 1] = name end
    run:load(columns)
  end
  self.stored[settings.out] = { run = run, dataset = ds }
  self.runs[#self.runs + 1] = { folder = settings.out, run = run }
  return run, ds
end

--- May a claim be tested on this task? (experiment/gate.lua) Asks the closed book once, in the run's own regime: a list
-- of questions that stands before the passage is no passage, and may give answers away. Returns {[press label] = {ok =,
-- why =}}, range: print it beside every curve that is judged.
function Experiment:gate(run, dataset)
  local regime = run.manifest.regimes[1]
  local closed = self:sweep { dataset = records.closed_book(dataset), regime = regime, ratios = { 0 },
    presses = { "knorm" }, label = ("%s, closed book, %s"):format(dataset.task, regime) }
  local full = { press = "full", variant = "" }
  local range, why = gate.range(run:select(gate.columns, full), closed:select(gate.columns, full))
  local out = {}
  for _, label in ipairs(run.presses) do
    out[label] = {}
    if range then out[label].ok, out[label].why = gate.judge(run:data(label, "correct", { answerable = true }), range)
    else out[label].ok, out[label].why = false, why end
  end
  return out, range
end

--- Text for captions: model, dtype, data, what was evictable, prompt. list: {task =, passages =, questions =} of each
-- part, or datasets.
function Experiment:setting(list, more)
  local parts, opt = {}, self.opt
  for _, ds in ipairs(list.records and { list } or list) do
    parts[#parts + 1] = ("%s (%d passages, %d questions)"):format(ds.task, #ds.records, ds.questions)
  end
  return ("%s (%s), seed %s, %s; %s evictable, %s prompt%s."):format(self:model().name, self:model().dtype, opt.seed,
    table.concat(parts, ", "), opt.evictable, opt.style, more and ", " .. more or "")
end

--- For captions of what only answers have (GER): how many questions of a dataset are left out, or "".
function M.unanswerable(dataset)
  local n = 0
  for _, record in ipairs(dataset.records) do
    for _, question in ipairs(record.questions) do n = n + (question.answerable == false and 1 or 0) end
  end
  return n == 0 and "" or (" %d unanswerable questions of %s have no such tokens and are left out."):format(n,
    dataset.task)
end

--- What the bands of series are, for captions.
M.bands = "Bands: 95 % sup-t over the passage bootstrap (2,000 replicates)."

--- Saves a figure under out/<experiment>/<name> and remembers it for the report. `caption` and `title` are the figure's
-- own; the report shows captions as text, so it gets a picture without (report/<name>.svg).
function Experiment:save(figure, name)
  local files, bare = figure:save(self.opt.out .. "/" .. name), ("%s/report/%s.svg"):format(self.opt.out, name)
  check(C.kvb_dir_make(bare:match "^(.*)/"))
  figure:draw({ caption = false }):save(bare)
  self.figures[#self.figures + 1] = { name = name, title = figure.o.title, caption = figure.o.caption, files = files,
    bare = bare }
  return files
end

local function shown(value)
  if type(value) == "number" then
    if value ~= value then return "cannot tell" end
    return value == math.floor(value) and ("%d"):format(value) or ("%.3g"):format(value)
  end
  return value == nil and "-" or tostring(value)
end

--- Prints a table and saves it as CSV. columns: names in order; rows: tables by name. A nil cell is "-".
function Experiment:table(name, columns, rows, caption)
  csv.write(self.opt.out .. "/" .. name .. ".csv", columns, rows)
  local cells = {}
  for r = 0, #rows do
    cells[r + 1] = {}
    for i, column in ipairs(columns) do cells[r + 1][i] = r == 0 and column or shown(rows[r][column]) end
  end
  self.tables[#self.tables + 1] = { name = name, caption = caption, columns = columns, cells = cells,
    file = self.opt.out .. "/" .. name .. ".csv" }
  print("\n" .. (caption or name))
  print(require("kvbench.text").columns(cells, "  "))
end

--- Something that could not be told, and why: for the report beside figures and tables.
function Experiment:cannot(what, why)
  self.notes[#self.notes + 1] = ("%s: cannot tell: %s"):format(what, why)
  print(self.notes[#self.notes])
end

local STATUS = { supported = true, ["not supported"] = true, ["cannot tell"] = true, exploratory = true }

--- One line of what the numbers say. status: supported, not supported, cannot tell or exploratory (nothing was claimed
-- beforehand). effect = {estimate or mean =, lo =, hi =, n =} is printed behind the text when given.
function Experiment:verdict(status, text, effect)
  if not STATUS[status] then
    error(("verdict '%s' -> supported, not supported, cannot tell or exploratory"):format(tostring(status)), 0)
  end
  local line = text
  local value = effect and (effect.estimate or effect.mean)
  if value and (value ~= value or math.abs(value) == math.huge) then
    status, line, value, effect = "cannot tell", text .. ": the effect is no number", nil, nil
  end
  if value then
    line = ("%s: %.3f"):format(line, value)
    if effect.lo then line = ("%s [%.3f, %.3f]"):format(line, effect.lo, effect.hi) end
    if effect.n then line = ("%s (n = %d%s)"):format(line, effect.n, effect.clusters
      and (", %d passages"):format(effect.clusters) or "") end
  end
  self.verdicts[#self.verdicts + 1] = { status = status, text = line, estimate = value, lo = effect and effect.lo,
    hi = effect and effect.hi }
  print(("verdict: %s: %s"):format(status, line))
end

--- Writes result.json and prints where everything is. Call it last.
function Experiment:finish()
  local model, opt = self:model(), self.opt
  local seconds = C.kvb_time() - self.started
  local runs = {}
  for i, stored in ipairs(self.runs) do
    local run, manifest = stored.run, stored.run.manifest
    runs[i] = { folder = stored.folder, rows = run:count(), seconds = run.seconds, dataset = manifest.dataset,
      dataset_hash = manifest.dataset_hash, passages = manifest.passages, regimes = manifest.regimes }
  end
  local result = { experiment = self.name, title = self.title, paper = self.paper, options = opt,
    figures = self.figures, tables = self.tables, verdicts = self.verdicts, notes = self.notes, sweeps = runs,
    seconds = seconds,
    provenance = { model = model.name, model_hash = model.hash, dtype = model.dtype, device = model.device,
      tier = model.tier, version = ffi.string(C.kvb_version()), revision = ffi.string(C.kvb_git_revision()) } }
  local text = json.encode(result) .. "\n"
  if not require("kvbench.fleet").shard() then check(C.kvb_file_write(opt.out .. "/result.json", text, #text)) end
  print(("\n%s: %.0f s, peak memory %.2f GiB; results in %s"):format(self.name, seconds,
    tonumber(C.kvb_process_peak_bytes()) / 2 ^ 30, opt.out))
  for _, each in ipairs(runs) do print(("  rows: %s (%d)"):format(each.folder, each.rows)) end
  for _, figure in ipairs(self.figures) do print("  " .. figure.files[1]) end
end

return setmetatable(M, { __call = function(_, spec) return M.new(spec) end })
