-- SPDX-License-Identifier: Apache-2.0
-- Makes every allocation of an action fail, one after the other, and looks at what that leaves behind.
local C = require("kvbench.ffi").C
local t = require "kvbench.testing"

local M = {}

--- Library bytes in use once nothing is garbage any more. `most`: enough collected when that few are left.
function M.live(most)
  local bytes
  for _ = 1, 3 do
    collectgarbage()
    bytes = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
    if most and bytes <= most then break end
  end
  return bytes
end

--- An error that a user can read: one line of reason, perhaps one of what to do next.
function M.clear(message, pattern, where)
  message = tostring(message)
  t.ok(message:find(pattern), ("%s: said '%s', expected a match for '%s'"):format(where, message, pattern))
  local _, lines = message:gsub("\n", "")
  t.ok(lines == 0 or (lines == 1 and message:find "\n%->"), where .. ": more than a line and a hint: " .. message)
  message = message:gsub("press '[%w_]+' %b()", "press") -- where a rule failed is for its author to know
  t.ok(not message:find "%.lua:%d", where .. ": names a place in our code: " .. message)
end

-- sign 1: only the n-th allocation fails; -1: the n-th and all after it.
local function round(n, sign, action)
  C.kvb_memory_fail_nth(sign * n)
  local ok, result = pcall(action)
  C.kvb_memory_fail_nth(0)
  return ok, result
end

--- Runs action() with its n-th allocation failing, n = 1, 1 + step, ... (KVB_FAULT_STEP, 1 unless told) until it no
--- longer reaches the n-th; then with the n-th and all later ones failing. Each time: either the value of the
--- undisturbed run, or a clear error; the byte counters return to where they began. action must return a comparable
--- value and keep nothing. Returns how often an error came through.
function M.every_allocation(name, action)
  local step, expected = tonumber(os.getenv "KVB_FAULT_STEP" or 1), action()
  t.eq(action(), expected, name .. ": repeated")
  local before, failures = M.live(), 0
  for _, sign in ipairs { 1, -1 } do
    local n, seen = 1, nil
    repeat
      local count = tonumber(C.kvb_memory_allocations())
      local where = ("%s, allocation %d%s"):format(name, n, sign < 0 and " and all after it" or "")
      local ok, result = round(n, sign, action)
      seen = tonumber(C.kvb_memory_allocations()) - count
      if ok then
        t.eq(result, expected, where)
      else
        failures = failures + 1
        M.clear(result, "out of memory", where)
      end
      local now = M.live(before)
      t.ok(now <= before, ("%s: %d bytes before, %d after"):format(where, before, now))
      t.ok(n < 20000, where .. ": no end")
      n = n + step
    until ok and seen < n
  end
  t.eq(action(), expected, name .. ": afterwards")
  return failures
end

return M
