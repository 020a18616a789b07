-- SPDX-License-Identifier: Apache-2.0
-- The test vocabulary of tests/lua: cases, near-equality, expected failures, counted skips.
-- A case that errors fails; a file that defines no case fails too, so that a typo cannot pass silently.
local M = { passed = 0, failed = 0, skipped = 0 }

local function show(v)
  if type(v) == "string" then return string.format("%q", v) end
  if type(v) ~= "table" then return tostring(v) end
  local parts = {}
  for i = 1, math.min(#v, 8) do parts[#parts + 1] = show(v[i]) end
  if #v == 0 then for k, x in pairs(v) do parts[#parts + 1] = tostring(k) .. "=" .. tostring(x) end end
  return "{" .. table.concat(parts, ", ") .. (#v > 8 and ", ..." or "") .. "}"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

--- Runs fn: a case passes when nothing is raised.
function M.case(name, fn)
  local ok, err = xpcall(fn, function(e) return type(e) == "string" and debug.traceback(e, 2) or e end)
  if ok then
    M.passed = M.passed + 1
  else
    M.failed = M.failed + 1
    io.stdout:write("FAIL ", name, "\n     ", tostring(err):gsub("\n", "\n     "), "\n")
  end
end

--- Counts a case that cannot run here, and says why.
function M.skip(name, reason)
  M.skipped = M.skipped + 1
  io.stdout:write("skip ", name, " (", reason, ")\n")
end

--- cond must be true (neither nil nor false).
function M.ok(cond, message) if not cond then error(message or "expected a true value", 2) end end

--- a and b must be equal; tables by their contents.
function M.eq(a, b, message)
  if same(a, b) then return end
  error((message and message .. ": " or "") .. "got " .. show(a) .. ", expected " .. show(b), 2)
end

--- a must lie within tol (1e-9) of b. NaN never passes: the comparison is written so that it has to be true, not merely
--- not false.
function M.near(a, b, tol, message)
  if not (type(a) == "number" and math.abs(a - b) <= (tol or 1e-9)) then
    error(string.format("%sgot %s, expected %s within %g", message and message .. ": " or "", tostring(a), tostring(b),
      tol or 1e-9), 2)
  end
end

--- fn must raise an error whose text matches the Lua pattern; returns the text.
function M.fails(fn, pattern)
  local ok, err = pcall(fn)
  if ok then error("expected an error matching '" .. pattern .. "', but nothing was raised", 2) end
  if tostring(err):find(pattern) then return tostring(err) end
  error("error was: " .. tostring(err) .. "\nexpected a match for: " .. pattern, 2)
end

--- The bytes of a file that must be there.
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

--- Prints the closing line and returns true when nothing failed and something ran.
function M.finish()
  io.stdout:write(string.format("%d passed, %d failed, %d skipped\n", M.passed, M.failed, M.skipped))
  return M.failed == 0 and M.passed + M.skipped > 0
end

return M
