-- SPDX-License-Identifier: Apache-2.0
-- kv.args { name = default, ... }: an experiment's parameters from its command line, typed by their defaults.
--   number, string    --passages 60, --passages=60
--   boolean           --quick, --no-quick, --quick=false
--   list              --presses ea,adakv (numbers when the default's first element is one)
-- Unknown names and wrong types end the run with one line; --help lists the parameters and ends it with status 0.
local options = require "kvbench.options"
local text = require "kvbench.text"

local M = {}

-- An error that says with which status the run ends; cli.lua prints its text as it stands.
local function finish(status, message)
  return setmetatable({ exit = status, message = message }, { __tostring = function(e) return e.message end })
end
M.finish = finish

local function usage(format, ...) return finish(2, string.format(format, ...)) end

local function names_of(defaults)
  local names = {}
  for name in pairs(defaults) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Options of kvbench itself, which scripts do not see.
local global = { ["--device"] = true, ["--dtype"] = true, ["--threads"] = true, ["--gpus"] = true,
  ["--sandbox"] = true, ["--strict"] = true }

local function dashed(name) return "--" .. name:gsub("_", "-") end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, v in ipairs(value) do parts[i] = tostring(v) end
  return table.concat(parts, ",")
end

local function number(word, option)
  local value = tonumber(word)
  if not value or value ~= value then error(usage("%s wants a number, got '%s'", option, word), 0) end
  return value
end

local convert = {
  number = function(word, option) return number(word, option) end,
  string = function(word) return word end,
  boolean = function(word, option)
    if word == "true" or word == "yes" or word == "1" then return true end
    if word == "false" or word == "no" or word == "0" then return false end
    error(usage("%s wants true or false, got '%s'", option, word), 0)
  end,
  table = function(word, option, default)
    local list = {}
    for item in word:gmatch("[^,]+") do
      list[#list + 1] = type(default[1]) == "number" and number(item, option) or item
    end
    if #list == 0 then error(usage("%s wants at least one value, separated by commas", option), 0) end
    return list
  end,
}

--- Parses `words` against `defaults` without touching anything else. Returns the options, or nil when --help was asked.
--- Raises an error object with .exit = 2 for what it cannot understand.
function M.parse(defaults, words)
  local out, names = {}, names_of(defaults)
  for _, name in ipairs(names) do
    if not convert[type(defaults[name])] then
      error(string.format("kv.args: the default of '%s' is a %s -> use a number, string, boolean or list", name,
        type(defaults[name])), 0)
    end
    out[name] = defaults[name]
  end
  local i = 1
  while i <= #words do
    local word = words[i]
    if word == "--help" or word == "-h" then return nil end
    local option, value = word:match("^(%-%-[^=]+)=(.*)$")
    option = option or word
    local name = option:match("^%-%-(.+)$")
    if not name then error(usage("unexpected argument '%s' -> parameters are --name value; try --help", word), 0) end
    name = name:gsub("-", "_")
    local off = defaults[name] == nil and name:match("^no_(.+)$")
    local default = defaults[off or name]
    if default == nil or (off and type(default) ~= "boolean") then
      if global[option] then
        error(usage("%s is an option of kvbench itself -> put it before the script or command", option), 0)
      end
      local options_list = {}
      for k, known in ipairs(names) do options_list[k] = dashed(known) end
      error(usage("unknown parameter '%s' %s", option, text.suggest(option, options_list)), 0)
    end
    if off then
      if value then error(usage("%s takes no value", option), 0) end
      out[off] = false
    elseif type(default) == "boolean" then
      out[name] = value == nil or convert.boolean(value, option)
    else
      if value == nil then
        i = i + 1
        value = words[i]
        if value == nil or (value:find("^%-%-") and not tonumber(value)) then
          error(usage("%s wants a value%s", option, default ~= "" and " (default " .. show(default) .. ")" or ""), 0)
        end
      end
      out[name] = convert[type(default)](value, option, default)
    end
    i = i + 1
  end
  return out
end

-- The script's opening comment (licence line left out) says what it is about.
local function head_comment(script)
  local file = script and io.open(script)
  if not file then return nil end
  local lines = {}
  for line in file:lines() do
    local comment = line:match("^%-%-%s?(.*)$")
    if not comment then break end
    if not comment:find("SPDX-License-Identifier", 1, true) then lines[#lines + 1] = comment end
  end
  file:close()
  return lines[1] and table.concat(lines, "\n") or nil
end

--- The text of --help: the script's head comment, then each parameter with what it takes, its explanation and default.
function M.help(defaults, docs, script)
  local rows = {}
  for _, name in ipairs(names_of(defaults)) do
    local kind = type(defaults[name])
    local shape = kind == "boolean" and "" or kind == "number" and " N" or kind == "table" and " A,B,..." or " TEXT"
    rows[#rows + 1] = { dashed(name) .. shape, (docs and docs[name] or "") .. "", "default " .. show(defaults[name]) }
  end
  local head = head_comment(script)
  return (head and head .. "\n\n" or "") .. "usage: kvbench " .. (script or "SCRIPT") .. " [--name value ...]\n"
    .. text.columns(rows, "  ")
end

return setmetatable(M, {
  --- kv.args(defaults, docs): docs is an optional table of one-line explanations by name.
  __call = function(_, defaults, docs)
    if type(defaults) ~= "table" then
      error(("kv.args: expected a table of defaults, got a %s -> kv.args { model = \"smollm2\", passages = 20 }")
        :format(type(defaults)), 0)
    end
    local merged = {}
    for name, default in pairs(defaults) do
      local given = options[name]
      if given == nil or given == false then given = default end
      if type(default) == "number" then given = tonumber(given) or given end
      if type(default) == "string" then given = tostring(given) end
      merged[name] = given
    end
    local script, words = nil, {}
    if type(arg) == "table" then script, words = arg[0], arg end
    local out = M.parse(merged, words)
    if out then return out end
    error(finish(0, M.help(merged, docs, script)), 0)
  end,
})
