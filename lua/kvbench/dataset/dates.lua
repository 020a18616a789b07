-- SPDX-License-Identifier: Apache-2.0
-- Dates as the passages write them ("September 7, 1962") and the other forms that count as the same answer.
local months = require("kvbench.dataset.pools").months

local M = {}

--- A date drawn from stream r between two years, both included: {text, day, month (name), year, aliases}.
function M.draw(r, from, to)
  local year, month, day = r:int(from, to), r:int(1, 12), r:int(1, 28)
  return M.of(year, month, day)
end

--- The same of a given day: year, month (1 to 12), day (1 to 28).
function M.of(year, month, day)
  local name = months[month]
  return {
    text = ("%s %d, %d"):format(name, day, year), day = day, month = name, year = tostring(year),
    aliases = {
      ("%d %s %d"):format(day, name, year), ("%s %d %d"):format(name, day, year),
      ("%04d-%02d-%02d"):format(year, month, day), ("%d/%d/%d"):format(month, day, year),
    },
  }
end

return M
