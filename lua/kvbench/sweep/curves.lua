-- SPDX-License-Identifier: Apache-2.0
-- Looking at a run: rows of one press, some columns of all rows, and curves over the ratio.
local database = require "kvbench.store.db"
local stats = require "kvbench.stats"
local summary = require "kvbench.store.summary"

local M = {}

--- Rows of one press with the shared full-cache rows at ratio 0: the plain ones, or those of one variant.
function M.press_rows(run, label, variant)
  local list = {}
  for _, row in ipairs(run.rows) do
    if (row.press == label or row.press == "full") and (row.variant or "") == (variant or "") then
      list[#list + 1] = row
    end
  end
  return list
end

-- Rows of a press that opt lets through.
local function rows_for(run, label, opt)
  local rows = {}
  for _, row in ipairs(run:press_rows(label, opt.variant)) do
    if (opt.answerable == nil or row.answerable == opt.answerable) and (not opt.filter or opt.filter(row)) then
      rows[#rows + 1] = row
    end
  end
  return rows
end

--- What stats.curve and its kin take for column y of a press: rows, or of a large stored run the sums that its summary
--- has, so that millions of answers are never read. opt: variant, answerable, filter; optional: a column that no answer
--- has is no error, and gives no rows.
function M.data(run, label, y, opt)
  opt = opt or {}
  if rawget(run, "out") and not rawget(run, "rows") and type(y) == "string" and not opt.filter then
    local folded = run:reading(function(db)
      if not summary.current(db) then return nil end
      if opt.optional and not summary.has(db, y) then return {} end
      return summary.table(db, y, { press = label, variant = opt.variant, answerable = opt.answerable })
    end)
    if folded then return folded end
  end
  return rows_for(run, label, opt)
end

local always = { "passage_id", "question", "press", "ratio", "regime", "variant" }

-- The columns of a store that can be asked for: name -> is it a boolean.
local function columns_of(db)
  local known = { gold = false, direction = false, answer_type = false, question_type = false }
  for row in db:rows "SELECT name, kind FROM metrics" do known[row[1]] = row[2] == "boolean" end
  return known
end

local function read_columns(db, columns, opt)
  local known, names, quoted = columns_of(db), { unpack(always) }, {}
  for _, name in ipairs(columns) do
    if known[name] ~= nil then names[#names + 1] = name end
  end
  for i, name in ipairs(names) do quoted[i] = database.quote(name) end
  local where, values = {}, {}
  for _, name in ipairs { "press", "ratio", "variant" } do
    if opt[name] ~= nil then
      where[#where + 1], values[#values + 1] = name .. " = ?", opt[name]
    end
  end
  local list = {}
  for given in db:rows("SELECT " .. table.concat(quoted, ", ") .. " FROM rows"
    .. (#where > 0 and " WHERE " .. table.concat(where, " AND ") or ""), unpack(values)) do
    local row = {}
    for i, name in ipairs(names) do
      if given[i] ~= nil and known[name] then row[name] = given[i] ~= 0 else row[name] = given[i] end
    end
    list[#list + 1] = row
  end
  return list
end

--- Rows with what names a row and the columns that are wanted, and no more: a large stored run is not read into memory
--- for the few that a comparison needs. opt: press, ratio, variant, each one value (default: all). In no order.
function M.select(run, columns, opt)
  opt = opt or {}
  if rawget(run, "out") and not rawget(run, "rows") then
    return run:reading(function(db) return read_columns(db, columns, opt) end)
  end
  local list = {}
  for _, row in ipairs(run.rows) do
    if (opt.press == nil or row.press == opt.press) and (opt.ratio == nil or math.abs(row.ratio - opt.ratio) < 1e-9)
      and (opt.variant == nil or (row.variant or "") == opt.variant) then
      list[#list + 1] = row
    end
  end
  return list
end

--- Reads the rows of a stored run with what names them and the columns wanted: run.rows is those from then on, in the
--- same order, and a row of ten columns takes a quarter of the memory. Asking a row for a column that was left out is
--- an error, so that none is missed in silence. Rows that are in memory already stay as they are.
function M.load(run, columns)
  if rawget(run, "rows") or not rawget(run, "out") then return run end
  local wanted, left_out, list = {}, {}, {}
  for _, names in ipairs { always, columns } do
    for _, name in ipairs(names) do wanted[name] = true end
  end
  local slim = { __index = function(_, name)
    if left_out[name] then
      error(("column '%s' was left out of these rows -> run:load { ..., \"%s\" }"):format(name, name), 2)
    end
  end }
  run:each(function(rows)
    for _, row in ipairs(rows) do
      local few = {}
      for name, value in pairs(row) do
        if wanted[name] then few[name] = value else left_out[name] = true end
      end
      list[#list + 1] = setmetatable(few, slim)
    end
  end)
  rawset(run, "rows", list)
  return run
end

--- Series for plot.lines, one a press: mean of column y (or of y(row)) over the ratio, with a passage-bootstrap band.
--- opt: presses (default all), variant (default "": the plain rows), answerable (true or false: those questions alone),
--- filter(row), band "sup-t"|"pointwise",
--- replicates, seed, name = {label -> shown name}.
function M.curves(run, y, opt)
  opt = opt or {}
  local series = {}
  for _, label in ipairs(opt.presses or run.presses) do
    local points = stats.curve(M.data(run, label, y, opt), { x = "ratio", y = y, cluster = "passage_id",
      band = opt.band or "sup-t",
      replicates = opt.replicates or 2000, seed = opt.seed or 1 })
    local s = { label = opt.name and opt.name[label] or label, x = {}, y = {}, lo = {}, hi = {} }
    for i, p in ipairs(points) do
      s.x[i], s.y[i] = p.x, p.mean
      s.lo[i], s.hi[i] = p.lo or p.mean, p.hi or p.mean
    end
    series[#series + 1] = s
  end
  return series
end

return M
