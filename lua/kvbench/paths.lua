-- SPDX-License-Identifier: Apache-2.0
-- Where things lie. `home` holds lua/, datasets/ and experiments/ (a checkout or a bundle); cache and state are the
-- user's, by the XDG rules. Nothing is created here: who writes makes the folder.
local M = {}

local source = debug.getinfo(1, "S").source:gsub("^@", "")
--- The checkout or bundle. cli.lua replaces the guess from this file's own place by what main.c found.
M.home = source:match("^(.*)/lua/kvbench/[^/]*$") or "."

local function env(name)
  local value = os.getenv(name)
  return value and value ~= "" and value or nil
end

local function user_folder(variable, default)
  return (env(variable) or (env("HOME") or "/tmp") .. "/" .. default) .. "/kvbench"
end

--- A path inside home.
function M.at(relative) return M.home .. "/" .. relative end

--- Downloaded models: $KVBENCH_CACHE, or kvbench under $XDG_CACHE_HOME or ~/.cache.
function M.cache() return env("KVBENCH_CACHE") or user_folder("XDG_CACHE_HOME", ".cache") end

--- What the front end remembers between runs (REPL history): kvbench under $XDG_STATE_HOME or ~/.local/state.
function M.state() return user_folder("XDG_STATE_HOME", ".local/state") end

--- Folders of home, by name: paths.lua, paths.datasets, paths.experiments.
return setmetatable(M, {
  __index = function(_, name)
    if name == "lua" or name == "datasets" or name == "experiments" then return M.home .. "/" .. name end
  end,
})
