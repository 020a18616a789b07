-- SPDX-License-Identifier: Apache-2.0
-- The audit trail of a generation: one JSON line a call, written when it happens, never rewritten. The first line says
-- what the run is; the rest is enough to go on after any interruption, a cut last line included.
local json = require "kvbench.json"
local stream = require "kvbench.stream"

local M = {}
local Audit = {}
Audit.__index = Audit

local order = { "run", "record", "try", "kind", "verdict", "reason", "tokens_in", "tokens_out", "seconds" }

-- Fields that must agree for a run to be continued.
local same = { "task", "seed", "with", "prompt" }

-- Lines of an earlier run; a last line that was cut is left out.
local function read_lines(path)
  local list = {}
  for line in stream.lines(path) do
    local ok, value = pcall(json.decode, line, path)
    if ok and type(value) == "table" then list[#list + 1] = value
    else list.cut = true end
  end
  return list
end

local function check_run(path, earlier, run)
  for _, field in ipairs(same) do
    if not earlier or earlier[field] ~= run[field] then
      error(("'%s' is the audit of another run (%s: '%s', now '%s') -> another --out, or --fresh to begin anew"):format(
        path, field, tostring(earlier and earlier[field]), tostring(run[field])), 0)
    end
  end
end

--- Opens an audit file. run: {task, seed, with, prompt (hash)}. fresh: drop an earlier one. The result has `lines`,
-- those of the earlier run after its first.
function M.open(path, run, fresh)
  local self = setmetatable({ path = path, lines = {} }, Audit)
  local exists = io.open(path, "rb")
  if exists then exists:close() end
  if exists and not fresh then
    local list = read_lines(path)
    if #list > 0 then
      check_run(path, list[1].run, run)
      for i = 2, #list do self.lines[i - 1] = list[i] end
      self.file = assert(io.open(path, "ab"))
      if list.cut then self.file:write("\n") end -- so that the cut line stays one
      return self
    end
  end
  local file, problem = io.open(path, "wb")
  if not file then error("cannot write " .. problem, 0) end
  self.file = file
  self:add { run = run }
  return self
end

--- Adds a line and flushes it.
function Audit:add(entry)
  local ok, problem = self.file:write(json.encode(entry, order), "\n")
  ok = ok and self.file:flush()
  if not ok then error(("cannot write '%s': %s"):format(self.path, tostring(problem)), 0) end
end

function Audit:close() self.file:close() end

return M
