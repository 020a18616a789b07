-- SPDX-License-Identifier: Apache-2.0
-- Code of the user's own, loaded while the prompt is open, runs with the JIT off: a compiled loop ignores the hook that
-- Ctrl-C sets, so `while true do end` in a press file would take the whole session with it. The library's own code
-- stays
-- compiled. Rejected: the JIT off for everything (pictures are 3, bootstrap bands 16 times slower without it).
local paths = require "kvbench.paths"

local M = {}

local function is_ours(source)
  local folder = "@" .. paths.lua .. "/"
  return source:sub(1, #folder) == folder
end

--- Takes fn, and every function written inside it, away from the JIT unless its file is the library's. Returns it.
function M.interpret(fn)
  if not is_ours(debug.getinfo(fn, "S").source) then jit.off(fn, true) end
  return fn
end

local installed = false

--- From now on, everything that is loaded by file, text or require() goes through interpret().
function M.install()
  if installed then return end
  installed = true
  for _, name in ipairs { "load", "loadstring", "loadfile" } do
    local original = _G[name]
    _G[name] = function(...)
      local fn, why = original(...)
      if not fn then return nil, why end
      return M.interpret(fn)
    end
  end
  _G.dofile = function(path)
    local fn, why = loadfile(path)
    if not fn then error(why, 0) end
    return fn()
  end
  local from_file = package.loaders[2]
  package.loaders[2] = function(name)
    local ok, found = pcall(from_file, name)
    if not ok then error((found:gsub("^.-error loading module '.-' from file '.-':%s*", "")), 0) end
    return type(found) == "function" and M.interpret(found) or found
  end
end

--- The names in package.loaded whose files are not the library's, sorted.
function M.modules()
  local names = {}
  for name in pairs(package.loaded) do
    local path = type(name) == "string" and package.searchpath(name, package.path)
    if path and not is_ours("@" .. path) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return M
