-- SPDX-License-Identifier: Apache-2.0
-- A panel of cells: a matrix in colours with a colour bar. Rows run downwards unless y.origin is "bottom"; NaN is grey.
local axes = require "kvbench.plot.axes"
local canvas = require "kvbench.plot.canvas"
local colorbar = require "kvbench.plot.colorbar"
local colormap = require "kvbench.plot.colormap"
local matrix = require "kvbench.plot.matrix"
local scale = require "kvbench.plot.scale"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local LONGEST = 90 -- points, of an upright tick label

local function fail(where, message, ...) error(where .. ": " .. message:format(...), 0) end

local function check_axis(axis, n, name, where)
  if axis.labels and not axis.ticks and #axis.labels ~= n then
    fail(where, "%s.labels has %d texts for %d %s", name, #axis.labels, n, name == "x" and "columns" or "rows")
  end
  if axis.labels and axis.ticks and #axis.labels ~= #axis.ticks then
    fail(where, "%s.labels has %d texts for %d ticks", name, #axis.labels, #axis.ticks)
  end
  return axis
end

--- Checks a panel's description and takes its data.
function M.prepare(spec, where)
  local panel = matrix.read(spec.matrix, where)
  panel.kind, panel.title, panel.color = "heatmap", spec.title, spec.color or {}
  panel.x = check_axis(spec.x or {}, panel.columns, "x", where)
  panel.y = check_axis(spec.y or {}, panel.rows, "y", where)
  panel.annotate, panel.spans = spec.annotate, spec.spans or {}
  for i, s in ipairs(panel.spans) do
    if type(s.from) ~= "number" or type(s.to) ~= "number" or s.to <= s.from then
      fail(where, "spans[%d] needs numbers from < to (columns, half-open)", i)
    end
  end
  panel.map = panel.color.map or "viridis"
  panel.colors = colormap.table(panel.map)
  if not panel.colors then fail(where, "no colour map '%s' -> %s", tostring(panel.map), colormap.names) end
  return panel
end

--- Fixes the colour scale; lo and hi may be wider than the panel's own, to share colours.
function M.scales(panel, lo, hi)
  local color = panel.color
  if panel.map == "diverging" then -- the neutral colour stands for zero (or color.center)
    local center = color.center or 0
    local reach = math.max(math.abs(lo - center), math.abs(hi - center))
    lo, hi = center - reach, center + reach
  end
  lo, hi = color.min or lo, color.max or hi
  if lo >= hi then
    local half = lo == 0 and 0.5 or math.abs(lo) * 0.1
    lo, hi = lo - half, hi + half
  end
  panel.bar = scale.new(lo, hi, { min = lo, max = hi, format = color.format, ticks = color.ticks })
end

-- Ticks along one axis with labels thinned to fit: {pos = points from the first cell's edge, label}. needed = points a
-- label takes along the axis.
local function cell_ticks(axis, n, length, needed)
  local first, out, pitch = axis.first or 0, {}, length / n
  if axis.ticks then
    for i, at in ipairs(axis.ticks) do
      if at >= first and at < first + n then
        local label = axis.labels and axis.labels[i] or ("%g"):format(at)
        out[#out + 1] = { pos = (at - first + 0.5) * pitch, label = label }
      end
    end
    return out
  end
  local step = 1
  for _, s in ipairs { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000 } do
    step = s
    if s * pitch >= needed then break end
  end
  local from = axis.labels and first or math.ceil(first / step) * step
  for k = from, first + n - 1, step do
    local label = axis.labels and axis.labels[k - first + 1] or ("%d"):format(k)
    out[#out + 1] = { pos = (k - first + 0.5) * pitch, label = label }
  end
  return out
end

local function shortened(ticks)
  for _, t in ipairs(ticks) do t.label = text.shorten(tostring(t.label), style.tick, LONGEST) end
  return ticks
end

-- Columns: numbers lie; texts lie when each has room, and stand otherwise.
local function x_ticks(panel, width)
  local axis, pitch = panel.x, width / panel.columns
  if not axis.labels then
    local widest = canvas.measure(("%d"):format((axis.first or 0) + panel.columns - 1), style.tick)
    return shortened(cell_ticks(axis, panel.columns, width, widest + 8)), false
  end
  local all = shortened(cell_ticks(axis, panel.columns, width, 0))
  local apart = true
  for i = 2, #all do
    local need = canvas.measure(all[i].label, style.tick) + canvas.measure(all[i - 1].label, style.tick)
    if all[i].pos - all[i - 1].pos < need / 2 + 4 then apart = false end
  end
  if apart then return all, false end
  return shortened(cell_ticks(axis, panel.columns, math.max(width, pitch), style.tick * 1.1)), true
end

local function y_ticks(panel, height)
  local ticks = shortened(cell_ticks(panel.y, panel.rows, height, style.tick * 1.25))
  if panel.y.origin == "bottom" then for _, t in ipairs(ticks) do t.pos = height - t.pos end end
  return ticks
end

local function span_marks(panel, width)
  local items, first, pitch = {}, panel.x.first or 0, width / panel.columns
  for _, s in ipairs(panel.spans) do
    local from, to = math.max(0, s.from - first) * pitch, math.min(panel.columns, s.to - first) * pitch
    if from < to then items[#items + 1] = { x = (from + to) / 2, label = s.label or "", from = from, to = to } end
  end
  table.sort(items, function(a, b) return a.x < b.x end)
  return items, axes.stack(items, 0, width)
end

--- Room around a plot of width x height points.
function M.measure(panel, width, height, show)
  local xt, turned = x_ticks(panel, width)
  local room = { left = 2, right = 4, top = 5, bottom = 4 }
  if show.x_ticks then room.bottom = axes.x_space(xt, show.x_label and panel.x.label, width, turned) end
  if show.y_ticks then room.left = axes.y_space(y_ticks(panel, height), show.y_label and panel.y.label, height) end
  if show.bar then
    room.right = colorbar.space(panel, height)
  end
  local _, rows = span_marks(panel, width)
  room.marks = #panel.spans > 0 and rows * axes.ROW + 4 or 0
  room.top = room.top + axes.title_space(panel.title, width, style.label)
  return room
end

local function color_of(panel, v)
  if v ~= v then return style.rgba(style.missing) end
  local t = (v - panel.bar.lo) / (panel.bar.hi - panel.bar.lo)
  return panel.colors[math.max(0, math.min(255, math.floor(t * 255 + 0.5)))]
end

local function is_dark(rgba)
  local r, g, b = math.floor(rgba / 2 ^ 24), math.floor(rgba / 2 ^ 16) % 256, math.floor(rgba / 256) % 256
  return 0.2126 * (r / 255) ^ 2.2 + 0.7152 * (g / 255) ^ 2.2 + 0.0722 * (b / 255) ^ 2.2 < 0.3
end

-- The values' texts, or nil when one does not fit its cell: a table with holes would mislead. Tight cells drop leading
-- zeros.
local function value_texts(panel, width)
  local show = type(panel.annotate) == "string" and panel.annotate or "%.2g"
  for _, tight in ipairs { false, true } do
    local out, fits = {}, true
    for r, row in ipairs(panel.values) do
      out[r] = {}
      for k, v in ipairs(row) do
        local label = v == v and show:format(v):gsub("^-", "−") or ""
        if tight then label = label:gsub("^0%.", "."):gsub("^−0%.", "−.") end
        out[r][k] = label
        fits = fits and canvas.measure(label, style.tick) <= width - 3
      end
    end
    if fits then return out end
  end
end

local function draw_values(panel, c, box, colors)
  local w, h = box.width / panel.columns, box.height / panel.rows
  local texts = h >= style.tick and panel.columns * panel.rows <= 2500 and value_texts(panel, w) or {}
  for r, row in ipairs(texts) do
    local at = panel.y.origin == "bottom" and panel.rows - r + 1 or r
    for k, label in ipairs(row) do
      c:text(label, box.x + (k - 0.5) * w, box.y + (at - 0.5) * h,
        { size = style.tick, ax = 0.5, ay = 0.5, color = is_dark(colors[at][k]) and "#ffffff" or style.ink })
    end
  end
end

--- Draws the panel into the box with the room that measure asked for around it.
function M.draw(panel, c, box, show)
  local colors = {}
  for r, row in ipairs(panel.values) do
    local line = {}
    for k, v in ipairs(row) do line[k] = color_of(panel, v) end
    colors[panel.y.origin == "bottom" and panel.rows - r + 1 or r] = line
  end
  c:cells(box.x, box.y, box.width, box.height, colors)
  c:rect(box.x, box.y, box.width, box.height, { outline = { color = style.axis, width = style.hair } })
  if panel.annotate then draw_values(panel, c, box, colors) end
  local xt, turned = x_ticks(panel, box.width)
  local yt = y_ticks(panel, box.height)
  for _, t in ipairs(xt) do t.pos = t.pos + box.x end
  for _, t in ipairs(yt) do t.pos = t.pos + box.y end
  axes.draw_x(c, box, show.x_ticks and xt or {}, show.x_label and panel.x.label, turned)
  axes.draw_y(c, box, show.y_ticks and yt or {}, show.y_label and panel.y.label, show.left)
  for _, s in ipairs((span_marks(panel, box.width))) do
    c:rect(box.x + s.from, box.y - 4, s.to - s.from, 2.4, { color = style.palette[2] })
    c:text(s.label, box.x + s.left, box.y - 8 - s.row * axes.ROW,
      { size = style.tick, color = style.for_text(style.palette[2]) })
  end
  axes.draw_title(c, panel.title, box.x, box.y - 2 - show.marks, box.width, style.label)
  if show.bar then colorbar.draw(panel, c, box) end
end

M.columns = { "row", "column", "value" }

--- The drawn numbers, one row per cell, under the axes' own numbering or labels.
function M.rows(panel)
  local out = {}
  local function name(axis, i) return axis.labels and not axis.ticks and axis.labels[i] or (axis.first or 0) + i - 1 end
  for r, row in ipairs(panel.values) do
    for k, v in ipairs(row) do out[#out + 1] = { row = name(panel.y, r), column = name(panel.x, k), value = v } end
  end
  return out
end

return M
