-- SPDX-License-Identifier: Apache-2.0
-- Where rules come from: lua/kvbench/press/*.lua and ./press/*.lua of the current folder, one rule a file, named as
-- its file. A rule may list aliases: {ea = {}, other = {n_sink = 2}}: further names with parameters of their own.
-- Nothing is registered anywhere else. A name that both folders have is an error, so that nobody measures another rule
-- than they think.
local ffi = require "ffi"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local text = require "kvbench.text"
local library = require "kvbench.ffi"
local C = library.C

local M = {}
local loaded = {} -- path -> {rule, text}

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then error(("press: %s"):format(why), 0) end
  local content = file:read("*a")
  file:close()
  return content
end

local function hash_of(content)
  local h = C.kvb_hash64(content, #content, 0)
  return ("%08x%08x"):format(tonumber(h / 4294967296ULL), tonumber(h % 4294967296ULL))
end

--- Checks a rule table: name, and a score or an order. `where` names it in errors. Returns it.
function M.check(rule, where)
  if type(rule) ~= "table" then error(("press %s: expected a table {name =, score =}, got %s"):format(where,
    type(rule)), 0) end
  if type(rule.name) ~= "string" or rule.name == "" then error(("press %s: it has no name -> name = \"...\""):format(
    where), 0) end
  if type(rule.score) ~= "function" and not (rule.score == nil and type(rule.cut) == "function") then
    error(("press '%s' %s: score is %s -> score = function(self, ctx) return tensor end"):format(rule.name, where,
      type(rule.score)), 0)
  end
  local scope = rule.scope or "head"
  if type(scope) ~= "function" and scope ~= "head" and scope ~= "layer" and scope ~= "model" then
    error(("press '%s' %s: scope '%s' is unknown -> head, layer, model"):format(rule.name, where, tostring(scope)), 0)
  end
  local budget = rule.budget or "exact"
  if type(budget) ~= "function" and budget ~= "exact" and budget ~= "approx" and budget ~= "own" then
    error(("press '%s' %s: budget '%s' is unknown -> exact, approx, own"):format(rule.name, where, tostring(budget)), 0)
  end
  return rule
end

local function run(content, path)
  local chunk, why = loadstring(content, "@" .. path)
  if not chunk then error("press: " .. why, 0) end
  return chunk()
end

local function sandbox() return require "kvbench.sandbox" end

--- Forgets the files that were loaded, and ends the processes behind those in the sandbox once nobody uses them.
function M.forget() loaded = {} end

--- The rule in a file, and the hash of its text. With --sandbox, someone else's file runs in a process of its own.
function M.load(path)
  local known = loaded[path]
  local content = read(path)
  if known and known.text == content and known.sandboxed == options.sandbox then return known.rule, known.hash end
  local rule = M.check(options.sandbox and sandbox().foreign(path) and sandbox().rule(path, content) or
    run(content, path), path)
  loaded[path] = { rule = rule, text = content, hash = hash_of(content), sandboxed = options.sandbox }
  return rule, loaded[path].hash
end

--- Hash of where a rule given as a table was written: its file, or its bytecode.
function M.hash_of_table(rule)
  local source = debug.getinfo(rule.score or rule.cut, "S").source
  local file = source:sub(1, 1) == "@" and io.open(source:sub(2), "rb")
  if file then
    local content = file:read("*a")
    file:close()
    return hash_of(content)
  end
  return hash_of(source:sub(1, 1) == "@" and string.dump(rule.score or rule.cut) or source)
end

--- Hash of a list of texts, in order.
function M.combine(parts) return #parts == 1 and parts[1] or hash_of(table.concat(parts, "\n")) end

local function files()
  local found, names = {}, {}
  for _, folder in ipairs { paths.lua .. "/kvbench/press", "press" } do
    if C.kvb_path_kind(folder) == 2 then
      local out = ffi.new "const char *[1]"
      library.check(C.kvb_dir_list(folder, out))
      for file in ffi.string(out[0]):gmatch "[^\n]+" do
        local name = file:match "^([%w_]+)%.lua$"
        if name then
          if found[name] and read(found[name]) ~= read(folder .. "/" .. file) then
            error(("press '%s' is in both %s and %s/%s -> rename yours"):format(name, found[name], folder, file), 0)
          end
          if not found[name] then found[name], names[#names + 1] = folder .. "/" .. file, name end
        end
      end
    end
  end
  return found, names
end

--- Every name that kv.press takes, sorted: files and aliases. Files that do not load are left out.
function M.names()
  local found, names = files()
  local aliases = {}
  for _, name in ipairs(names) do
    local ok, rule = pcall(M.load, found[name])
    for alias in pairs(ok and rule.aliases or {}) do aliases[#aliases + 1] = alias end
  end
  for _, alias in ipairs(aliases) do names[#names + 1] = alias end
  table.sort(names)
  return names
end

--- By name or path: rule, hash, file, the alias's parameters (or {}).
function M.find(name)
  if name:find "/" or name:find "%.lua$" then
    local rule, hash = M.load(name)
    return rule, hash, name, {}
  end
  local found, names = files()
  if found[name] then
    local rule, hash = M.load(found[name])
    return rule, hash, found[name], {}
  end
  for _, file in ipairs(names) do
    local ok, rule, hash = pcall(M.load, found[file])
    if ok and rule.aliases and rule.aliases[name] then return rule, hash, found[file], rule.aliases[name] end
  end
  local outer = name:match "^%s*([%w_]+)%s*%(" -- as figures label it
  if outer then
    error(("press '%s': a name takes no parentheses -> kv.press(\"%s\", {name = value, ...}); what is around another "
      .. "press takes it as of = \"ea\""):format(name, outer), 0)
  end
  error(("press '%s' is unknown %s"):format(name, text.suggest(name, M.names(), 20)), 0)
end

return M
