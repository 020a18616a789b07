-- SPDX-License-Identifier: Apache-2.0
-- rows.csv and rows.jsonl: what a run's store holds, as text that any tool reads. Written passage by passage, in memory
-- that does not grow with the run; the bytes depend on the rows alone, not on the order in which they came.
local csv = require "kvbench.csv"
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local rows_of = require "kvbench.sweep.rows"
local C, check = library.C, library.check

local M = {}

-- Columns that every row has a place for, then the others by name.
local function all_columns(answers)
  local columns, seen, extra = {}, {}, {}
  for _, name in ipairs(rows_of.columns) do
    columns[#columns + 1] = name
    seen[name] = true
  end
  for _, name in ipairs { "direction", "answer_type", "question_type" } do
    if answers.db:row(("SELECT 1 FROM questions WHERE %s IS NOT NULL LIMIT 1"):format(name)) then
      extra[#extra + 1] = name
    end
  end
  for _, name in ipairs(answers.columns) do
    if not seen[name] then extra[#extra + 1] = name end
  end
  table.sort(extra)
  for _, name in ipairs(extra) do columns[#columns + 1] = name end
  return columns
end

-- Passages that have rows, so that rows come by ascending key: a key begins with the passage and "|".
local function passages(answers, order)
  return answers.db:rows("SELECT name, revision FROM passages p WHERE EXISTS "
    .. "(SELECT 1 FROM answers WHERE passage = p.id) ORDER BY " .. order)
end

local function writing(path, fill)
  local out = ffi.new "kvb_sink *[1]"
  check(C.kvb_sink_open(path, out))
  local bytes = 0
  local ok, err = pcall(fill, function(text)
    bytes = bytes + #text
    check(C.kvb_sink_write(out[0], text, #text))
  end)
  if not ok then
    C.kvb_sink_discard(out[0])
    error(err, 0)
  end
  check(C.kvb_sink_close(out[0]))
  return bytes
end

--- Calls fn(rows, passage_id, revision) for every passage (of the set `wanted`, if given) in the order of the keys.
function M.each(answers, fn, wanted)
  local names = {}
  for row in passages(answers, "name || '|'") do names[#names + 1] = row end
  for _, row in ipairs(names) do
    if not wanted or wanted[row[1]] then fn(answers:rows(row[1]), row[1], row[2]) end
  end
end

--- All rows by ascending key.
function M.rows(answers)
  local list = {}
  M.each(answers, function(rows)
    for _, row in ipairs(rows) do list[#list + 1] = row end
  end)
  return list
end

--- Writes the rows as CSV; returns the number of bytes.
function M.csv(answers, path)
  local columns = all_columns(answers)
  return writing(path, function(put)
    put(csv.text(columns, {}))
    local head = #csv.text(columns, {})
    M.each(answers, function(rows) put(csv.text(columns, rows):sub(head + 1)) end)
  end)
end

--- Writes one line of JSON a passage: {passage_id, revision, rows}.
function M.jsonl(answers, path)
  return writing(path, function(put)
    local names = {}
    for row in passages(answers, "id") do names[#names + 1] = row end
    for _, row in ipairs(names) do
      put(json.encode { passage_id = row[1], revision = row[2], rows = answers:rows(row[1]) } .. "\n")
    end
  end)
end

return M
