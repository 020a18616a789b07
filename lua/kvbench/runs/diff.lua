-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs diff: in what two runs differ, settings and answers.
local answers = require "kvbench.store.answers"
local json = require "kvbench.json"
local runs = require "kvbench.runs"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench runs diff A B [--limit N] [--json]
Settings in which two runs differ, and their answers, row by row (same passage, question, press, ratio, regime and
variant): rows that one alone has, and for every column the number of rows that differ, the largest difference of
numbers, and the first --limit keys (3). Exit status 0: no answer differs; 1: some do.]==]

local function manifest_differences(a, b)
  local names, list = {}, {}
  for name in pairs(a) do names[name] = true end
  for name in pairs(b) do names[name] = true end
  for name in pairs(names) do
    local function text_of(value) return json.encode(value == nil and json.null or value) end
    local x, y = text_of(a[name]), text_of(b[name])
    if x ~= y then list[#list + 1] = { name, x, y } end
  end
  table.sort(list, function(p, q) return p[1] < q[1] end)
  return list
end

local function names_of(db)
  local list, seen = {}, {}
  for row in db:rows("SELECT name FROM passages p WHERE EXISTS (SELECT 1 FROM answers WHERE passage = p.id) "
    .. "ORDER BY id") do
    list[#list + 1] = row[1]
    seen[row[1]] = true
  end
  return list, seen
end

local function compare_rows(x, y, out)
  local names = {}
  for name in pairs(x) do names[name] = true end
  for name in pairs(y) do names[name] = true end
  local differs = false
  for name in pairs(names) do
    if x[name] ~= y[name] then
      local column = out.columns[name] or { rows = 0, keys = {} }
      out.columns[name], differs = column, true
      column.rows = column.rows + 1
      if type(x[name]) == "number" and type(y[name]) == "number" then
        column.largest = math.max(column.largest or 0, math.abs(x[name] - y[name]))
      end
      if #column.keys < out.limit then column.keys[#column.keys + 1] = x.key end
    end
  end
  if differs then out.different = out.different + 1 else out.same = out.same + 1 end
end

local function compare(a, b, limit)
  local out = { same = 0, different = 0, only_a = 0, only_b = 0, columns = {}, limit = limit,
    settings = manifest_differences(runs.manifest(a), runs.manifest(b)) }
  local rows_a, rows_b = answers.new(a), answers.new(b)
  local list, in_a = names_of(a)
  local others, in_b = names_of(b)
  for _, name in ipairs(list) do
    local there = {}
    for _, row in ipairs(in_b[name] and rows_b:rows(name) or {}) do there[row.key] = row end
    for _, row in ipairs(rows_a:rows(name)) do
      local other = there[row.key]
      there[row.key] = nil
      if other then compare_rows(row, other, out) else out.only_a = out.only_a + 1 end
    end
    for _ in pairs(there) do out.only_b = out.only_b + 1 end
  end
  for _, name in ipairs(others) do
    if not in_a[name] then out.only_b = out.only_b + #rows_b:rows(name) end
  end
  return out
end

local function report(out, a, b)
  if #out.settings > 0 then
    local rows = { { "setting", a, b } }
    for _, s in ipairs(out.settings) do rows[#rows + 1] = { s[1], s[2]:sub(1, 60), s[3]:sub(1, 60) } end
    print(text.columns(rows))
    print ""
  end
  print(("%d rows agree, %d differ, %d only in %s, %d only in %s"):format(out.same, out.different, out.only_a, a,
    out.only_b, b))
  local names = {}
  for name in pairs(out.columns) do names[#names + 1] = name end
  table.sort(names)
  local rows = { { "column", "rows", "largest difference", "for example" } }
  for _, name in ipairs(names) do
    local c = out.columns[name]
    rows[#rows + 1] = { name, tostring(c.rows), c.largest and ("%.3g"):format(c.largest) or "",
      table.concat(c.keys, "  ") }
  end
  if #names > 0 then print("\n" .. text.columns(rows)) end
end

return function(rest)
  local names, opt = words.split(rest, { limit = 3, json = false }, USAGE)
  if #names ~= 2 then words.misused("kvbench runs diff wants two runs' folders -> kvbench runs list") end
  if opt.limit < 0 or opt.limit ~= math.floor(opt.limit) then
    words.misused("runs diff: --limit %s -> a whole number from 0", opt.limit)
  end
  local out = runs.with(names[1], function(a)
    return runs.with(names[2], function(b) return compare(a, b, opt.limit) end)
  end)
  if opt.json then
    local settings = setmetatable({}, json.object)
    for _, s in ipairs(out.settings) do settings[s[1]] = { s[2], s[3] } end
    print(json.encode { same = out.same, different = out.different, only_a = out.only_a, only_b = out.only_b,
      columns = next(out.columns) and out.columns or setmetatable({}, json.object), settings = settings })
  else
    report(out, names[1], names[2])
  end
  return out.different + out.only_a + out.only_b == 0 and 0 or 1
end
