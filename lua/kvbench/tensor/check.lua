-- SPDX-License-Identifier: Apache-2.0
-- What arguments of the tensor API may be, said in one line that names the call, the argument and what was given. A
-- wrong
-- number must end here: further in, it would be a pointer.
local core = require "kvbench.tensor.core"

local function shown(x)
  if type(x) == "number" then return tostring(x) end
  return type(x) == "string" and "'" .. x .. "'" or "a " .. type(x)
end

--- x, a number; or an error naming the call and the argument.
function core.number(op, what, x)
  if type(x) ~= "number" then error(("%s: %s is %s, expected a number"):format(op, what, shown(x)), 0) end
  return x
end

--- x, a whole number from `low` (any, unless told) below 2^53.
function core.whole(op, what, x, low)
  if type(x) ~= "number" or x % 1 ~= 0 or math.abs(x) >= 2 ^ 53 or low and x < low then
    error(("%s: %s is %s, expected a whole number%s"):format(op, what, shown(x), low and " from " .. low or ""), 0)
  end
  return x
end

--- A fresh list of whole numbers from a list or from the arguments themselves.
function core.wholes(op, what, low, ...)
  local first, out = ..., {}
  local list = type(first) == "table" and first or { ... }
  for i = 1, type(first) == "table" and #first or select("#", ...) do
    out[i] = core.whole(op, ("%s %d"):format(what, i), list[i], low)
  end
  return out
end
