-- SPDX-License-Identifier: Apache-2.0
-- Parameters of a press: declared in its file, checked when someone sets them. A declaration is a default
-- (`window_size = 64`) or a table {default = , min = , max = , integer = true, kind = "press", optional = true, doc =
-- }. The type is the default's; kind "press" takes a name, a spec or a press.
local text = require "kvbench.text"

local M = {}

local function declaration(given)
  if type(given) ~= "table" then given = { default = given } end
  return setmetatable({ kind = given.kind or type(given.default) }, { __index = given })
end

--- Parameter names of a rule, sorted.
function M.names(rule)
  local names = {}
  for name in pairs(rule.params or {}) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function fail(press, name, value, wanted)
  local shown = type(value) == "string" and "'" .. value .. "'" or tostring(value)
  error(("press '%s': %s = %s, expected %s"):format(press, name, shown, wanted), 0)
end

local function check(press, name, value, d, build)
  if d.kind == "press" then return build(value) end
  if d.kind == "number" then
    if type(value) ~= "number" or value ~= value then fail(press, name, value, "a number") end
    if d.integer and value % 1 ~= 0 then fail(press, name, value, "a whole number") end
    if d.min and value < d.min then fail(press, name, value, "at least " .. d.min) end
    if d.max and value > d.max then fail(press, name, value, "at most " .. d.max) end
  elseif d.kind ~= "seed" and type(value) ~= d.kind then
    fail(press, name, value, "a " .. d.kind)
  elseif d.kind == "seed" and type(value) ~= "number" and type(value) ~= "string" then
    fail(press, name, value, "a number or a text")
  end
  return value
end

--- All parameters with their values: `given` over `preset` over the declared defaults. build(x) makes a press of a
--- parameter of kind "press". Unknown names and values out of range are errors; so is a missing one, unless `partial`.
function M.resolve(rule, given, preset, build, partial)
  local out, declared = {}, rule.params or {}
  for name in pairs(given) do
    if declared[name] == nil then
      local names = M.names(rule)
      local hint = #names == 0 and "-> it has no parameters" or text.suggest(tostring(name), names)
      error(("press '%s' has no parameter '%s' %s"):format(rule.name, tostring(name), hint), 0)
    end
  end
  for _, name in ipairs(M.names(rule)) do
    local d = declaration(declared[name])
    local value = given[name]
    if value == nil then value = preset[name] end
    if value == nil then value = d.default end
    if value ~= nil then
      out[name] = check(rule.name, name, value, d, build)
    elseif not d.optional and not partial then
      error(("press '%s' needs the parameter '%s'%s"):format(rule.name, name, d.doc and " (" .. d.doc .. ")" or ""), 0)
    end
  end
  return out
end

--- "a=1, b=x" of the parameters that differ from `base` (a table of values), sorted by name.
function M.difference(rule, values, base)
  local parts = {}
  for _, name in ipairs(M.names(rule)) do
    local value, usual = values[name], base[name]
    local shown = type(value) == "table" and value:label() or value
    local shown_usual = type(usual) == "table" and usual:label() or usual
    if shown ~= shown_usual then
      parts[#parts + 1] = name .. "=" .. (type(shown) == "number" and ("%.6g"):format(shown) or tostring(shown))
    end
  end
  return table.concat(parts, ", ")
end

return M
