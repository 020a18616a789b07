-- SPDX-License-Identifier: Apache-2.0
-- Parameters of a press: declared in its file, checked when someone sets them. A declaration is a default
-- (`window_size = 64`) or a table {default = , min = , max = , integer = true, kind = , optional = true, doc = }. The
-- type is the default's, or one of these kinds (number, boolean, string, or):
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
  if type(value) == "table" then shown = next(value) == nil and "{}" or "a table" end
  error(("press '%s': %s = %s, expected %s"):format(press, name, shown, wanted), 0)
end

local A_PRESS = "a press: a name, a file, {press = name, parameter = value} or {name =, score =}"

-- `value` as a press, by build(); what cannot be one is told with the parameter that it was given for.
local function inner_press(press, name, value, build)
  local whole = type(value) == "string" or type(value) == "table"
    and (value.label or value.name or type(value.press) == "string" or type(value.press) == "table")
  if not whole then fail(press, name, value, A_PRESS) end
  return build(value)
end

-- {press = name, ratio = expression, ...} or anything that makes a press -> {press = Press, ratio = , share = function}
local function member(press, name, value, build)
  local spec, ratio = value, nil
  if type(value) == "table" and value.press and value.ratio ~= nil then
    spec, ratio = {}, value.ratio
    for key, x in pairs(value) do if key ~= "ratio" then spec[key] = x end end
  end
  local share = ratio ~= nil and ratios.expression(ratio, ("press '%s': %s"):format(press, name)) or nil
  if type(ratio) == "number" and not (ratio >= 0 and ratio < 1) then
    fail(press, name .. ": ratio", ratio, "a share in [0, 1), or an expression such as \"ratio/2\"")
  end
  return { press = inner_press(press, name, spec, build), ratio = ratio, share = share }
end

local function list(press, name, value, wanted, fn)
  if type(value) ~= "table" or #value == 0 then fail(press, name, value, wanted) end
  local out = {}
  for i, x in ipairs(value) do out[i] = fn(x) end
  return out
end

local kinds = {
  press = inner_press,
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

-- Names under which other libraries take what press:keep(ctx, ratio) takes here.
local RATIO_NAMES = { ratio = true, compression_ratio = true, budget = true }

local function unknown(rule, name)
  local names, hint = M.names(rule), nil
  if RATIO_NAMES[name] then hint = "-> a ratio is asked for: press:keep(ctx, 0.9), ratios = {0.5, 0.9} in a sweep"
  elseif type(name) == "number" then hint = "-> parameters have names: {name = value}"
  else hint = #names == 0 and "-> it has no parameters" or text.suggest(tostring(name), names) end
  error(("press '%s' has no parameter '%s' %s"):format(rule.name, tostring(name), hint), 0)
end

--- An error unless the declarations of a rule's parameters make sense.
function M.check_declared(rule)
  if rule.params ~= nil and type(rule.params) ~= "table" then
    error(("press '%s': params = %s -> a table such as {window = 8}"):format(rule.name, tostring(rule.params)), 0)
  end
  for name in pairs(rule.params or {}) do
    local kind = type(name) == "string" and M.kind(rule, name)
    if not kind then
      error(("press '%s': params[%s] has no name -> params = {window = 8}"):format(rule.name, tostring(name)), 0)
    end
    if not kinds[kind] and kind ~= "number" and kind ~= "boolean" and kind ~= "string" then
      error(("press '%s': the parameter '%s' is of kind '%s' -> a default, or kind = number, boolean, string, press, "
        .. "presses, ratios, share, seed"):format(rule.name, name, kind), 0)
    end
  end
end

--- All parameters with their values: `given` over `preset` over the declared defaults. build(x) makes a press of a
--- parameter of kind "press". Unknown names and values out of range are errors; so is a missing one, unless `partial`.
function M.resolve(rule, given, preset, build, partial)
  local out, declared = {}, rule.params or {}
  for name in pairs(given) do
    if declared[name] == nil then unknown(rule, name) end
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
