-- SPDX-License-Identifier: Apache-2.0
-- Runs an experiment script inside the test's process, with a given model for every name.
local kv = require "kvbench"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local t = require "kvbench.testing"

local M = { model = nil, root = os.tmpname() }
os.remove(M.root)

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- Runs a script as the command line would, with M.model for every name; returns its result.json and what it printed.
function M.run(script, words)
  local printed, old_print, old_write, old_load, old_arg = {}, print, io.write, kv.model.load, arg
  arg = { [0] = script, "--out", M.root .. "/" .. script, "--sweeps", M.root .. "/sweeps",
    unpack(words) } -- luacheck: ignore
  print = function(...) printed[#printed + 1] = table.concat({ ... }, " ") end -- luacheck: ignore
  kv.model.load = function() return M.model end
  local ok, err = pcall(dofile, paths.at("experiments/" .. script .. ".lua"))
  print, io.write, kv.model.load, arg = old_print, old_write, old_load, old_arg -- luacheck: ignore
  if not ok then error(tostring(err), 0) end
  return json.decode(M.read(M.root .. "/" .. script .. "/result.json"), script), table.concat(printed, "\n")
end

--- No NaN and no infinity in what a result wrote.
function M.has_no_nan(result)
  for _, figure in ipairs(result.figures) do
    for _, file in ipairs(figure.files) do
      if file:find "%.csv$" then
        for line in M.read(file):gmatch "[^\n]+" do
          t.ok(not line:lower():find("%f[%w]inf%f[%W]"), file .. ": " .. line)
          t.ok(not line:lower():find("%f[%w]nan%f[%W]"), file .. ": " .. line)
        end
      end
    end
  end
  for _, list in ipairs(result.tables) do
    for _, row in ipairs(list.cells) do
      for _, cell in ipairs(row) do t.ok(not cell:lower():find("%f[%w]nan%f[%W]"), list.name .. ": " .. cell) end
    end
  end
end

function M.clean() os.execute("rm -rf '" .. M.root .. "'") end

return M
