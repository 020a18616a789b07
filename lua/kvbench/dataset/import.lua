-- SPDX-License-Identifier: Apache-2.0
-- Datasets from outside: a file in one of the known forms, a Lua table of records, an iterator. What comes in is
-- completed, checked and counted; nothing that fails the check enters unseen.
local read = require "kvbench.dataset.read"
local set = require "kvbench.dataset.set"
local text = require "kvbench.text"

local M = {}

local MOST = 512 * 1024 * 1024 -- bytes of passages and questions held in memory

local function weight(record)
  local n = #record.passage
  for _, q in ipairs(record.questions) do n = n + #q.q + #q.a end
  return n
end

--- A file's records as a dataset. One rejected record is an error that says how many there are and how to go on.
--   opt  size = the first so many records; skip = true: leave rejected records out (ds.rejects lists them);
--        task, form: see kvbench.dataset.read; most = bytes that may be held (512 MiB)
function M.file(path, opt)
  opt = opt or {}
  local records, rejects, rejected, bytes = {}, {}, 0, 0
  for record, reject in read.each(path, opt) do
    if record then
      records[#records + 1] = record
      bytes = bytes + weight(record)
      if bytes > (opt.most or MOST) then
        error(("'%s' holds more than %s of text -> size = N takes the first N records, kv.dataset.stream(path) reads "
          .. "them one by one"):format(path, text.bytes(opt.most or MOST)), 0)
      end
      if opt.size and #records >= opt.size then break end
    else
      rejected = rejected + 1
      if rejected <= 1000 then rejects[rejected] = reject end
      rejects.count = rejected
    end
  end
  if rejected > 0 and not opt.skip then
    local more = rejected > 1 and (" (and %d more)"):format(rejected - 1) or ""
    local rest = #records > 0 and ("; skip = true takes the %d good records"):format(#records) or ""
    error(("%s%s -> `kvbench dataset check` lists them all%s"):format(read.explain(path, rejects[1]), more, rest), 0)
  end
  if #records == 0 then error("'" .. path .. "' holds no records -> one JSON object a line", 0) end
  return set.new(records, { rejects = rejected > 0 and rejects or nil, from = path:match("[^/]+$") })
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local c = setmetatable({}, getmetatable(value))
  for k, v in pairs(value) do c[k] = copy(v) end
  return c
end

-- An iterator over what was given: a list of records, {records = list or iterator}, or an iterator function.
local function source(what)
  if type(what) == "table" and what.records ~= nil then what = what.records end
  if type(what) == "function" then return what end
  local i = 0
  return function()
    i = i + 1
    return what[i]
  end
end

--- A dataset of records made in Lua. They are copied, completed and checked as a file's are.
--   what  a list of records, an iterator that returns one at a time, or {records = either, task =, seed =}
function M.values(what, opt)
  opt = opt or {}
  local about = type(what) == "table" and what.records ~= nil and what or {}
  local records, seen = {}, {}
  for value in source(what) do
    local where = ("record %d"):format(#records + 1)
    if type(value) ~= "table" then error(("dataset, %s: is a %s, not a table"):format(where, type(value)), 0) end
    local record = copy(value)
    record.task = record.task or opt.task or about.task
    local ok, reason = read.admit(record, where, seen, opt)
    if not ok then error(("dataset, %s: %s"):format(where, reason), 0) end
    records[#records + 1] = record
    if opt.size and #records >= opt.size then break end
  end
  if #records == 0 then error("dataset: no records -> give a list of {passage =, questions = {{q =, a =}}}", 0) end
  return set.new(records, { task = opt.task or about.task, seed = opt.seed or about.seed, from = "Lua" })
end

return M
