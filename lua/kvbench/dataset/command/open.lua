-- SPDX-License-Identifier: Apache-2.0
-- What a command's first word names: a task, or a file of records. Records come one by one in both cases.
local dataset = require "kvbench.dataset"
local folder = require "kvbench.dataset.folder"
local text = require "kvbench.text"
local words = require "kvbench.words"

local M = {}

--- "task", "suite" or "file"; neither is an error that names what is near.
function M.kind(name)
  if folder.find(name) then return "task" end
  if name:find("^ruler/") then return "suite" end
  local file = io.open(name)
  if file then
    file:close()
    return "file"
  end
  error(("no task or file '%s' %s"):format(name, text.suggest(name, dataset.names(), 16)), 0)
end

-- Parameters of a suite from the command line: opt.length, opt.set = {"hops=4", ...}.
function M.parameters(opt)
  local p = { seed = opt.seed, size = opt.size, length = opt.length and opt.length > 0 and opt.length or nil }
  for _, word in ipairs(opt.set or {}) do
    local key, value = word:match("^([%w_]+)=(.+)$")
    if not key then words.misused("--set wants name=value, got '%s'", word) end
    p[key] = tonumber(value) or value
  end
  return p
end

--- Iterator of record, reject (see kvbench.dataset.read) over a task's records, made one by one, or a file's.
--   opt  seed, size (tasks; size also bounds a file), task, form; length, set (suites)
function M.each(name, opt)
  local kind = M.kind(name)
  if kind == "suite" then return dataset(name, M.parameters(opt)):records() end
  if kind == "file" then
    local next_record, n = dataset.stream(name, opt), 0
    return function()
      if opt.size and n >= opt.size then return nil end
      n = n + 1
      return next_record()
    end
  end
  local task = dataset.task(name)
  local size, i = math.min(opt.size or task.size, task.size), 0
  return function()
    i = i + 1
    if i > size then return nil end
    local record = task.generate(opt.seed or "A", i)
    local ok, reason, field = dataset.check(record, task.rules)
    if ok then return record, i end
    return false, { line = i, reason = reason, field = field, id = record.id }
  end
end

--- Record number n (from 1) of a task or file.
function M.record(name, n, opt)
  local kind = M.kind(name)
  if kind == "suite" then
    local p = M.parameters(opt)
    p.size = n
    return dataset(name, p).records[n]
  end
  if kind == "task" then
    local task = dataset.task(name)
    if n > task.size then error(("task '%s' has %d records, not %d"):format(task.name, task.size, n), 0) end
    return task.generate(opt.seed or "A", n)
  end
  local at = 0
  for record in dataset.stream(name, opt) do
    if record then at = at + 1 end
    if record and at == n then return record end
  end
  error(("'%s' has %d good records, not %d"):format(name, at, n), 0)
end

return M
