-- SPDX-License-Identifier: Apache-2.0
-- Text for people: nearest names, bytes and durations with units, tables in columns.
local M = {}

--- Edit distance in which swapping two neighbours counts once (optimal string alignment), over bytes.
function M.distance(a, b)
  local before, previous, current = {}, {}, {}
  for j = 0, #b do previous[j] = j end
  for i = 1, #a do
    current[0] = i
    for j = 1, #b do
      local change = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + change)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
    before, previous, current = previous, current, before
  end
  return previous[#b]
end

--- The name closest to `word`, or nil when none is close enough to be a slip of the keyboard. A name that starts with
-- the
--- word (three letters or more) is close. Ties go to the name that comes first in the alphabet.
function M.nearest(word, names)
  local sorted = {}
  for i, name in ipairs(names) do sorted[i] = name end
  table.sort(sorted)
  local plain = word:lower():gsub("[-_]", "_")
  local best, best_distance
  for _, name in ipairs(sorted) do
    local candidate = name:lower():gsub("[-_]", "_")
    local d = M.distance(plain, candidate)
    if #plain >= 3 and candidate:sub(1, #plain) == plain then d = math.min(d, 1) end
    local near = d <= math.max(1, math.floor(#plain / 3))
    if near and (not best or d < best_distance) then best, best_distance = name, d end
  end
  return best
end

--- "-> did you mean 'x'?" when a name is near, else "-> one of: a, b, c" (at most `limit` of them, 12 unless told).
function M.suggest(word, names, limit)
  local near = M.nearest(tostring(word), names)
  if near then return "-> did you mean '" .. near .. "'?" end
  local sorted = {}
  for i, name in ipairs(names) do sorted[i] = name end
  table.sort(sorted)
  local shown = math.min(#sorted, limit or 12)
  if shown == 0 then return "-> there are none yet" end
  return "-> one of: " .. table.concat(sorted, ", ", 1, shown) .. (shown < #sorted and ", ..." or "")
end

--- 1536 -> "1.5 KiB".
function M.bytes(n)
  local units = { "B", "KiB", "MiB", "GiB", "TiB" }
  local i = 1
  n = tonumber(n)
  while math.abs(n) >= 1024 and i < #units do n, i = n / 1024, i + 1 end
  return i == 1 and string.format("%d B", n) or string.format("%.1f %s", n, units[i])
end

--- Seconds -> "0.42 s", "12.3 s", "4 min 05 s", "3 h 07 min".
function M.duration(s)
  if s ~= s or s == math.huge then return "?" end
  if s < 1 then return string.format("%.2f s", s) end
  if s < 59.95 then return string.format("%.1f s", s) end
  s = math.floor(s + 0.5)
  if s < 3600 then return string.format("%d min %02d s", math.floor(s / 60), s % 60) end
  return string.format("%d h %02d min", math.floor(s / 3600), math.floor(s % 3600 / 60))
end

--- 134515008 -> "134.5 M", for parameter counts and rates.
function M.count(n)
  n = tonumber(n)
  for _, unit in ipairs { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e4, "k" } } do
    if math.abs(n) >= unit[1] then return string.format("%.1f %s", n / (unit[2] == "k" and 1e3 or unit[1]), unit[2]) end
  end
  return n == math.floor(n) and string.format("%d", n) or string.format("%.3g", n)
end

--- Terminal columns of UTF-8 text, counting every code point as one.
function M.width(s) return #s - select(2, s:gsub("[\128-\191]", "")) end

--- Rows of cells as aligned columns; columns whose every cell below the first row is a number are set flush right.
function M.columns(rows, indent)
  local widths, numeric = {}, {}
  for i, row in ipairs(rows) do
    for j = 1, #row do
      local cell = tostring(row[j])
      widths[j] = math.max(widths[j] or 0, M.width(cell))
      if i > 1 or #rows == 1 then numeric[j] = numeric[j] ~= false and cell:find("^[-+]?%.?%d") ~= nil end
    end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for j = 1, #row do
      local cell = tostring(row[j])
      local fill = string.rep(" ", widths[j] - M.width(cell))
      cells[j] = numeric[j] and fill .. cell or cell .. fill
    end
    lines[i] = ((indent or "") .. table.concat(cells, "  ")):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

--- A list of names in as many columns as fit into `width`, filled row by row.
function M.wrap(names, width)
  local widest = 0
  for _, name in ipairs(names) do widest = math.max(widest, M.width(name)) end
  local per_row, lines = math.max(1, math.floor(width / (widest + 2))), {}
  for i = 1, #names, per_row do
    local cells = {}
    for j = i, math.min(#names, i + per_row - 1) do
      cells[#cells + 1] = names[j] .. (" "):rep(widest - M.width(names[j]))
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

return M
