-- SPDX-License-Identifier: Apache-2.0
-- progress.json in the folder of a run or shard: how far its process is, for whoever watches from another process or
-- another
-- machine, where a store that is being written to should not be opened. A run that is done has none.
local fleet = require "kvbench.fleet"
local json = require "kvbench.json"
local C = require("kvbench.ffi").C

local M = {}

function M.path(folder) return folder .. "/progress.json" end

local function host()
  local file = io.open "/proc/sys/kernel/hostname"
  local name = file and file:read "*l" or "?"
  if file then file:close() end
  return name
end

--- state: {done_records, total, done_here, share, done_rows, started}; what: "running", "done", "interrupted",
--- "failed". Whether it can be
--- written decides nothing: a full disk shows where answers are stored.
function M.write(folder, state, what)
  pcall(json.save, M.path(folder), { state = what, done = state.done_records, total = state.total,
    done_here = state.done_here, share = state.share, answers_here = state.done_rows,
    seconds = C.kvb_time() - state.started, pid = tonumber(C.kvb_process_id()), host = host(),
    updated = os.date "!%Y-%m-%dT%H:%M:%SZ" })
end

--- At the end: the last word of a worker or of a run that is not complete; nothing for one that is.
function M.finish(folder, state, what)
  if what == "done" and not fleet.shard() then
    os.remove(M.path(folder))
  elseif state then
    M.write(folder, state, what)
  end
end

--- What stands there, or nil.
function M.read(folder)
  local ok, value = pcall(json.load, M.path(folder))
  return ok and type(value) == "table" and value or nil
end

return M
