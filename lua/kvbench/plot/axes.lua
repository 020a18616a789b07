-- SPDX-License-Identifier: Apache-2.0
-- The frame around the data: ticks, axis labels, titles. Every function either says how much room a thing needs or
-- draws it into that room, with the same numbers, so that nothing is ever cut off.
local canvas = require "kvbench.plot.canvas"
local labels = require "kvbench.plot.labels"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local TICK, GAP = 2.5, 3
local CAP, DEPTH = 0.73, 0.24 -- capitals and descenders of the font per point of size

--- Do the labels of ticks along x keep `gap` points apart? The scale must be placed.
function M.x_fits(scale, gap)
  return function(ticks)
    local edge = -math.huge
    for _, tick in ipairs(ticks) do
      local x, half = scale:map(tick.at), canvas.measure(tick.label, style.tick) / 2
      if x - half < edge + gap then return false end
      edge = x + half
    end
    return true
  end
end

--- Do the labels of ticks along y keep apart?
function M.y_fits(scale, gap)
  return function(ticks)
    for i = 2, #ticks do
      if math.abs(scale:map(ticks[i].at) - scale:map(ticks[i - 1].at)) < gap then return false end
    end
    return true
  end
end

--- Widest label of some ticks.
function M.widest(ticks)
  local widest = 0
  for _, tick in ipairs(ticks) do widest = math.max(widest, (canvas.measure(tick.label, style.tick))) end
  return widest
end

local function label_lines(label, length)
  if not label or label == "" then return {} end
  return text.wrap(label, style.label, false, math.max(length, 40))
end

local function block(n, size) return n == 0 and 0 or n * size * style.leading end

--- Room below the plot. ticks carry labels; turned = labels stand upright.
function M.x_space(ticks, label, length, turned)
  local space = TICK + GAP
  if #ticks > 0 then space = space + (turned and M.widest(ticks) or style.tick * CAP) + 1 end
  return space + block(#label_lines(label, length), style.label) + style.tick * DEPTH
end

--- Room left of the plot.
function M.y_space(ticks, label, length)
  local lines = #label_lines(label, length)
  return TICK + GAP + M.widest(ticks) + block(lines, style.label) + (lines > 0 and 2 or 0)
end

--- Room above the plot for a title wrapped to `width`.
function M.title_space(title, width, size)
  if not title or title == "" then return 0 end
  return block(#text.wrap(title, size, true, width), size) + 3
end

--- The ticks' marks and labels and the axis label, below the box. ticks: {pos = x, label = }.
function M.draw_x(c, box, ticks, label, turned)
  local bottom = box.y + box.height
  local deepest = 0
  for _, tick in ipairs(ticks) do
    c:polyline({ tick.pos, bottom, tick.pos, bottom + TICK }, { width = style.hair, color = style.axis })
    if turned then
      c:text(tick.label, tick.pos, bottom + TICK + GAP, { size = style.tick, ax = 1, ay = 0.5, degrees = 90 })
      deepest = math.max(deepest, (canvas.measure(tick.label, style.tick)))
    else
      c:text(tick.label, tick.pos, bottom + TICK + GAP, { size = style.tick, ax = 0.5, ay = 0 })
      deepest = style.tick * CAP
    end
  end
  local y = bottom + TICK + GAP + deepest + 1
  for i, line in ipairs(label_lines(label, box.width)) do
    c:text(line, box.x + box.width / 2, y + i * style.label * style.leading - style.label * DEPTH,
      { size = style.label, ax = 0.5 })
  end
end

--- The same, left of the box. ticks: {pos = y, label = }.
function M.draw_y(c, box, ticks, label, left)
  for _, tick in ipairs(ticks) do
    c:polyline({ box.x - TICK, tick.pos, box.x, tick.pos }, { width = style.hair, color = style.axis })
    c:text(tick.label, box.x - TICK - GAP, tick.pos, { size = style.tick, ax = 1, ay = 0.5 })
  end
  for i, line in ipairs(label_lines(label, box.height)) do
    c:text(line, left + (i - 1) * style.label * style.leading + 1, box.y + box.height / 2,
      { size = style.label, ax = 0.5, ay = 0, degrees = 90 })
  end
end

--- A title whose last line ends 3 points above y.
function M.draw_title(c, title, x, y, width, size)
  if not title or title == "" then return end
  local lines = text.wrap(title, size, true, width)
  for i, line in ipairs(lines) do
    c:text(line, x, y - 3 - size * DEPTH - (#lines - i) * size * style.leading, { size = size, bold = true })
  end
end

local NUDGE = 14 -- points a label may stand beside its mark before it moves to a row of its own

--- Puts short labels over positions so that none overlap: items {x =, label =} sorted by x gain .row (0 = lowest) and
--- .left; returns the number of rows. Labels stay inside [from, to] if they fit there.
function M.stack(items, from, to)
  local widths, wanted, far = {}, {}, 0
  for i, item in ipairs(items) do widths[i], wanted[i] = canvas.measure(item.label, style.tick) + 5, item.x end
  local centres = labels.spread(wanted, widths, from - 2.5, to + 2.5)
  for i, x in ipairs(centres) do
    local edge = math.max(from + widths[i] / 2 - 2.5, math.min(wanted[i], to - widths[i] / 2 + 2.5))
    far = math.max(far, math.abs(x - edge))
  end
  local ends, rows = {}, 0
  for i, item in ipairs(items) do
    local width, row = widths[i] - 5, 0
    item.left = math.max(from, math.min(item.x - width / 2, to - width))
    if far <= NUDGE then
      item.left = centres[i] - width / 2
    else
      while ends[row] and item.left < ends[row] + 4 do row = row + 1 end
    end
    ends[row] = item.left + width
    item.row, rows = row, math.max(rows, row + 1)
  end
  return rows
end

M.ROW = style.tick * style.leading
return M
