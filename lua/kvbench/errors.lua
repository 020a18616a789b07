-- SPDX-License-Identifier: Apache-2.0
-- From whatever was raised to what a person reads. Two kinds of errors, told apart by Lua's position prefix:
--   without one   raised with error(text, 0): about the user's input, printed as it stands
--   with one      a mistake in code (ours or the script's): file:line and the few calls that led there
-- Error objects with .exit (from kv.args) carry their own exit status. KVB_TRACE=1 adds the whole traceback to any of
-- them.
local M = {}

local FRAMES = 6

-- The position prefix of `message` when one of the functions on the stack is at that position.
local function raised_in_code(message)
  for level = 3, 40 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    local prefix = info.short_src .. ":" .. info.currentline .. ": "
    if info.currentline > 0 and message:sub(1, #prefix) == prefix then return true end
  end
  return message:find("^[^\n:]*%.lua:%d+: ") ~= nil -- raised further in, caught and raised again
end

local function short_trace()
  local lines = {}
  for level = 3, 60 do
    local info = debug.getinfo(level, "nSl")
    if not info or #lines == FRAMES then break end
    if info.short_src:find("kvbench/cli.lua", 1, true) then break end
    if info.currentline > 0 then
      local name = info.name and (" in '" .. info.name .. "'") or info.what == "main" and " in the script" or ""
      lines[#lines + 1] = "  " .. info.short_src .. ":" .. info.currentline .. name
    end
  end
  return #lines > 1 and "\n" .. table.concat(lines, "\n") or ""
end

--- The handler for xpcall: returns a table {text =, exit =}.
function M.handler(raised)
  local exit = type(raised) == "table" and raised.exit or 1
  local message = tostring(raised)
  if type(raised) == "table" and not (getmetatable(raised) or {}).__tostring then
    message = "an error object without a text was raised (" .. message .. ")"
  end
  local in_code = type(raised) == "string" and raised_in_code(raised)
  local trace = ""
  if os.getenv("KVB_TRACE") then
    trace = "\n" .. debug.traceback("", 2):gsub("^\n", "")
  elseif in_code then
    trace = short_trace()
  end
  message = message:gsub("(module '[^']+' not found):\n\t.*", "%1") -- the list of places searched helps nobody
  message = message:gsub("\n%s*%->", " ->") -- a library's hint belongs to the same line
  if exit ~= 0 and not in_code then message = message:gsub("\n", "?") end -- of a name in it: such a message is one line
  return { text = message, trace = trace, exit = exit }
end

--- Calls fn(...) and returns true and its results, or false and {text =, trace =, exit =}.
function M.call(fn, ...)
  return xpcall(fn, M.handler, ...)
end

return M
