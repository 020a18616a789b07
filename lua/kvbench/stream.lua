-- SPDX-License-Identifier: Apache-2.0
-- Files line by line and piece by piece, plain or zstd (core/lines.c, core/sink.c), for data that need not fit into
-- memory.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local given = require "kvbench.given"
local C, check = library.C, library.check

local M = { longest = 16 * 1024 * 1024 }

--- An iterator over the lines of a file: for line, number, bytes in stream.lines(path) do. Compression is recognised by
-- content. Of a line longer than max_line bytes (16 MiB) only the beginning comes; `bytes` is its true length.
function M.lines(path, max_line)
  local out = ffi.new "kvb_lines *[1]"
  check(C.kvb_lines_open(given.path("read", path), max_line or M.longest, out))
  local handle = ffi.gc(out[0], C.kvb_lines_close)
  local line, bytes, limit = ffi.new "const char *[1]", ffi.new "int64_t[1]", max_line or M.longest
  return function()
    if not handle then return nil end
    local status = C.kvb_lines_next(handle, line, bytes)
    if status == C.KVB_OK and line[0] ~= nil then
      local n = tonumber(bytes[0])
      return ffi.string(line[0], math.min(n, limit)), tonumber(C.kvb_lines_number(handle)), n
    end
    C.kvb_lines_close(ffi.gc(handle, nil))
    handle = nil
    check(status)
  end
end

local Sink = {}
Sink.__index = Sink

local function take(self)
  local handle = self.handle or error("'" .. self.path .. "' is already closed", 0)
  self.handle = nil
  return ffi.gc(handle, nil)
end

--- Adds bytes.
function Sink:write(s) check(C.kvb_sink_write(self.handle, s, #s)) end
--- Ends the file: only now it appears under its name.
function Sink:close() check(C.kvb_sink_close(take(self))) end
--- Ends it without a trace.
function Sink:discard() C.kvb_sink_discard(take(self)) end

--- A file that appears whole when closed, or not at all; compressed when its name ends in ".zst".
function M.sink(path)
  local out = ffi.new "kvb_sink *[1]"
  check(C.kvb_sink_open(given.path("write", path), out))
  return setmetatable({ path = path, handle = ffi.gc(out[0], C.kvb_sink_discard) }, Sink)
end

--- Writes what produce(put) puts; an error in it leaves nothing behind.
function M.write(path, produce)
  local sink = M.sink(path)
  local ok, problem = pcall(produce, function(s) sink:write(s) end)
  if not ok then
    sink:discard()
    error(problem, 0)
  end
  sink:close()
end

return M
