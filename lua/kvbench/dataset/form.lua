-- SPDX-License-Identifier: Apache-2.0
-- The forms that foreign records come in, each a file in form/: matches(value) tells it by a line's fields, convert
-- makes records of it. Found by name or, line by line, by what matches first.
local text = require "kvbench.text"

local M = { names = { "own", "squad", "longbench" } }

local function load(name) return require("kvbench.dataset.form." .. name) end

local function choose(value)
  for _, name in ipairs(M.names) do
    local found = load(name)
    if found.matches(value) then return found end
  end
end

--- A reader of decoded lines: push(value, line, emit) and finish(emit) call emit(record, line) or
-- emit(nil, line, reason, field). Consecutive lines of one passage become one record.
function M.reader(name)
  if name and not pcall(load, name) then
    error(("unknown form '%s' %s"):format(tostring(name), text.suggest(name, M.names)), 0)
  end
  local fixed = name and load(name)
  local open, open_line -- the record that further questions may join
  local reader = {}

  function reader.finish(emit)
    if open then emit(open, open_line) end
    open = nil
  end

  function reader.push(value, line, emit)
    local found = fixed or choose(value)
    if not found then
      reader.finish(emit)
      local keys = {}
      for key in pairs(value) do keys[#keys + 1] = tostring(key) end
      table.sort(keys)
      return emit(nil, line, ("record: not a form that is known (passage and questions, SQuAD, LongBench); its fields: "
        .. "%s"):format(#keys > 0 and table.concat(keys, ", ", 1, math.min(#keys, 8)) or "none"), "record")
    end
    local function put(record, problem, field)
      if problem then
        reader.finish(emit)
        return emit(record, line, problem, field)
      end
      if found.join and open and open.passage == record.passage and found.join(open, record) then return end
      reader.finish(emit)
      if found.join then open, open_line = record, line else emit(record, line) end
    end
    local ok, problem = pcall(found.convert, value, line, put)
    if not ok then put(nil, "record: malformed: " .. tostring(problem):gsub("^.-:%d+: ", ""), "record") end
  end

  return reader
end

return M
