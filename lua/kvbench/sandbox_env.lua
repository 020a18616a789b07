-- SPDX-License-Identifier: Apache-2.0
-- What foreign code sees inside the sandbox's child: a few tables of functions, and tensors as userdata that know their
-- methods and nothing else. No io, os, ffi, debug, package, load, bytecode, environments or metatables of others; no
-- cdata ever, since a cdata is a pointer. That all this holds is not relied on: the process itself can do nothing.
local core = require "kvbench.tensor.core"
local tensor = require "kvbench.tensor"

local M = {}

-- ---- tensors as userdata ----

local cdata_of = setmetatable({}, { __mode = "k" }) -- userdata -> tensor
local hidden = { pointer = true, close = true, cuda = true } -- methods that hand out pointers, end storage, move it
local template = newproxy(true)
local wrap

local function unwrap(value, depth)
  local kind = type(value)
  if kind == "userdata" then
    local t = cdata_of[value]
    if not t then error("this is not a tensor", 0) end
    return t
  end
  if kind == "table" then
    if (depth or 0) > 4 then error("a table inside a table inside a table is no argument", 0) end
    local out = {}
    for k, v in next, value do out[k] = unwrap(v, (depth or 0) + 1) end
    return out
  end
  if kind == "function" or kind == "thread" or kind == "cdata" then error("a " .. kind .. " is no argument here", 0) end
  return value
end

local function wrap_all(...)
  local out = { n = select("#", ...), ... }
  for i = 1, out.n do out[i] = wrap(out[i]) end
  return unpack(out, 1, out.n)
end

function wrap(value)
  if tensor.is(value) then
    local proxy = newproxy(template)
    cdata_of[proxy] = value
    return proxy
  end
  if type(value) == "table" then
    local out = {}
    for k, v in next, value do out[k] = wrap(v) end
    return out
  end
  if type(value) == "cdata" then return tonumber(value) end
  if type(value) == "function" or type(value) == "userdata" then return nil end
  return value
end

M.wrap, M.unwrap = wrap, unwrap

local function call(fn)
  return function(...)
    local n, given = select("#", ...), { ... }
    for i = 1, n do given[i] = unwrap(given[i]) end
    return wrap_all(fn(unpack(given, 1, n)))
  end
end

local methods = {}
for name, fn in pairs(core.methods) do
  if type(fn) == "function" and not hidden[name] then methods[name] = call(fn) end
end

local meta = getmetatable(template)
meta.__index = function(proxy, key)
  if type(key) == "string" then
    if key == "ndim" then return cdata_of[proxy].ndim end
    if key == "device" then return "cpu" end
    local method = methods[key]
    if method then return method end
    error(("tensor: no method '%s' in the sandbox"):format(key:sub(1, 40)), 0)
  end
  return wrap(cdata_of[proxy][unwrap(key)])
end
meta.__newindex = function(proxy, key, value)
  if type(key) ~= "number" and type(key) ~= "table" then error("tensor: only parts of it can be set: t[i] = x", 0) end
  cdata_of[proxy][unwrap(key)] = unwrap(value) -- a field's name would set the field: t.data = address
end
meta.__len = function(proxy) return cdata_of[proxy]:size(1) end
meta.__metatable = "tensor"
for name, operator in pairs(core.operators) do meta[name] = call(operator) end

local makers = {}
for _, name in ipairs { "zeros", "ones", "full", "arange", "linspace", "eye", "causal_mask", "where", "cat", "stack",
  "rand", "randn", "randint", "randperm", "bernoulli", "from" } do
  makers[name] = call(tensor[name])
end
makers.is = function(x) return cdata_of[x] ~= nil end

-- ---- everything else ----

local function copy(t, names)
  local out = {}
  for name in names:gmatch "%S+" do out[name] = t[name] end
  return out
end

-- Tables of theirs only: a string's or a tensor's metatable is shared with code that trusts it.
local function own_metatable(t)
  if type(t) ~= "table" then return nil end
  return getmetatable(t)
end

local function require_inside(name)
  if name == "kvbench.tensor" then
    return copy(makers, "zeros ones full arange linspace eye causal_mask where cat stack rand randn randint randperm "
      .. "bernoulli from is")
  end
  if name == "kvbench" then return { tensor = require_inside "kvbench.tensor" } end
  if name == "kvbench.press_parts" then
    return { score = function(inner, ctx, ratio) return inner:score(ctx, ratio) end }
  end
  error(("require '%s': the sandbox has kvbench.tensor and kvbench.press_parts alone"):format(
    tostring(name):sub(1, 60)), 0)
end

--- A fresh global table for a chunk of foreign code.
function M.environment()
  local env = copy(_G, "assert error ipairs next pairs pcall select tonumber tostring type unpack xpcall rawequal "
    .. "rawget rawset _VERSION")
  env.setmetatable = function(t, m)
    if type(t) ~= "table" then error("setmetatable: a table is needed", 2) end
    return setmetatable(t, m)
  end
  env.getmetatable = own_metatable
  env.math = copy(math, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min "
    .. "modf pi pow rad sin sinh sqrt tan tanh")
  env.string = copy(string, "byte char find format gmatch gsub len lower match rep reverse sub upper")
  env.table = copy(table, "concat insert maxn remove sort")
  env.coroutine = copy(coroutine, "create resume running status wrap yield")
  env.print = function() end -- nobody listens
  env.require = require_inside
  env._G = env
  return env
end

--- Takes from this process's Lua what foreign code could reach through strings; cannot be undone.
function M.close_doors()
  local meta_of_strings = getmetatable ""
  meta_of_strings.__index = copy(string, "byte char find format gmatch gsub len lower match rep reverse sub upper")
  meta_of_strings.__metatable = "string"
end

--- The function of a text, in a fresh environment; bytecode is refused. Raises one line.
function M.load(text, name)
  if text:find("\27", 1, true) then error("bytecode is not accepted", 0) end
  local chunk, why = load(text, "@" .. name, "t", M.environment())
  if not chunk then error(why, 0) end
  return chunk
end

return M
