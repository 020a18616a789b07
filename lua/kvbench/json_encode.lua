-- SPDX-License-Identifier: Apache-2.0
-- JSON text with a stable key order, so that equal tables give equal bytes and can be hashed.
local M = {}

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b",
  ["\f"] = "\\f" }
local function escape(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end

local function quote(s)
  if not s:find('[%c"\\]') then return '"' .. s .. '"' end
  return '"' .. s:gsub('[%z\1-\31\127"\\]', escape) .. '"'
end

local function number(v)
  if v ~= v or v == math.huge or v == -math.huge then error("json: " .. tostring(v) .. " has no JSON form", 0) end
  if v == math.floor(v) and math.abs(v) < 2 ^ 53 then return ("%d"):format(v) end
  local short = ("%.14g"):format(v)
  return tonumber(short) == v and short or ("%.17g"):format(v)
end

-- Keys by their rank in `order`, the others after them by name.
local function sorted_keys(t, order)
  local keys = {}
  for k in pairs(t) do
    if type(k) ~= "string" then error("json: a table mixes string keys with key " .. tostring(k), 0) end
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    local ra, rb = order[a] or math.huge, order[b] or math.huge
    if ra ~= rb then return ra < rb end
    return a < b
  end)
  return keys
end

local write

local function write_array(v, out, order)
  out[#out + 1] = "["
  for i = 1, #v do
    if i > 1 then out[#out + 1] = "," end
    write(v[i], out, order)
  end
  out[#out + 1] = "]"
end

write = function(v, out, order)
  local kind = type(v)
  if kind == "string" then out[#out + 1] = quote(v)
  elseif kind == "number" then out[#out + 1] = number(v)
  elseif kind == "boolean" then out[#out + 1] = v and "true" or "false"
  elseif v == nil or v == M.null then out[#out + 1] = "null"
  elseif kind == "table" then
    if v[1] ~= nil or next(v) == nil and getmetatable(v) ~= M.object then return write_array(v, out, order) end
    out[#out + 1] = "{"
    for i, k in ipairs(sorted_keys(v, order)) do
      out[#out + 1] = i > 1 and "," .. quote(k) .. ":" or quote(k) .. ":"
      write(v[k], out, order)
    end
    out[#out + 1] = "}"
  else
    error("json: a " .. kind .. " has no JSON form", 0)
  end
end

M.null = setmetatable({}, { __tostring = function() return "null" end })
M.object = {}

--- JSON text of a value on one line. Tables with a first element, and empty ones, are arrays
-- (setmetatable({}, json_encode.object) is an empty object). Keys come in the order of the list `order`, then by name.
-- Numbers that are not finite, functions and cdata are errors. Strings are taken as UTF-8 and not checked.
function M.encode(value, order)
  local rank = {}
  for i, key in ipairs(order or {}) do rank[key] = i end
  local out = {}
  write(value, out, rank)
  return table.concat(out)
end

return M
