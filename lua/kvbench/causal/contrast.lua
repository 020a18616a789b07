-- SPDX-License-Identifier: Apache-2.0
-- Paired differences between conditions of the same question: means per passage, BCa bootstrap over passages, sign-flip
-- p. Where nothing ever differs the interval is Wilson's for the passages there are, not [0, 0].
local interval = require "kvbench.stats.interval"
local paired = require "kvbench.stats.paired"

local M = {}

local function name_of(row) return row.press == "full" and row.variant == "" and "full" or row.variant end

--- Rows by question, press and ratio: array of {passage_id, question, press, ratio, by = {[variant] = row}}; the plain
--- row is by[""]. Rows at ratio 0 are joined to every press and ratio as by["full"] (plain) and by["full: <variant>"].
function M.cells(rows)
  local at, list, full = {}, {}, {}
  for _, row in ipairs(rows) do
    local question = row.passage_id .. "|" .. row.question .. "|" .. (row.regime or "")
    if row.press == "full" then
      full[question] = full[question] or {}
      full[question][row.variant == "" and "full" or "full: " .. row.variant] = row
    else
      local key = question .. "|" .. row.press .. "|" .. row.ratio
      if not at[key] then
        at[key] = { passage_id = row.passage_id, question = row.question, press = row.press, ratio = row.ratio,
          of = question, by = {} }
        list[#list + 1] = at[key]
      end
      at[key].by[name_of(row)] = row
    end
  end
  for _, cell in ipairs(list) do
    for name, row in pairs(full[cell.of] or {}) do cell.by[name] = row end
  end
  return list
end

--- Cells of rows at ratio 0 only, for experiments that take tokens from the full cache: by[variant], by[""] = full.
function M.full_cells(rows)
  local at, list = {}, {}
  for _, row in ipairs(rows) do
    if row.press == "full" then
      local key = row.passage_id .. "|" .. row.question
      if not at[key] then
        at[key] = { passage_id = row.passage_id, question = row.question, press = "full", ratio = 0, by = {} }
        list[#list + 1] = at[key]
      end
      at[key].by[row.variant or ""] = row
    end
  end
  return list
end

local function number(y, row)
  if not row then return nil end
  local value = type(y) == "function" and y(row) or type(y) == "string" and row[y]
  if value == true then return 1 elseif value == false then return 0 end
  return value or nil
end

-- Per passage {sum, n} of value(cell), passages in a fixed order.
local function by_passage(cells, value)
  local at, ids = {}, {}
  for _, cell in ipairs(cells) do
    local x = value(cell)
    if x then
      local item = at[cell.passage_id]
      if not item then
        item = { sum = 0, n = 0, least = x, most = x }
        at[cell.passage_id], ids[#ids + 1] = item, cell.passage_id
      end
      item.sum, item.n = item.sum + x, item.n + 1
      item.least, item.most = math.min(item.least, x), math.max(item.most, x)
    end
  end
  table.sort(ids)
  local items = {}
  for i, id in ipairs(ids) do items[i] = at[id] end
  return items
end

local function mean(items)
  local sum, n = 0, 0
  for _, item in ipairs(items) do sum, n = sum + item.sum, n + item.n end
  return sum / n
end

--- The mean over cells of value(cell) (nil leaves a cell out): {estimate, lo, hi, p, n, clusters}, or nil and why.
--- opt: seed, level (.95), exact (true: equal values are so by definition, not by chance).
function M.mean(cells, value, opt)
  local items = by_passage(cells, value)
  if #items == 0 then return nil, "no question has both conditions" end
  if #items < 2 then return nil, "one passage gives no interval" end
  local n, least, most, sums = 0, math.huge, -math.huge, {}
  for i, item in ipairs(items) do
    n, least, most = n + item.n, math.min(least, item.least), math.max(most, item.most)
    sums[i] = item.sum
  end
  local out = { estimate = mean(items), n = n, clusters = #items }
  if least < most then
    local b = interval.bootstrap(items, mean, { replicates = 2000, seed = opt and opt.seed or 1,
      level = opt and opt.level })
    out.lo, out.hi = b.lo, b.hi
  end
  if opt and opt.exact and not out.lo then out.lo, out.hi = least, most end
  if not out.lo or out.lo == out.hi and least < most then -- passages do not differ: resampling them says nothing
    local _, half = interval.wilson(0, #items, opt and opt.level)
    out.lo, out.hi = out.estimate - half, out.estimate + half
  end
  out.p = paired.sign_flip_values(sums, { seed = opt and opt.seed or 1 }).p
  return out
end

--- The paired difference y(a) - y(b) of two conditions (names in cell.by). opt.where(cell) selects cells. Also .a and
--- .b, their means over the same cells.
function M.paired(cells, y, a, b, opt)
  local chosen = {}
  for _, cell in ipairs(cells) do
    if (not opt or not opt.where or opt.where(cell)) and number(y, cell.by[a]) and number(y, cell.by[b]) then
      chosen[#chosen + 1] = cell
    end
  end
  local out, why = M.mean(chosen, function(cell) return number(y, cell.by[a]) - number(y, cell.by[b]) end, opt)
  if not out then return nil, why end
  out.a = mean(by_passage(chosen, function(cell) return number(y, cell.by[a]) end))
  out.b = mean(by_passage(chosen, function(cell) return number(y, cell.by[b]) end))
  return out
end

--- The mean of y in one condition, with its interval.
function M.level(cells, y, a, opt)
  local chosen = {}
  for _, cell in ipairs(cells) do
    if not opt or not opt.where or opt.where(cell) then chosen[#chosen + 1] = cell end
  end
  local out, why = M.mean(chosen, function(cell) return number(y, cell.by[a]) end, opt)
  if not out then return nil, why end
  if out.estimate == 0 then out.lo = math.max(0, out.lo) elseif out.estimate == 1 then out.hi = math.min(1, out.hi) end
  out.p = nil
  return out
end

return M
