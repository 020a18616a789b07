-- SPDX-License-Identifier: Apache-2.0
-- Naming the lines: at their ends where that fits, else in a legend below. A label at the line's end needs no looking
-- up, so it is preferred; the legend takes over for many, long or crowded names.
local canvas = require "kvbench.plot.canvas"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local LINE = style.legend * 1.25 -- between two lines of text
local DIRECT = 0.26              -- widest label beside the plot, of the figure's width
local LEAD = 9                   -- from the plot's edge to the label
local SWATCH, BESIDE, BETWEEN = 20, 5, 12

--- Centres as near as possible (least squares) to the sorted `wanted` for blocks of the given heights, none
--- overlapping, all inside [from, to] if they fit there. Isotonic regression: minus the heights before it, no centre
--- may fall below the last, and the bounds are the same for all.
function M.spread(wanted, heights, from, to)
  local before, total, blocks = {}, 0, {}
  for i, h in ipairs(heights) do
    before[i] = total + h / 2
    total = total + h
  end
  for i, y in ipairs(wanted) do
    blocks[#blocks + 1] = { sum = y - before[i], n = 1 }
    while #blocks > 1 and blocks[#blocks - 1].sum / blocks[#blocks - 1].n > blocks[#blocks].sum / blocks[#blocks].n do
      local last = table.remove(blocks)
      blocks[#blocks].sum, blocks[#blocks].n = blocks[#blocks].sum + last.sum, blocks[#blocks].n + last.n
    end
  end
  local out = {}
  for _, b in ipairs(blocks) do
    local q = math.max(from, math.min(b.sum / b.n, to - total))
    for _ = 1, b.n do out[#out + 1] = q + before[#out + 1] end
  end
  return out
end

local function widest(items)
  local width = 0
  for _, item in ipairs(items) do width = math.max(width, (canvas.measure(item.label, style.legend))) end
  return width
end

-- Labels in lines for the space beside the plot, and what they need.
local function beside(items, figure_width)
  local width, height = 0, 0
  for _, item in ipairs(items) do
    item.lines = text.wrap(item.label, style.legend, false, DIRECT * figure_width)
    for _, line in ipairs(item.lines) do width = math.max(width, (canvas.measure(line, style.legend))) end
    item.height = #item.lines * LINE + (#item.lines > 1 and 2 or 0)
    height = height + item.height
  end
  return width, height
end

-- Would wrapping have to break inside a word?
local function unbreakable(items, figure_width)
  for _, item in ipairs(items) do
    for word in item.label:gmatch "%S+" do
      if canvas.measure(word, style.legend) > DIRECT * figure_width then return true end
    end
  end
  return false
end

--- Room right of the plot for labels at the line ends, or nil when they should go into a legend.
--- items: {label =}; width of the figure, height of the plot, in points.
function M.direct_space(items, figure_width, height)
  if #items == 0 or unbreakable(items, figure_width) then return nil end
  local need, high = beside(items, figure_width)
  if high > height + LINE then return nil end
  return LEAD + need + 1
end

--- Labels at the ends of lines. items: {label, color, x, y, order}: (x, y) is the last drawn point.
function M.draw_direct(c, items, box, figure_width)
  table.sort(items, function(a, b) if a.y ~= b.y then return a.y < b.y end return a.order < b.order end)
  local _, total = beside(items, figure_width)
  local wanted, heights = {}, {}
  for i, item in ipairs(items) do
    wanted[i], heights[i] = math.max(box.y, math.min(item.y, box.y + box.height)), item.height
  end
  local from, to = box.y - LINE / 2, box.y + box.height + LINE / 2
  local placed = M.spread(wanted, heights, math.min(from, to - total), to)
  local left = box.x + box.width + LEAD
  for i, item in ipairs(items) do
    local color = style.for_text(item.color)
    if math.abs(placed[i] - item.y) > 1.5 or left - item.x > LEAD + 12 then
      c:polyline({ item.x + 3.5, wanted[i], left - 1.5, placed[i] }, { width = 0.5, color = item.color, alpha = 0.6 })
    end
    for k, line in ipairs(item.lines) do
      c:text(line, left, placed[i] + (k - (#item.lines + 1) / 2) * LINE,
        { size = style.legend, color = color, ay = 0.5 })
    end
  end
end

-- Entries side by side when all fit on one line; else in balanced columns of equal width, names that are too long alone
-- wrapped. Returns {rows = {{lines = n, {item, lines, left}, ...}, ...}, width}.
local function arrange(items, width)
  local total, row = -BETWEEN, { lines = 1 }
  for i, item in ipairs(items) do
    row[i] = { item = item, lines = { item.label }, left = total + BETWEEN }
    total = total + BETWEEN + SWATCH + BESIDE + canvas.measure(item.label, style.legend)
  end
  if total <= width then return { rows = { row }, width = total } end
  local need = math.min(widest(items), width - SWATCH - BESIDE)
  local cell = SWATCH + BESIDE + need + BETWEEN
  local most = math.max(1, math.floor((width + BETWEEN) / cell))
  local columns = math.ceil(#items / math.ceil(#items / most))
  local rows = {}
  for i, item in ipairs(items) do
    local column = (i - 1) % columns
    if column == 0 then rows[#rows + 1] = { lines = 1 } end
    row = rows[#rows]
    local lines = text.wrap(item.label, style.legend, false, need + 0.01)
    row[#row + 1] = { item = item, lines = lines, left = column * cell }
    row.lines = math.max(row.lines, #lines)
  end
  return { rows = rows, width = columns * cell - BETWEEN }
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
      local at = left + entry.left
      entry.item.draw(c, at, at + SWATCH, top + LINE / 2)
      for k, line in ipairs(entry.lines) do
        c:text(line, at + SWATCH + BESIDE, top + (k - 0.5) * LINE, { size = style.legend, ay = 0.5 })
      end
    end
    top = top + row.lines * LINE
  end
end

return M
