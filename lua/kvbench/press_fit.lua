-- SPDX-License-Identifier: Apache-2.0
-- Methods of a press for contexts that are too short for its parameters, here and in the sandbox's child: what is used
-- instead is noted. self: {params = {name = number}, note = function(self, text)}.
local M = {}

local function number(self, method, name)
  local value = self.params[name]
  if type(value) == "number" then return value end
  error(("self:%s: parameter '%s' is %s, expected a number"):format(method, tostring(name), tostring(value)), 3)
end

--- Parameter `name`, or `most` where the context is too short for it (noted).
function M.at_most(self, name, most)
  local value = number(self, "at_most", name)
  if value <= most then return value end
  self:note(("%s %s -> %s, the context is short"):format(name, value, most))
  return most
end

--- Parameter `name`, a number of last tokens, where the context has more than that; half of a shorter one, for which
--- KVPress raises (noted).
function M.last_of(self, name, tokens)
  local value = number(self, "last_of", name)
  if value < tokens then return value end
  return M.at_most(self, name, math.floor(tokens / 2))
end

return M
