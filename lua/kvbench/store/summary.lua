-- SPDX-License-Identifier: Apache-2.0
-- What figures of large runs are drawn from: for each numeric column and condition the sum and the number of values of
-- every
-- passage, as arrays. Questions of one passage are resampled together, so these are all that a mean with its bootstrap
-- needs, and there are as many as passages times conditions, not as answers.
local database = require "kvbench.store.db"
local ffi = require "ffi"
local C = require("kvbench.ffi").C

local M = {}

--- Runs with at least this many answers get a summary when they are complete.
M.LARGE = 100000

local CHUNK = 2048 -- passages in one pair of arrays
local doubles, counts16 = ffi.typeof "double[?]", ffi.typeof "uint16_t[?]"

local function stamp(db) return (db:row "SELECT COUNT(*) FROM answers") end

--- Is there a summary of the answers there are now?
function M.current(db)
  local made = db:row "SELECT value FROM notes WHERE name = 'summary'"
  return made ~= nil and made == stamp(db)
end

--- Does any answer have this numeric column?
function M.has(db, y) return db:row("SELECT 1 FROM summary WHERE metric = ? AND condition = 0", y) ~= nil end

local function numeric(db)
  local names, quoted = {}, {}
  for row in db:rows "SELECT name FROM metrics WHERE kind IN ('number', 'boolean') ORDER BY name" do
    names[#names + 1], quoted[#quoted + 1] = row[1], ", " .. database.quote(row[1])
  end
  return names, table.concat(quoted)
end

-- Writes what was gathered of one chunk of passages.
local function put(db, names, cells, chunk)
  for _, cell in pairs(cells) do
    for j, name in ipairs(names) do
      local any = false
      for i = (j - 1) * CHUNK, j * CHUNK - 1 do
        if cell.counts[i] > 0 then any = true break end
      end
      if any then
        db:exec("INSERT INTO summary (metric, condition, answerable, chunk, sums, counts) "
          .. "VALUES (?, ?, ?, ?, ?, ?)", name, cell.condition, cell.able, chunk,
          database.blob(ffi.string(cell.sums + (j - 1) * CHUNK, CHUNK * 8)),
          database.blob(ffi.string(cell.counts + (j - 1) * CHUNK, CHUNK * 2)))
      end
    end
  end
end

-- Adds the numbers of the row a statement stands at; notes in `other` which columns have values beside 0 and 1.
local function gather(statement, n, cell, at, other)
  for j = 0, n - 1 do
    if C.kvb_query_kind(statement, 3 + j) ~= 0 then
      local value = C.kvb_query_number(statement, 3 + j)
      local i = j * CHUNK + at
      cell.sums[i] = cell.sums[i] + value
      cell.counts[i] = cell.counts[i] + 1
      if value ~= 0 and value ~= 1 then other[j] = 1 end
    end
  end
end

local function fill(db)
  local names, quoted = numeric(db)
  local able = db:row "SELECT 1 FROM metrics WHERE name = 'answerable'" and "COALESCE(answerable, -1)" or "-1"
  local statement = db:prepare(("SELECT passage, condition, %s%s FROM answers ORDER BY passage, condition, question")
    :format(able, quoted))
  local cells, chunk, n, other = {}, 0, #names, ffi.new("uint8_t[?]", #names)
  while database.step(statement) do
    local passage = C.kvb_query_number(statement, 0) - 1
    local here = math.floor(passage / CHUNK)
    if here ~= chunk then
      put(db, names, cells, chunk)
      cells, chunk = {}, here
    end
    local condition, answerable = C.kvb_query_number(statement, 1), C.kvb_query_number(statement, 2)
    local key = condition * 4 + answerable + 1
    local cell = cells[key]
    if not cell then
      local sums, counts = doubles(n * CHUNK), counts16(n * CHUNK)
      cell = { condition = condition, able = answerable, sums = sums, counts = counts }
      cells[key] = cell
    end
    gather(statement, n, cell, passage - chunk * CHUNK, other)
  end
  put(db, names, cells, chunk)
  for j, name in ipairs(names) do
    db:exec("INSERT INTO summary (metric, condition, answerable, chunk, sums) VALUES (?, 0, 0, ?, NULL)", name,
      other[j - 1])
  end
end

--- Makes the summary anew, unless it is current. The store is open for writing.
function M.make(db)
  if M.current(db) then return end
  db:transaction(function()
    db:run("DROP TABLE IF EXISTS summary; CREATE TABLE summary (metric TEXT, condition INTEGER, answerable INTEGER, "
      .. "chunk INTEGER, sums BLOB, counts BLOB)")
    fill(db)
    db:run "CREATE UNIQUE INDEX summary_key ON summary (metric, condition, answerable, chunk)"
    db:exec("INSERT OR REPLACE INTO notes (name, value) VALUES ('summary', ?)", stamp(db))
  end)
  db:forget()
end

-- The plain conditions (or those of a variant) of a press, the full cache's among them: id -> index of its ratio, from
-- 0.
local function conditions_of(db, label, variant)
  local at, xs, known = {}, {}, {}
  for row in db:rows("SELECT id, ratio FROM conditions WHERE (press = ? OR press = 'full') "
    .. "AND COALESCE(variant, '') = ? ORDER BY ratio, id", label, variant or "") do
    local x = math.floor(row[2] * 1e6 + .5) / 1e6
    if not known[x] then
      known[x], xs[#xs + 1] = #xs, x
    end
    at[row[1]] = known[x]
  end
  return at, xs
end

-- Leaves out passages and ratios without values, as stats.resample does with rows.
local function compacted(xs, C0, sum, count, indicator)
  local P, keep_x, keep_c = #xs, {}, {}
  local per_x, clusters_at = {}, {}
  for i = 0, P - 1 do
    local n, k = 0, 0
    for c = 0, C0 - 1 do
      local m = count[c * P + i]
      n = n + m
      if m > 0 then k, keep_c[c] = k + 1, true end
    end
    if n > 0 then
      keep_x[#keep_x + 1], per_x[#per_x + 1], clusters_at[#clusters_at + 1] = i, n, k
    end
  end
  local t = { xs = {}, ids = {}, points = #keep_x, rows = per_x, clusters_at = clusters_at, indicator = indicator }
  for j, i in ipairs(keep_x) do t.xs[j] = xs[i + 1] end
  local order = {}
  for c = 0, C0 - 1 do
    if keep_c[c] then order[#order + 1] = c end
  end
  t.clusters = #order
  t.sum, t.count = doubles(math.max(1, #order * t.points)), doubles(math.max(1, #order * t.points))
  for k, c in ipairs(order) do
    for j, i in ipairs(keep_x) do
      t.sum[(k - 1) * t.points + j - 1], t.count[(k - 1) * t.points + j - 1] = sum[c * P + i], count[c * P + i]
    end
  end
  return t
end

--- The table that stats.curve draws from (resample.compact's form): mean of column y over the ratio, passages as
--- clusters.
--- opt: press, variant, answerable (true, false or nil: all).
function M.table(db, y, opt)
  local other = db:row("SELECT chunk FROM summary WHERE metric = ? AND condition = 0", y)
  if not other then
    error(("no numeric column '%s' in this run -> kvbench runs show lists its columns"):format(tostring(y)), 0)
  end
  local at, xs = conditions_of(db, opt.press, opt.variant)
  local total, P = db:row "SELECT MAX(id) FROM passages", #xs
  local sum, count = doubles(math.max(1, total * P)), doubles(math.max(1, total * P))
  local wanted = opt.answerable == nil and "" or " AND answerable = " .. (opt.answerable and 1 or 0)
  local sql = "SELECT chunk, sums, counts FROM summary WHERE metric = ? AND condition = ?" .. wanted
  for condition, i in pairs(at) do
    for row in db:rows(sql, y, condition) do
      local sums, counts = ffi.cast("const double *", row[2]), ffi.cast("const uint16_t *", row[3])
      local first = row[1] * CHUNK
      for k = 0, math.min(CHUNK, total - first) - 1 do
        if counts[k] > 0 then
          local cell = (first + k) * P + i
          sum[cell], count[cell] = sum[cell] + sums[k], count[cell] + counts[k]
        end
      end
    end
  end
  return compacted(xs, total, sum, count, other == 0)
end

return M
