-- SPDX-License-Identifier: Apache-2.0
-- Completion of the name at the end of a line: globals, fields and methods along a path such as kv.press or
-- ctx.keys:no, names inside kv.press("...") and kv.model.load("..."), the prompt's own words (:time). Only looks; never
-- calls what the user's line would call.
local paths = require "kvbench.paths"

local M = {}

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
  "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

local function add_keys(t, found)
  for k in pairs(t) do
    if type(k) == "string" and k:find("^[%a_][%w_]*$") and not k:find("^__") then found[k] = true end
  end
end

-- Where __index is a function, the methods are in a table that it refers to by a capitalised name (Press, Context,
-- ...).
local function methods_behind(index, found)
  for i = 1, 60 do
    local name, value = debug.getupvalue(index, i)
    if not name then return end
    if type(value) == "table" and name:find("^%u") then add_keys(value, found) end
  end
end

-- Field names of a value: its own, and those of the tables behind __index.
local function fields(value, found)
  if type(value) == "cdata" then
    local tensor = package.loaded["kvbench.tensor.core"]
    if tensor and tensor.is(value) then add_keys(tensor.methods, found) end
    return
  end
  for _ = 1, 8 do
    if type(value) == "table" then add_keys(value, found) end
    local mt = getmetatable(value)
    if type(mt) ~= "table" then return end
    value = mt.__index
    if type(value) == "function" then return methods_behind(value, found) end
    if type(value) ~= "table" then return end
  end
end

-- Modules of kv that nobody has touched yet are on disk, not in the table.
local function module_names(found)
  local ok, library = pcall(require, "kvbench.ffi")
  local list = ok and require("ffi").new "const char *[1]"
  if not ok or library.C.kvb_dir_list(paths.lua .. "/kvbench", list) ~= 0 then return end
  local init = io.open(paths.lua .. "/kvbench/init.lua")
  local exported = init and init:read("*a") or ""
  if init then init:close() end
  for name in require("ffi").string(list[0]):gmatch("([%w_]+)%.lua\n") do
    if exported:find("%f[%w_]" .. name .. " = true") then found[name] = true end
  end
end

local function names_in(module, found)
  local ok, m = pcall(require, module)
  local list = ok and type(m) == "table" and rawget(m, "names")
  if type(list) ~= "function" then return end
  local listed, names = pcall(list)
  for _, name in ipairs(listed and type(names) == "table" and names or {}) do found[name] = true end
end

local function candidates(line)
  local found = {}
  local command = line:match "^:(%a*)$"
  if command then
    for _, name in ipairs(require("kvbench.repl_command").names()) do found[name] = true end
    return found, command
  end
  local quoted = line:match("kv%.press%s*%(?%s*[\"']([%w_]*)$")
  if quoted then names_in("kvbench.press_find", found) return found, quoted end
  quoted = line:match("model%.load%s*%(?%s*[\"']([%w_.-]*)$")
  if quoted then names_in("kvbench.registry", found) return found, quoted end
  quoted = line:match("prompt%.render%s*%(?%s*[\"']([%w_-]*)$")
  if quoted then names_in("kvbench.prompt", found) return found, quoted end
  quoted = line:match("template%s*=%s*[\"']([%w_.-]*)$")
  if quoted then names_in("kvbench.prompt.chat", found) return found, quoted end
  quoted = line:match("kv%.dataset%s*%(?%s*[\"']([%w_-]*)$")
  if quoted then names_in("kvbench.dataset", found) return found, quoted end
  local path, stem = line:match("([%a_][%w_.:]*)[.:]([%w_]*)$")
  if not path then
    stem = line:match("[%a_][%w_]*$")
    if not stem then return found, "" end
    add_keys(_G, found)
    for _, word in ipairs(KEYWORDS) do found[word] = true end
    return found, stem
  end
  local value = _G
  for name in path:gmatch("[^.:]+") do
    local ok, field = pcall(function() return value[name] end)
    if not ok or field == nil then return found, stem end
    value = field
  end
  if rawequal(value, package.loaded.kvbench) then module_names(found) end
  fields(value, found)
  if type(value) == "string" then add_keys(string, found) end
  return found, stem
end

--- The line completed as far as it is certain, and the sorted list of what fits (the stem included) when that is not
-- unique.
function M.line(line)
  local found, stem = candidates(line)
  local fits = {}
  for name in pairs(found) do if name:sub(1, #stem) == stem then fits[#fits + 1] = name end end
  table.sort(fits)
  if #fits == 0 then return line, {} end
  local common = fits[1]
  for _, name in ipairs(fits) do while name:sub(1, #common) ~= common do common = common:sub(1, -2) end end
  return line .. common:sub(#stem + 1), #fits > 1 and fits or {}
end

return M
