-- SPDX-License-Identifier: Apache-2.0
-- Parameters of a press: declared in its file, checked when someone sets them. A declaration is a default
-- (`window_size = 64`) or a table {default = , min = , max = , integer = true, kind = , optional = true, doc = }. The type
-- is the default's, or one of these kinds:
--   press     a name, a spec or a press
--   presses   a list of those; a spec may say at which share of the ratio it works (ratio = "ratio/2")
--   ratios    a list of shares in [0, 1)
--   share     a number, or an expression of the ratio ("ratio", "1-ratio"); rules call ratios.expression
--   seed      a number or a text
local ratios = require "kvbench.ratios"
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

-- {press = name, ratio = expression, ...} or anything that makes a press -> {press = Press, ratio = , share = function}
local function member(press, name, value, build)
  local spec, ratio = value, nil
  if type(value) == "table" and value.press and value.ratio ~= nil then
    spec, ratio = {}, value.ratio
    for key, x in pairs(value) do if key ~= "ratio" then spec[key] = x end end
  end
  local share = ratio ~= nil and ratios.expression(ratio, ("press '%s': %s"):format(press, name)) or nil
  return { press = build(spec), ratio = ratio, share = share }
end

local function list(press, name, value, wanted, fn)
  if type(value) ~= "table" or #value == 0 then fail(press, name, value, wanted) end
  local out = {}
  for i, x in ipairs(value) do out[i] = fn(x) end
  return out
end

local kinds = {
  press = function(_, _, value, build) return build(value) end,
  presses = function(press, name, value, build)
    return list(press, name, value, "a list of presses", function(x) return member(press, name, x, build) end)
  end,
  ratios = function(press, name, value)
    return list(press, name, value, "a list of ratios", function(x)
      if type(x) ~= "number" or not (x >= 0 and x < 1) then fail(press, name, x, "ratios in [0, 1)") end
      return x
    end)
  end,
  share = function(press, name, value)
    ratios.expression(value, ("press '%s': %s"):format(press, name))
    return value
  end,
  seed = function(press, name, value)
    if type(value) ~= "number" and type(value) ~= "string" then fail(press, name, value, "a number or a text") end
    return value
  end,
}

local function check(press, name, value, d, build)
  if kinds[d.kind] then return kinds[d.kind](press, name, value, build) end
  if d.kind == "number" then
    if type(value) ~= "number" or value ~= value then fail(press, name, value, "a number") end
    if d.integer and value % 1 ~= 0 then fail(press, name, value, "a whole number") end
    if d.min and value < d.min then fail(press, name, value, "at least " .. d.min) end
    if d.max and value > d.max then fail(press, name, value, "at most " .. d.max) end
  elseif type(value) ~= d.kind then
    fail(press, name, value, "a " .. d.kind)
  end
  return value
end

--- The kind of a parameter of a rule.
function M.kind(rule, name) return declaration(rule.params[name]).kind end

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

-- A value as labels show it.
local function shown(value)
  if type(value) == "number" then return ("%.6g"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  if value.label then return value:label() end
  local parts = {}
  for i, x in ipairs(value) do
    local ratio = type(x) == "table" and x.ratio
    parts[i] = type(x) == "table" and x.press:label() .. (ratio and "@" .. tostring(ratio) or "") or shown(x)
  end
  return table.concat(parts, type(value[1]) == "table" and "+" or "/")
end

--- "a=1, b=x" of the parameters that differ from `base` (a table of values), sorted by name.
function M.difference(rule, values, base)
  local parts = {}
  for _, name in ipairs(M.names(rule)) do
    if shown(values[name]) ~= shown(base[name]) then parts[#parts + 1] = name .. "=" .. shown(values[name]) end
  end
  return table.concat(parts, ", ")
end

return M
