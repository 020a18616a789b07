-- SPDX-License-Identifier: Apache-2.0
-- Naming the lines: at their ends where that fits, else in a legend below. A label at the line's end needs no looking up, so
-- it is preferred; the legend takes over for many, long or crowded names.
local canvas = require "kvbench.plot.canvas"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local LINE = style.legend * 1.25 -- between two labels
local LEAD = 9                   -- from the plot's edge to the label
local SWATCH, BESIDE, BETWEEN = 20, 5, 12

--- Positions as near as possible (least squares) to the sorted `wanted`, at least `gap` apart, inside [from, to].
--- Isotonic regression: with q = wanted - i * gap the condition is "q does not fall", and the bounds are the same for all.
function M.spread(wanted, gap, from, to)
  local blocks = {}
  for i, y in ipairs(wanted) do
    blocks[#blocks + 1] = { sum = y - (i - 1) * gap, n = 1 }
    while #blocks > 1 and blocks[#blocks - 1].sum / blocks[#blocks - 1].n > blocks[#blocks].sum / blocks[#blocks].n do
      local last = table.remove(blocks)
      blocks[#blocks].sum, blocks[#blocks].n = blocks[#blocks].sum + last.sum, blocks[#blocks].n + last.n
    end
  end
  local out, highest = {}, to - (#wanted - 1) * gap
  for _, b in ipairs(blocks) do
    local q = math.max(from, math.min(b.sum / b.n, highest))
    for _ = 1, b.n do out[#out + 1] = q + #out * gap end
  end
  return out
end

local function widest(items)
  local width = 0
  for _, item in ipairs(items) do width = math.max(width, (canvas.measure(item.label, style.legend))) end
  return width
end

--- Room right of the plot for labels at the line ends, or nil when they should go into a legend.
--- items: {label =}; width of the figure, height of the plot, in points.
function M.direct_space(items, width, height)
  local need = widest(items)
  if #items == 0 or need > 0.36 * width or #items * LINE > height + LINE then return nil end
  return LEAD + need + 1
end

--- Labels at the ends of lines. items: {label, color, x, y}: the last drawn point, in points.
function M.draw_direct(c, items, box)
  table.sort(items, function(a, b) if a.y ~= b.y then return a.y < b.y end return a.order < b.order end)
  local wanted = {}
  for i, item in ipairs(items) do wanted[i] = math.max(box.y, math.min(item.y, box.y + box.height)) end
  local placed = M.spread(wanted, LINE, math.min(box.y, box.y + box.height - (#items - 1) * LINE), box.y + box.height)
  local left = box.x + box.width + LEAD
  for i, item in ipairs(items) do
    local color = style.for_text(item.color)
    if math.abs(placed[i] - item.y) > 1.5 or left - item.x > LEAD + 12 then
      c:polyline({ item.x + 3.5, wanted[i], left - 1.5, placed[i] }, { width = 0.5, color = item.color, alpha = 0.6 })
    end
    c:text(item.label, left, placed[i], { size = style.legend, color = color, ay = 0.5 })
  end
end

-- Entries in columns of equal width, names that are too long alone wrapped: {columns, cell, rows = {{height, entries}}}.
local function arrange(items, width)
  local need = math.min(widest(items), width - SWATCH - BESIDE)
  local cell = SWATCH + BESIDE + need + BETWEEN
  local columns = math.max(1, math.min(#items, math.floor((width + BETWEEN) / cell)))
  local rows = {}
  for i, item in ipairs(items) do
    local column = (i - 1) % columns
    if column == 0 then rows[#rows + 1] = { lines = 1 } end
    local row = rows[#rows]
    local lines = text.wrap(item.label, style.legend, false, need + 0.01)
    row[#row + 1] = { item = item, lines = lines, column = column }
    row.lines = math.max(row.lines, #lines)
  end
  return { columns = columns, cell = cell, rows = rows, width = columns * cell - BETWEEN }
end

--- Height of a legend for items {label, draw = function(canvas, x0, x1, y)} on `width` points; 0 without items.
function M.legend_height(items, width)
  if #items == 0 then return 0 end
  local lines = 0
  for _, row in ipairs(arrange(items, width).rows) do lines = lines + row.lines end
  return lines * LINE + 6
end

--- Draws it centred at the top of the given strip.
function M.draw_legend(c, items, x, y, width)
  if #items == 0 then return end
  local plan = arrange(items, width)
  local left, top = x + (width - plan.width) / 2, y + 3
  for _, row in ipairs(plan.rows) do
    for _, entry in ipairs(row) do
      local at = left + entry.column * plan.cell
      entry.item.draw(c, at, at + SWATCH, top + LINE / 2)
      for k, line in ipairs(entry.lines) do
        c:text(line, at + SWATCH + BESIDE, top + (k - 0.5) * LINE, { size = style.legend, ay = 0.5 })
      end
    end
    top = top + row.lines * LINE
  end
end

return M
