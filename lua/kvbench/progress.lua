-- SPDX-License-Identifier: Apache-2.0
-- A progress bar with rate and time left on stderr. On a terminal it redraws one line; in a log file it writes a plain
-- line every 10 % but not within 10 s of the last one, and at least every minute. stdout is never touched.
local C = require("kvbench.ffi").C
local text = require "kvbench.text"

local M = {}
local Progress = {}
Progress.__index = Progress

local REDRAW_SECONDS, PLAIN_SECONDS, SILENT_SECONDS = 0.1, 10, 60

--- progress.new{ label =, total =, unit = "questions", done = 0 }: done = what an earlier run already had; it counts as
--- finished but not towards the rate. `write`, `clock` and `width` are replaceable for tests.
function M.new(o)
  local clock = o.clock or C.kvb_time
  local now = clock()
  return setmetatable({
    label = o.label or "", total = o.total, unit = o.unit or "", done = o.done or 0, first = o.done or 0,
    clock = clock, write = o.write or function(s) io.stderr:write(s) end,
    width = o.width or C.kvb_terminal_width(2),
    started = now, drawn = -math.huge, drawn_done = o.done or 0, closed = false,
  }, Progress)
end

local function line_of(p, now)
  local elapsed = now - p.started
  local rate = elapsed > 0 and (p.done - p.first) / elapsed or 0
  local unit = p.unit ~= "" and " " .. p.unit or ""
  local speed = rate > 0 and string.format(", %s%s/s", rate >= 100 and string.format("%.0f", rate)
    or string.format("%.3g", rate), unit) or ""
  if p.closed then
    return string.format("%s: %s%s in %s%s", p.label, p.done, unit, text.duration(elapsed), speed)
  end
  if not p.total then return string.format("%s: %s%s%s", p.label, p.done, unit, speed) end
  local left = rate > 0 and string.format(", %s left", text.duration((p.total - p.done) / rate)) or ""
  return string.format("%s: %s/%s%s%s%s", p.label, p.done, p.total, unit, speed, left)
end

local function bar(share, cells)
  local filled = math.floor(share * cells + 0.5)
  return "[" .. string.rep("=", filled) .. string.rep(" ", cells - filled) .. "] "
end

local function draw(p, now)
  local line = line_of(p, now)
  if p.width == 0 then
    p.write(line .. "\n")
  else
    local room = p.width - #line - 4
    if p.total and p.total > 0 and not p.closed and room >= 10 then
      line = bar(math.min(1, p.done / p.total), math.min(30, room)) .. line
    end
    p.write("\r" .. line:sub(1, p.width - 1) .. "\27[K" .. (p.closed and "\n" or ""))
  end
  p.drawn, p.drawn_done = now, p.done
end

--- n = how much is done in all (not the increment).
function Progress:update(n)
  self.done = n
  local now = self.clock()
  if self.width > 0 then
    if now - self.drawn >= REDRAW_SECONDS then draw(self, now) end
    return
  end
  local since = now - math.max(self.drawn, self.started)
  local enough = not self.total or n - self.drawn_done >= self.total / 10
  if since >= SILENT_SECONDS or since >= PLAIN_SECONDS and enough then draw(self, now) end
end

--- Draws the last line: how much in how long. More calls do nothing.
function Progress:finish()
  if self.closed then return end
  self.closed = true
  draw(self, self.clock())
end

return M
