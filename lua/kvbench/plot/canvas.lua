-- SPDX-License-Identifier: Apache-2.0
-- The C canvas with Lua manners: options by name, colours as "#rrggbb", failures as errors. Points, y down.
local ffi = require "ffi"
local kvb = require "kvbench.ffi"
local style = require "kvbench.plot.style"
local C, check = kvb.C, kvb.check

local M = {}
local Canvas = {}
Canvas.__index = Canvas

--- A white canvas of width x height points. It is freed with the object.
function M.new(width, height)
  local out = ffi.new "kvb_canvas *[1]"
  check(C.kvb_canvas_new(width, height, out))
  return setmetatable({ c = ffi.gc(out[0], C.kvb_canvas_free), width = width, height = height }, Canvas)
end

local box = ffi.new "double[3]"
--- Advance width, height of capitals and descent of one line of text, in points.
function M.measure(text, size, bold)
  check(C.kvb_text_measure(text, #text, size, bold and 1 or 0, box))
  return box[0], box[1], box[2]
end

local function path(c, points, close)
  for i = 1, #points, 2 do
    if i == 1 then C.kvb_canvas_move(c, points[1], points[2]) else C.kvb_canvas_line(c, points[i], points[i + 1]) end
  end
  if close then C.kvb_canvas_close(c) end
end

local function stroke(c, o)
  local dash = o.dash or {}
  local lengths = ffi.new("double[?]", math.max(1, #dash), dash)
  C.kvb_canvas_stroke(c, o.width or style.line, style.rgba(o.color, o.alpha), lengths, #dash)
end

--- points = {x1, y1, x2, y2, ...}; o: color, alpha, width, dash.
function Canvas:polyline(points, o)
  path(self.c, points, false)
  stroke(self.c, o)
end

--- A filled polygon; o: color, alpha, and outline = {color, width} for its edge.
function Canvas:polygon(points, o)
  path(self.c, points, true)
  C.kvb_canvas_fill(self.c, style.rgba(o.color, o.alpha), o.outline and 1 or 0)
  if o.outline then stroke(self.c, o.outline) end
end

--- A rectangle; o: color (of its inside), alpha, outline ({color =, width =}).
function Canvas:rect(x, y, width, height, o)
  C.kvb_canvas_rect(self.c, x, y, width, height)
  if o.color then C.kvb_canvas_fill(self.c, style.rgba(o.color, o.alpha), o.outline and 1 or 0) end
  if o.outline then stroke(self.c, o.outline) end
end

--- A disc; o as for rect.
function Canvas:disc(x, y, radius, o)
  C.kvb_canvas_arc(self.c, x, y, radius, 0, 360)
  C.kvb_canvas_close(self.c)
  if o.color then C.kvb_canvas_fill(self.c, style.rgba(o.color, o.alpha), o.outline and 1 or 0) end
  if o.outline then stroke(self.c, o.outline) end
end

--- Runs draw() with everything cut to the rectangle.
function Canvas:clipped(x, y, width, height, draw)
  C.kvb_canvas_clip_push(self.c, x, y, width, height)
  local ok, err = pcall(draw)
  C.kvb_canvas_clip_pop(self.c)
  if not ok then error(err, 0) end
end

--- One line; o: size, bold, color, ax (0 left, .5 middle, 1 right), ay (0 top of capitals, 1 baseline), degrees.
function Canvas:text(text, x, y, o)
  check(C.kvb_canvas_text(self.c, text, #text, x, y, o.size or style.tick, o.bold and 1 or 0,
    style.rgba(o.color or style.ink), o.ax or 0, o.ay or 1, o.degrees or 0))
end

--- A grid of cells: colors[row][column] = 0xRRGGBBAA, first row on top.
function Canvas:cells(x, y, width, height, colors)
  local rows, columns = #colors, #colors[1]
  local flat = ffi.new("uint32_t[?]", rows * columns)
  for r = 1, rows do
    local from, line = (r - 1) * columns - 1, colors[r]
    for k = 1, columns do flat[from + k] = line[k] end
  end
  check(C.kvb_canvas_cells(self.c, x, y, width, height, rows, columns, flat))
end

--- Writes .png, .pdf or .svg by the path's extension. dpi (300) counts for PNG.
function Canvas:save(file, dpi) check(C.kvb_canvas_save(self.c, file, dpi or 300)) end

return M
