-- SPDX-License-Identifier: Apache-2.0
-- What the caller of a Lua function gave, looked at where it comes in: a slip is one line about that call, not a
-- position deep inside. `call` is how the caller wrote it: "ctx:generate".
local text = require "kvbench.text"

local M = {}

--- A value as messages name it: 'word', 3, nil, a table.
function M.show(value)
  local kind = type(value)
  if kind == "string" then return "'" .. value:gsub("%c", " "):sub(1, 60) .. "'" end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return "a " .. kind
end

--- The options of a call, {} for nil. An error unless they are a table and every name is a key of `known`.
function M.options(call, options, known)
  if options == nil then return {} end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  if type(options) ~= "table" then
    table.sort(names)
    error(("%s: options are a table, got %s -> {name = value}; names: %s"):format(call, M.show(options),
      table.concat(names, ", ")), 0)
  end
  for name in pairs(options) do
    if not known[name] then
      error(("%s: no option %s %s"):format(call, M.show(name), text.suggest(tostring(name), names)), 0)
    end
  end
  return options
end

local function is_whole(value) return type(value) == "number" and value % 1 == 0 end

--- Does value count one of n things, from 0?
function M.counts(value, n) return is_whole(value) and value >= 0 and value < n end

--- `value` when it is a whole number from low on that C's int can hold; else an error that says so.
function M.whole(call, name, value, low)
  if is_whole(value) and value >= low and value < 2 ^ 31 then return value end
  error(("%s: %s is %s -> a whole number from %d on"):format(call, name, M.show(value), low), 0)
end

--- A file name; anything else is an error.
function M.path(call, path)
  if type(path) == "string" and path ~= "" and not path:find "%z" then return path end
  error(("%s: expected a file name, got %s"):format(call, path == "" and "an empty text" or M.show(path)), 0)
end

--- An array of token ids; an error names the first element that cannot be one. What a vocabulary has is the engine's to
--- check.
function M.ids(call, ids)
  if type(ids) ~= "table" then
    error(("%s: expected an array of token ids, got %s"):format(call, M.show(ids)), 0)
  end
  for i = 1, #ids do
    local id = ids[i]
    if not is_whole(id) or id < -2 ^ 31 or id >= 2 ^ 31 then
      error(("%s: token %d of %d is %s -> token ids are whole numbers, as model:ids(text) gives them"):format(call, i,
        #ids, M.show(id)), 0)
    end
  end
  return ids
end

return M
