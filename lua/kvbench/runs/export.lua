-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs export: answers as CSV, JSON lines or a NumPy array with named fields.
local answers = require "kvbench.store.answers"
local csv = require "kvbench.csv"
local database = require "kvbench.store.db"
local export = require "kvbench.sweep.export"
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local runs = require "kvbench.runs"
local text = require "kvbench.text"
local words = require "kvbench.words"
local C, check = library.C, library.check

local USAGE = [==[
kvbench runs export RUN [--to FILE] [--format csv|jsonl|npy] [--columns A,B,...] [--where SQL]
The answers of a run, by ascending passage, condition and question; without --columns and --where exactly as rows.csv
and rows.jsonl have them.
  --to FILE       default: standard output; its ending names the format (.csv, .jsonl, .npy; .zst compresses). A file
                  that is there is replaced, but not one of another format
  --columns       some columns, in this order (kvbench runs show lists them)
  --where SQL     some answers, e.g. "press = 'ea' AND ratio >= 0.5 AND class = 'hallucination'"
npy: a structured array, numpy.load(FILE)["f1"]; numbers and booleans are float64 (missing: nan), texts are bytes.]==]

-- A query over the view `rows`: {names, kinds, statement}.
local function query(db, columns, where)
  local all, kinds = db:names "SELECT * FROM rows LIMIT 0", {}
  for row in db:rows "SELECT name, kind FROM metrics" do kinds[row[1]] = row[2] end
  for _, name in ipairs { "question", "ratio" } do kinds[name] = "number" end
  local names = {}
  for name in columns:gmatch "[^,%s]+" do
    local found = false
    for _, known in ipairs(all) do found = found or known == name end
    if not found then error(("no column '%s' %s"):format(name, text.suggest(name, all)), 0) end
    names[#names + 1] = name
  end
  if #names == 0 and columns ~= "" then words.misused("runs export: --columns '%s' names no column", columns) end
  if #names == 0 then names = all end
  local quoted = {}
  for i, name in ipairs(names) do quoted[i] = database.quote(name) end
  local sql = ("SELECT %s FROM rows%s"):format(table.concat(quoted, ", "), where ~= "" and " WHERE " .. where or "")
  sql = sql .. " ORDER BY passage_id || '|', press, ratio, regime, variant, question"
  db:prepare(sql) -- what is wrong with it shows before anything is written
  return { names = names, kinds = kinds, sql = sql }
end

local function each(db, q, fn)
  local statement = db:prepare(q.sql)
  while database.step(statement) do
    local row = {}
    for i, name in ipairs(q.names) do
      local value = database.value(statement, i - 1)
      if value ~= nil and q.kinds[name] == "boolean" then value = value ~= 0 end
      row[name] = value
    end
    fn(row)
  end
end

local function put_csv(db, q, put)
  put(csv.text(q.names, {}))
  local head = #csv.text(q.names, {})
  each(db, q, function(row) put(csv.text(q.names, { row }):sub(head + 1)) end)
end

local function put_jsonl(db, q, put)
  each(db, q, function(row) put(json.encode(row, q.names) .. "\n") end)
end

-- The widest text of each text column, and the number of rows.
local function measure(db, q)
  local widths, n = {}, 0
  each(db, q, function(row)
    n = n + 1
    for name, value in pairs(row) do
      if type(value) == "string" then widths[name] = math.max(widths[name] or 1, #value) end
    end
  end)
  return widths, n
end

--- NumPy's format, version 1 (NEP 1): a structured array, one field a column.
local function put_npy(db, q, put)
  local widths, n = measure(db, q)
  local fields = {}
  for i, name in ipairs(q.names) do
    local numeric = q.kinds[name] == "number" or q.kinds[name] == "boolean"
    fields[i] = ("('%s', '%s')"):format(name, numeric and "<f8" or "|S" .. (widths[name] or 1))
  end
  local head = ("{'descr': [%s], 'fortran_order': False, 'shape': (%d,), }"):format(table.concat(fields, ", "), n)
  head = head .. (" "):rep(63 - (10 + #head) % 64) .. "\n"
  if #head > 65535 then error("too many columns for a .npy header -> --columns names the ones you need", 0) end
  put("\147NUMPY\1\0" .. string.char(#head % 256, math.floor(#head / 256)) .. head)
  local number = ffi.new "double[1]"
  each(db, q, function(row)
    local parts = {}
    for i, name in ipairs(q.names) do
      local value = row[name]
      if q.kinds[name] == "number" or q.kinds[name] == "boolean" then
        if value == nil then value = 0 / 0 elseif type(value) == "boolean" then value = value and 1 or 0 end
        number[0] = value
        parts[i] = ffi.string(number, 8)
      else
        local width = widths[name] or 1
        parts[i] = (value or "") .. ("\0"):rep(width - #(value or ""))
      end
    end
    put(table.concat(parts))
  end)
end

local ours = { ["run.json"] = true, ["run.lock"] = true, ["progress.json"] = true, ["job.json"] = true }

-- May an export take this place? Not that of a database, nor of a run's file that is no export.
local function replaceable(path)
  if C.kvb_path_kind(path) ~= 1 then return true end
  if ours[path:match "[^/]*$"] then return false end
  local file = io.open(path, "rb")
  local head = file and file:read(15)
  if file then file:close() end
  return head ~= "SQLite format 3"
end

local formats = { csv = put_csv, jsonl = put_jsonl, npy = put_npy }

local function sink_of(path)
  if path == "" then
    return function(piece) io.stdout:write(piece) end, function() io.stdout:flush() end, function() end
  end
  local out = ffi.new "kvb_sink *[1]"
  check(C.kvb_sink_open(path, out))
  return function(piece) check(C.kvb_sink_write(out[0], piece, #piece)) end,
    function() check(C.kvb_sink_close(out[0])) end, function() C.kvb_sink_discard(out[0]) end
end

return function(rest)
  local names, opt = words.split(rest, { to = "", format = "", columns = "", where = "" }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs export wants one run's folder -> kvbench runs list") end
  local format = opt.format ~= "" and opt.format or opt.to:gsub("%.zst$", ""):match "%.(%w+)$" or "csv"
  if not formats[format] then
    words.misused("--format '%s' is unknown %s", format, text.suggest(format, { "csv", "jsonl", "npy" }))
  end
  if opt.to ~= "" and not replaceable(opt.to) then
    words.misused("runs export: '%s' is there and no export -> another name for --to", opt.to)
  end
  runs.with(names[1], function(db)
    if opt.to ~= "" and opt.columns == "" and opt.where == "" and format ~= "npy" then
      return export[format](answers.new(db), opt.to)
    end
    local q = query(db, opt.columns, opt.where)
    local put, close, discard = sink_of(opt.to)
    local ok, err = pcall(formats[format], db, q, put)
    if not ok then
      discard()
      error(err, 0)
    end
    close()
  end)
  return 0
end
