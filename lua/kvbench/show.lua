-- SPDX-License-Identifier: Apache-2.0
-- A value as the prompt shows it: bounded in depth and length whatever is given, keys in a fixed order.
local M = {}

local DEPTH, ENTRIES, STRING, LINE = 3, 24, 400, 100

local function own_tostring(v)
  local mt = getmetatable(v)
  return type(mt) == "table" and mt.__tostring ~= nil
end

local function quoted(s)
  local cut = #s > STRING and ("... (%d bytes)"):format(#s) or ""
  local escaped = s:sub(1, STRING):gsub('[%c"\\]', function(c)
    local short = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }
    return short[c] or ("\\%03d"):format(c:byte())
  end)
  return '"' .. escaped .. '"' .. cut
end

local function key_order(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta < tb end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

-- Short parts (numbers), as many on a line as fit.
local function packed(parts, indent)
  local lines, line = {}, ""
  for i, part in ipairs(parts) do
    local piece = part .. (i < #parts and "," or "")
    if line ~= "" and #indent + #line + #piece + 1 > LINE then lines[#lines + 1], line = line, "" end
    line = line == "" and piece or line .. " " .. piece
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. indent)
end

local render

local function render_table(t, indent, depth)
  if next(t) == nil then return "{}" end
  if depth == 0 then return "{...}" end
  local parts, shown, total, numbers = {}, 0, 0, #t > 0
  local function add(part)
    total = total + 1
    if shown < ENTRIES then shown, parts[shown + 1] = shown + 1, part end
  end
  local inner = indent .. "  "
  for i = 1, #t do
    numbers = numbers and type(t[i]) == "number"
    add(shown < ENTRIES and render(t[i], inner, depth - 1))
  end
  local keys = {}
  for k in pairs(t) do
    if not (type(k) == "number" and k >= 1 and k <= #t and k == math.floor(k)) then keys[#keys + 1] = k end
  end
  table.sort(keys, key_order)
  for _, k in ipairs(keys) do
    local name = "[" .. (type(k) == "string" and quoted(k) or tostring(k)) .. "]"
    if type(k) == "string" and k:find("^[%a_][%w_]*$") then name = k end
    add(shown < ENTRIES and name .. " = " .. render(t[k], inner, depth - 1))
  end
  if total > shown then parts[shown + 1] = ("... %d more"):format(total - shown) end
  local flat = "{ " .. table.concat(parts, ", ") .. " }"
  if #indent + #flat <= LINE and not flat:find("\n", 1, true) then return flat end
  local body = numbers and #keys == 0 and packed(parts, inner) or table.concat(parts, ",\n" .. inner)
  return "{\n" .. inner .. body .. "\n" .. indent .. "}"
end

function render(v, indent, depth)
  local kind = type(v)
  if kind == "string" then return quoted(v) end
  if kind == "number" then
    local whole = v == math.floor(v) and math.abs(v) < 1e15
    return (whole and "%d" or "%.7g"):format(v)
  end
  if kind == "function" then
    local info = debug.getinfo(v, "S")
    if info.linedefined < 1 and info.what ~= "main" then return "function (built in)" end
    return ("function (%s:%d)"):format(info.short_src, info.linedefined)
  end
  if kind == "table" and not own_tostring(v) then return render_table(v, indent, depth) end
  return (tostring(v):gsub("\n", "\n" .. indent))
end

--- Text of any value. A __tostring is trusted and printed as it is; an error in it is shown, not raised.
function M.value(v)
  local ok, shown = pcall(render, v, "", DEPTH)
  return ok and shown or "<" .. type(v) .. ", whose __tostring failed: " .. tostring(shown) .. ">"
end

return M
