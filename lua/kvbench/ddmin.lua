-- SPDX-License-Identifier: Apache-2.0
-- A 1-minimal part of a list that still passes a test: leaving out any single item fails it. Delta debugging (Zeller
-- and Hildebrandt, IEEE TSE 28, 2002). Other minimal parts of other sizes may exist; none inside this one does by one
-- item.
local M = {}

local function without(items, from, to)
  local out = {}
  for i, item in ipairs(items) do if i < from or i > to then out[#out + 1] = item end end
  return out
end

--- items: list; test(list) -> boolean, true for the whole list (an error otherwise); limit: tests at most (default
-- 1,000). Returns the part, tests run, and whether it is known to be 1-minimal (false when the limit was hit).
function M.find(items, test, limit)
  local runs = 0
  limit = limit or 1000
  local function passes(list)
    runs = runs + 1
    return test(list)
  end
  if not passes(items) then error("ddmin: the whole list does not pass -> nothing to minimise", 0) end
  local parts = 2
  while #items >= 1 do
    local size, smaller = math.ceil(#items / parts), nil
    for from = 1, #items, size do
      if runs >= limit then return items, runs, false end
      local rest = without(items, from, math.min(#items, from + size - 1))
      if #rest < #items and passes(rest) then
        smaller = rest
        break
      end
    end
    if smaller then
      items, parts = smaller, math.max(2, parts - 1)
    elseif size == 1 then
      return items, runs, true
    else
      parts = math.min(#items, parts * 2)
    end
  end
  return items, runs, true
end

return M
