-- SPDX-License-Identifier: Apache-2.0
-- Files of records, line by line: each line becomes records or one reject that says why. Memory is bounded by the
-- longest line and by the ids (a doubled id must be found however far apart its two lines are).
local check = require "kvbench.dataset.check"
local folder = require "kvbench.dataset.folder"
local form = require "kvbench.dataset.form"
local json = require "kvbench.json"
local scan = require "kvbench.dataset.scan"
local schema = require "kvbench.dataset.schema"
local stream = require "kvbench.stream"
local tag = require "kvbench.tag"

local M = {}

local LONGEST = 64 * 1024 * 1024 -- of a line; SQuAD's whole training set is one of 42 MB

-- Files that are no lines of JSON from the first byte on: one error instead of a reject per line.
local function refuse_file(path, first)
  local kind = (first:find("^\255\254") or first:find("^\254\255")) and "UTF-16 text -> iconv -f UTF-16 -t UTF-8"
    or first:find("^\31\139") and "gzip data -> gunzip it, or compress with zstd"
    or first:find("^PK\3\4") and "a zip archive -> unpack it"
    or first:find("^PAR1") and "a Parquet file -> export it as JSON lines"
  if kind then error(("'%s' is %s"):format(path, kind), 0) end
end

local function decode(line, bytes)
  if bytes > #line then
    return nil, ("the line has %d bytes, more than %d"):format(bytes, #line)
  end
  local at = scan.utf8_fault(line)
  if at then
    local note = "the line is not valid UTF-8: byte 0x%02X in column %d -> convert the file (iconv -f ISO-8859-1 -t "
      .. "UTF-8 is the usual case)"
    return nil, note:format(line:byte(at), at)
  end
  local ok, value = pcall(json.decode, line, "line")
  if not ok then return nil, (tostring(value):gsub("^line: ", ""):gsub("at line 1, ", "at "):gsub("\n.*", "")) end
  if type(value) == "table" and json.is_array(value) and #value > 0 then
    return nil, "the line is not a JSON object but an array -> one record a line, as `jq -c '.[]'` writes them"
  end
  if type(value) ~= "table" or json.is_array(value) then return nil, "the line is not a JSON object" end
  return value
end

-- Rules of a record (or nothing, for an imported one): of the task that was asked for, or of the one it names, or none
-- (an imported record).
local function rules_for(record, opt)
  if opt.rules ~= nil then return opt.rules or nil end
  local name = opt.task or record.task
  if not (opt.task and folder.find or folder.named)(name) then return nil end
  return require("kvbench.dataset").task(name).rules
end

--- Completes and checks one record from outside. true, or nil, reason and field.
--   seen  ids so far (id -> where); opt: task, rules (see M.each)
function M.admit(record, where, seen, opt)
  schema.complete(record, where:gsub(" ", "-"), check.abstains)
  local rules = rules_for(record, opt)
  local ok, reason, field = check.check(record, rules)
  if not ok then return nil, reason, field end
  if seen[record.id] then
    return nil, ("id: '%s' was already used (%s)"):format(record.id, seen[record.id]), "id"
  end
  seen[record.id] = where
  if not rules and not opt.untagged and tag.default():complete(record) > 0 then record.tagged = "rules" end
  return true
end

--- Iterator over a file, plain or zstd: for record, reject in read.each(path) do ... record is false when the line was
-- rejected, and reject = {line, field, reason, id}; a line can give several records (a SQuAD file is one line).
--   opt  task: check by this task's rules instead of those of the record's own; rules: these rules, false for none;
--        untagged: leave answer and question types out where a record has none (else kvbench.tag fills them in);
--        form: "own", "squad", "longbench" (default: told by each line's fields); longest: bytes of a line (64 MiB)
function M.each(path, opt)
  opt = opt or {}
  local lines, seen = stream.lines(path, opt.longest or LONGEST), {}
  local reader = form.reader(opt.form)
  local queue, head, finished, number = {}, 1, false, 0
  local signal = package.loaded["kvbench.signal"] or require "kvbench.signal"

  local function reject(reason, field, id)
    queue[#queue + 1] = { false, { line = number, field = field, reason = reason, id = id } }
  end
  local function emit(record, line, problem, field)
    if problem then
      queue[#queue + 1] = { false, { line = line, field = field, reason = problem, id = record and record.id } }
      return
    end
    local ok, reason, at = M.admit(record, ("line %d"):format(line), seen, opt)
    if ok then queue[#queue + 1] = { record, line }
    else queue[#queue + 1] = { false, { line = line, field = at, reason = reason, id = record.id } } end
  end
  local function take()
    local line, at, bytes = lines()
    if signal.cancelled() then error(("interrupted: %d lines of '%s' are read"):format(number, path), 0) end
    if not line then
      finished = true
      return reader.finish(emit)
    end
    number = at
    if number == 1 then refuse_file(path, line) end
    if bytes == 0 or not line:find("%S") then return end
    local value, problem = decode(line, bytes)
    if not value then return reject("line: " .. problem, "line") end
    reader.push(value, number, emit)
  end

  return function()
    while head > #queue do
      if finished then return nil end
      queue, head = {}, 1
      take()
    end
    head = head + 1
    return queue[head - 1][1], queue[head - 1][2]
  end
end

--- A reject as one line: FILE:LINE: field: reason.
function M.explain(path, reject) return ("%s:%d: %s"):format(path, reject.line, reject.reason:gsub("%c", " ")) end

return M
