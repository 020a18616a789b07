-- SPDX-License-Identifier: Apache-2.0
-- Datasets: one Lua file per task in datasets/ (and in ./datasets of the user), found by scanning the folder; seeded
-- generation in which record i depends on the seed and i alone, so that a small set is a prefix of the big one.
local checker = require "kvbench.dataset.check"
local folder = require "kvbench.dataset.folder"
local encode = require("kvbench.json_encode").encode
local sha256 = require "kvbench.dataset.sha256"
local text = require "kvbench.text"

local M = {}

-- Key order of the serialised form; the hash depends on it.
M.key_order = {
  "id", "task", "domain", "subject", "passage", "facts", "questions", "q", "a", "aliases", "fact_ids", "cue_ids",
    "direction",
  "answer_type", "question_type", "hop", "depth", "answerable", "relation", "type", "value", "mentions", "sentence",
  "binding", "template",
}

-- Modules that every generator stands on; a task adds its own in `uses`.
local shared = { "kvbench.rng", "kvbench.dataset.text", "kvbench.dataset.template", "kvbench.dataset.names",
  "kvbench.dataset.record" }

--- One record as a line of JSON, without the newline.
function M.serialise(record) return encode(record, M.key_order) end

local loaded = {}

--- The task table of a name ("base") or of a path to a task file. Unknown names are an error that lists the known ones.
function M.task(name)
  local path = folder.find(name)
  if not path then
    local known = folder.tasks()
    local near = text.nearest(tostring(name), known)
    error(("no dataset '%s' -> %sknown: %s"):format(tostring(name), near and "did you mean '" .. near .. "'? " or "",
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

--- Checks a record by the rules of its task (or by `rules`). true, or nil and the reason.
function M.check(record, rules)
  if not rules then
    if type(record) ~= "table" or type(record.task) ~= "string" then return nil, "the record names no task" end
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

--- Makes a dataset.
--   task  name of a file in datasets/, or a path to one
--   opt   size = passages (default: the paper's; at most that), seed = any string (default "A")
-- Returns {task, seed, size, records, questions = count, hash, generator_hash}; hash is the SHA-256 of the records as
-- JSON lines. Every record passes the validator; one that does not would be a fault of the generator and is an error.
function M.load(name, opt)
  opt = opt or {}
  local task = M.task(name)
  local seed, size = tostring(opt.seed or "A"), opt.size or task.size
  if type(size) ~= "number" or size ~= math.floor(size) or size < 1 or size > task.size then
    error(("dataset '%s': size %s -> a whole number from 1 to %d"):format(task.name, tostring(size), task.size), 0)
  end
  if not seed:match("^[%w_.-]+$") then
    error(("dataset '%s': seed '%s' -> letters, digits, '_', '.' and '-' only"):format(task.name, seed), 0)
  end
  local records, hash, questions = {}, sha256.new(), 0
  for i = 1, size do
    local record = task.generate(seed, i)
    local ok, reason = checker.check(record, task.rules)
    if not ok then error(("dataset '%s', record %s: %s"):format(task.name, record.id, reason), 0) end
    records[i] = record
    questions = questions + #record.questions
    hash:update(M.serialise(record)):update("\n")
  end
  return { task = task.name, seed = seed, size = size, records = records, questions = questions, hash = hash:hex(),
    generator_hash = generator_hash(task) }
end

--- Writes a dataset as JSON lines to `path`, and counts, seed and hashes to `path`.manifest.json. Both are written
-- under a temporary name first, so that a full disk leaves nothing half-written.
function M.save(ds, path)
  local lines = {}
  for i, record in ipairs(ds.records) do lines[i] = M.serialise(record) .. "\n" end
  folder.write(path, lines)
  local manifest = { task = ds.task, seed = ds.seed, passages = #ds.records, questions = ds.questions, hash = ds.hash,
    generator_hash = ds.generator_hash }
  folder.write(path .. ".manifest.json", { encode(manifest, { "task", "seed", "passages", "questions", "hash" }),
    "\n" })
end

-- One line of a user's file as a record: what may be left out is filled in, what may not is an error.
local function imported(value, where)
  if type(value) ~= "table" or type(value.passage) ~= "string" or type(value.questions) ~= "table" then
    error(where .. ": not a record with a passage and questions -> see docs/dataset.md", 0)
  end
  value.id, value.task, value.facts = value.id or where, value.task or "imported", value.facts or {}
  for i, q in ipairs(value.questions) do
    if type(q) ~= "table" or type(q.q) ~= "string" or type(q.a) ~= "string" then
      error(("%s: question %d lacks q or a -> see docs/dataset.md"):format(where, i), 0)
    end
    q.aliases, q.fact_ids, q.cue_ids = q.aliases or {}, q.fact_ids or {}, q.cue_ids or {}
    if q.answerable == nil then q.answerable = not checker.abstains(q.a) end
  end
  return value
end

--- Reads JSON lines, such as M.save writes or a user brings (least: {"passage", "questions": [{"q", "a"}]} a line).
-- Records of a known task are checked by its rules; others are taken as they are. Returns a dataset as M.load does.
function M.read(path)
  local json = require "kvbench.json"
  local records, hash, questions, number = {}, sha256.new(), 0, 0
  for line in folder.read(path):gmatch("[^\n]+") do
    number = number + 1
    local where = ("%s:%d"):format(path, number)
    local record = imported(json.decode(line, where), where)
    if folder.find(record.task) then
      local ok, reason = M.check(record)
      if not ok then error(where .. ": " .. reason, 0) end
    end
    records[number] = record
    questions = questions + #record.questions
    hash:update(M.serialise(record)):update("\n")
  end
  if number == 0 then error("'" .. path .. "' holds no records", 0) end
  return { task = records[1].task, size = number, records = records, questions = questions, hash = hash:hex() }
end

return setmetatable(M, { __call = function(_, name, opt) return M.load(name, opt) end })
