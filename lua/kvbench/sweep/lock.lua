-- SPDX-License-Identifier: Apache-2.0
-- One process works on a run's folder at a time; a second one waits for it and then finds its work done.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}

local POLL = .2 -- seconds

--- The name of the lock in a folder.
function M.path(folder) return folder .. "/run.lock" end

--- Tries once: the lock (release it with M.release), or nil and the process that holds it (-1: not known).
function M.try(folder)
  local out, holder = ffi.new "kvb_lock *[1]", ffi.new "int64_t[1]"
  check(C.kvb_lock_take(M.path(folder), out, holder))
  if out[0] == nil then return nil, tonumber(holder[0]) end
  return ffi.gc(out[0], C.kvb_lock_release)
end

--- Waits for the lock, telling so once on stderr. Ctrl-C ends the waiting.
function M.take(folder)
  local lock, holder = M.try(folder)
  if lock then return lock end
  if holder == tonumber(C.kvb_process_id()) then
    collectgarbage() -- a run of this process that was dropped without being closed
    collectgarbage()
    lock = M.try(folder)
    if lock then return lock end
    error(("this process already works on the run in '%s' -> another out = folder"):format(folder), 0)
  end
  io.stderr:write(("kvbench: waiting: %s works on the run in '%s'\n"):format(
    holder > 0 and "process " .. holder or "another process", folder))
  while not lock do
    if C.kvb_cancelled() ~= 0 then error("interrupted: while waiting for the run in '" .. folder .. "'", 0) end
    C.kvb_sleep(POLL)
    lock = M.try(folder)
  end
  return lock
end

--- Gives a lock back; nil is fine.
function M.release(lock)
  if lock ~= nil then C.kvb_lock_release(ffi.gc(lock, nil)) end
end

return M
