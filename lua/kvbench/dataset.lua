-- SPDX-License-Identifier: Apache-2.0
-- Datasets: one Lua file per task in datasets/ (and in ./datasets of the user), found by scanning the folder; seeded
-- generation in which record i depends on the seed and i alone, so that a small set is a prefix of the big one.
local checker = require "kvbench.dataset.check"
local folder = require "kvbench.dataset.folder"
local given = require "kvbench.given"
local set = require "kvbench.dataset.set"
local sha256 = require "kvbench.dataset.sha256"
local text = require "kvbench.text"

local M = { key_order = set.key_order, serialise = set.serialise }

-- Modules that every generator stands on; a task adds its own in `uses`.
local shared = { "kvbench.rng", "kvbench.dataset.text", "kvbench.dataset.template", "kvbench.dataset.names",
  "kvbench.dataset.record", "kvbench.dataset.refer" }

local loaded = {}

--- The task table of a name ("base") or of a path to a task file. Unknown names are an error that lists the known ones.
function M.task(name)
  local path = folder.find(name)
  if not path and type(name) == "string" and name:find "[./]" and folder.is_file(name) then
    error(("'%s' is neither a file of records (.json, .jsonl, .jsonl.zst) nor a task (.lua) -> rename it, or see "
      .. "docs/dataset.md"):format(name), 0)
  end
  if not path then
    local known = folder.tasks()
    local near = text.nearest(tostring(name), known)
    error(("no dataset %s -> %sknown: %s"):format(type(name) == "string" and ("'%s'"):format(name)
      or given.show(name), near and "did you mean '" .. near .. "'? " or "",
      table.concat(known, ", ")), 0)
  end
  if loaded[path] then return loaded[path] end
  local chunk, fault = loadfile(path)
  if not chunk then error("dataset file does not load: " .. fault, 0) end
  local task = chunk()
  for _, field in ipairs { "name", "size", "rules", "generate" } do
    if type(task) ~= "table" or task[field] == nil then
      error(("dataset file '%s' returns no '%s' -> see docs/dataset.md"):format(path, field), 0)
    end
  end
  task.path = path
  loaded[path] = task
  return task
end

--- Names of the tasks that can be loaded, sorted.
function M.tasks() return folder.tasks() end

--- What Tab completes: tasks and suites.
function M.names()
  local names = folder.tasks()
  for _, name in ipairs(require("kvbench.dataset.suite").names()) do names[#names + 1] = name end
  return names
end

--- Checks a record by the rules of its task (or by `rules`). true, or nil, the reason and the field it is about.
function M.check(record, rules)
  if not rules then
    if type(record) ~= "table" or type(record.task) ~= "string" then return nil, "the record names no task" end
    if not folder.named(record.task) then
      return nil, ("task: there is no task '%s'"):format(record.task:gsub("%c", " "):sub(1, 80))
    end
    local ok, task = pcall(M.task, record.task)
    if not ok then return nil, task end
    rules = task.rules
  end
  return checker.check(record, rules)
end

-- SHA-256 of the sources that a task's records come from.
local function generator_hash(task)
  if task.generator_hash then return task.generator_hash end
  local h = sha256.new():update(folder.read(task.path))
  for _, list in ipairs { shared, task.uses or {} } do
    for _, module in ipairs(list) do
      local path = package.searchpath(module, package.path)
      if path then h:update(folder.read(path)) end
    end
  end
  task.generator_hash = h:hex()
  return task.generator_hash
end

-- The task, the seed as text and the size that the options of a dataset mean; anything else is an error.
local function wanted(name, opt)
  local task = M.task(name)
  given.options(("dataset '%s'"):format(task.name), opt, { size = true, seed = true })
  local seed, size = tostring(opt.seed or "A"), opt.size or task.size
  if type(size) ~= "number" or size ~= math.floor(size) or size < 1 or size > task.size then
    error(("dataset '%s': size %s -> a whole number from 1 to %d"):format(task.name, given.show(size), task.size), 0)
  end
  if not seed:match("^[%w_.-]+$") then
    error(("dataset '%s': seed %s -> letters, digits, '_', '.' and '-' only"):format(task.name,
      given.show(opt.seed)), 0)
  end
  return task, seed, size
end

-- Record i, validated: one that does not pass would be a fault of the generator and is an error.
local function make(task, seed, i)
  local record = task.generate(seed, i)
  local ok, reason = checker.check(record, task.rules)
  if not ok then error(("dataset '%s', record %s: %s"):format(task.name, record.id, reason), 0) end
  return record
end

--- Iterator over the records of a task, made one at a time and not kept: for record, i in kv.dataset.each("hops") do.
-- Arguments and errors as for M.load.
function M.each(name, opt)
  local task, seed, size = wanted(name, opt or {})
  local i = 0
  return function()
    if i == size then return nil end
    i = i + 1
    return make(task, seed, i), i
  end
end

--- Path of the file (JSON lines, zstd) that holds a task at full size, and its manifest; opt: seed. Made in the user's
-- cache on first use, its checksum looked at each time. See kvbench.dataset.store.
function M.file(name, opt)
  local task, seed = wanted(name, { seed = opt and opt.seed })
  return require("kvbench.dataset.store").file(task.name, seed, function(_, o) return M.each(name, o) end,
    generator_hash(task))
end

--- Makes a dataset.
--   task  name of a file in datasets/, or a path to one
--   opt   size = passages (default: the paper's; at most that), seed = any string (default "A")
-- Returns a dataset (kvbench.dataset.set): task, seed, size, records, questions, hash (SHA-256 of the records as JSON
-- lines), generator_hash; :records(), :len(), :filter(f), :sample(n, seed), :save(path). Every record passes the
-- validator; one that does not would be a fault of the generator and is an error.
function M.load(name, opt)
  local task, seed, size = wanted(name, opt or {})
  local records = {}
  for i = 1, size do records[i] = make(task, seed, i) end
  return set.new(records, { task = task.name, seed = seed, generator_hash = generator_hash(task) })
end

--- Writes a dataset: the same as ds:save(path).
function M.save(ds, path)
  if type(ds) ~= "table" or not ds.records then
    error(("dataset.save: expected a dataset, got %s -> kv.dataset.save(ds, path)"):format(given.show(ds)), 0)
  end
  return set.new(ds.records, ds):save(path)
end

--- Iterator over a file of any size, plain or zstd: for record, reject in kv.dataset.stream(path) do; record is false
-- for a line that was rejected. See kvbench.dataset.read.
function M.stream(path, opt) return require("kvbench.dataset.read").each(path, opt) end

--- Reads a file of records into memory. See kvbench.dataset.import.
function M.read(path, opt) return require("kvbench.dataset.import").file(path, opt) end

return setmetatable(M, {
  --- kv.dataset("base", {size =, seed =}), kv.dataset("ruler/vt", {length =}), kv.dataset("file.jsonl.zst"),
  -- kv.dataset{record, ...}, kv.dataset(iterator).
  __call = function(_, what, opt)
    if type(what) == "table" or type(what) == "function" then
      return require("kvbench.dataset.import").values(what, opt)
    end
    local suite = type(what) == "string" and what:match("^ruler/(.*)$")
    if suite then return require("kvbench.dataset.suite").load(suite, opt) end
    if type(what) == "string" and (what:find("%.jsonl?$") or what:find("%.zst$")) then return M.read(what, opt) end
    return M.load(what, opt)
  end,
})
