-- SPDX-License-Identifier: Apache-2.0
-- CSV that any reader takes back unchanged: RFC 4180 quoting, numbers in the fewest digits that restore the same
-- double, the file written whole or not at all. Lines end in "\n", as every tool on the systems we run on expects.
local M = {}

--- The shortest decimal text that reads back as the same double; "nan", "inf" and "-inf" for the rest.
function M.number(x)
  if x ~= x then return "nan" end
  if x == math.huge then return "inf" elseif x == -math.huge then return "-inf" end
  if x == math.floor(x) and math.abs(x) < 1e15 then return ("%.0f"):format(x) end
  for digits = 15, 16 do
    local text = ("%." .. digits .. "g"):format(x)
    if tonumber(text) == x then return text end
  end
  return ("%.17g"):format(x)
end

--- One cell: nil is empty, numbers as above, booleans true/false, 64-bit integers without suffix, text quoted when
--- needed.
function M.cell(v)
  local kind = type(v)
  if v == nil then return "" end
  if kind == "number" then return M.number(v) end
  if kind == "cdata" then return (tostring(v):gsub("U?LL$", "")) end
  if kind == "table" or kind == "function" or kind == "userdata" then
    error("csv: a cell is a " .. kind .. " -> give a number, a text, a boolean or nil", 0)
  end
  local text = tostring(v)
  if text:find('[",\r\n]') or text:find("^%s") or text:find("%s$") then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

--- The text of a CSV: a header of `columns` (names in order), then `rows`, each a table keyed by column name or by
--- position.
function M.text(columns, rows)
  local lines, header, cells = {}, {}, {}
  for i, name in ipairs(columns) do header[i] = M.cell(name) end
  lines[1] = table.concat(header, ",")
  for r, row in ipairs(rows) do
    for i, name in ipairs(columns) do
      local v = row[name]
      if v == nil then v = row[i] end
      cells[i] = M.cell(v)
    end
    lines[r + 1] = table.concat(cells, ",", 1, #columns)
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

--- Writes M.text(columns, rows) to `path`: readers see the old file or the new one, never half. Returns the path. A
--- worker of a sweep leaves it to the process that has the whole of it.
function M.write(path, columns, rows)
  if require("kvbench.fleet").shard() then return path end
  local ffi = require "kvbench.ffi"
  local text = M.text(columns, rows)
  ffi.check(ffi.C.kvb_file_write(path, text, #text))
  return path
end

return M
