-- SPDX-License-Identifier: Apache-2.0
-- A figure: panels on a grid with aligned plots, a title above, a legend and the caption below, and the files it is
-- saved as. The grid is measured before anything is drawn, so that the page is exactly as high as what is on it.
local canvas = require "kvbench.plot.canvas"
local csv = require "kvbench.csv"
local fleet = require "kvbench.fleet"
local heatmap = require "kvbench.plot.heatmap"
local given = require "kvbench.given"
local kvb = require "kvbench.ffi"
local labels = require "kvbench.plot.labels"
local lines = require "kvbench.plot.lines"
local note = require "kvbench.plot.note"
local radar = require "kvbench.plot.radar"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"
local axes = require "kvbench.plot.axes"

local M = {}
local Figure = {}
Figure.__index = Figure

local kinds = { lines = lines, heatmap = heatmap, note = note, radar = radar }
local MARGIN, GUTTER = 3, 9 -- points: around the page, between panels

--- panels: prepared and scaled. o: columns, title, caption, width, height (inches, of the panels together), share_y,
--- share_x, share_color, legend.
function M.new(panels, o)
  local columns = math.min(o.columns or 1, #panels)
  return setmetatable({ panels = panels, columns = columns, rows = math.ceil(#panels / columns), o = o }, Figure)
end

-- What of its frame panel i shows: inner panels of a shared axis leave their labels to the outer ones.
local function shown(f, i)
  local row, column = math.ceil(i / f.columns), (i - 1) % f.columns + 1
  local below, beside = f.panels[i + f.columns], column > 1 and f.panels[i - 1]
  local lowest = not below or below.kind == "note"
  local first, last = not beside or beside.kind == "note", column == f.columns or i == #f.panels
  local panel = f.panels[i]
  local heat = panel.kind == "heatmap"
  return {
    row = row, column = column, figure_width = f.page,
    y_ticks = first or not f.o.share_y, y_label = first or not f.o.share_y,
    x_ticks = lowest or not f.o.share_x, x_label = lowest or not f.o.share_x,
    bar = heat and (last or not f.o.share_color),
  }
end

local function zeros(n)
  local out = {}
  for i = 1, n do out[i] = 0 end
  return out
end

local function sum(list)
  local total = 0
  for _, v in ipairs(list) do total = total + v end
  return total
end

-- Margins per column and row, such that plots line up and are of equal size: measured twice, since ticks depend on the
-- size.
local function arrange(f, width, height)
  local w, h = 0.75 * width / f.columns, 0.7 * height / f.rows
  local left, right, top, bottom, marks
  for _ = 1, 3 do
    left, right, top, bottom, marks = zeros(f.columns), zeros(f.columns), zeros(f.rows), zeros(f.rows), zeros(f.rows)
    for i, panel in ipairs(f.panels) do
      local show = shown(f, i)
      local room = kinds[panel.kind].measure(panel, w, h, show)
      left[show.column] = math.max(left[show.column], room.left)
      right[show.column] = math.max(right[show.column], room.right)
      top[show.row] = math.max(top[show.row], room.top)
      bottom[show.row] = math.max(bottom[show.row], room.bottom)
      marks[show.row] = math.max(marks[show.row], room.marks)
    end
    for row = 1, f.rows do top[row] = top[row] + marks[row] end
    w = (width - sum(left) - sum(right) - (f.columns - 1) * GUTTER) / f.columns
    h = (height - sum(top) - sum(bottom) - (f.rows - 1) * GUTTER) / f.rows
    if w < 20 or h < 20 then
      error(("plot: %d x %d panels on %.2f x %.2f in leave %.0f x %.0f points for each plot, less than 20 -> give a "
        .. "larger width or height, or fewer panels"):format(f.columns, f.rows, width / 72, height / 72,
        math.max(w, 0), math.max(h, 0)), 0)
    end
  end
  return { w = w, h = h, left = left, right = right, top = top, bottom = bottom, marks = marks }
end

-- Every name once, in order of appearance.
local function names_of(f)
  local out, seen = {}, {}
  for _, panel in ipairs(f.panels) do
    for _, name in ipairs(kinds[panel.kind].names and kinds[panel.kind].names(panel) or {}) do
      if not seen[name.label] then
        seen[name.label] = true
        out[#out + 1] = name
      end
    end
  end
  return out
end

-- Names go to the ends of the lines when the one panel has room for them, else below.
local function choose_legend(f, height)
  local panel, names = f.panels[1], names_of(f)
  local wish = f.o.legend
  local single = #f.panels == 1 and panel.kind == "lines"
  panel.direct = single and wish ~= "below" and wish ~= false and not lines.ends_early(panel)
    and labels.direct_space(names, f.page, 0.75 * height) ~= nil
  return (panel.direct or wish == false) and {} or names
end

--- The canvas with everything on it; o.caption = false leaves the caption to the page around the figure.
function Figure:draw(o)
  local width, height = self.o.width * style.inch, self.o.height * style.inch
  self.page = width
  local inside = width - 2 * MARGIN
  local legend = choose_legend(self, height)
  local plan = arrange(self, inside, height)
  local title = axes.title_space(self.o.title, inside, style.title)
  local below = labels.legend_height(legend, inside)
  local captioned = self.o.caption and not (o and o.caption == false)
  local caption = captioned and text.wrap(self.o.caption, style.caption, false, inside) or {}
  local caption_height = #caption > 0 and #caption * style.caption * style.leading + 5 or 0
  local c = canvas.new(width, MARGIN + title + height + below + caption_height + MARGIN)
  axes.draw_title(c, self.o.title, MARGIN, MARGIN + title, inside, style.title)
  local y = MARGIN + title
  for row = 1, self.rows do
    local x = MARGIN
    y = y + plan.top[row]
    for column = 1, self.columns do
      local i = (row - 1) * self.columns + column
      local panel = self.panels[i]
      if panel then
        local show = shown(self, i)
        show.left, show.marks = x, plan.marks[row]
        kinds[panel.kind].draw(panel, c, { x = x + plan.left[column], y = y, width = plan.w, height = plan.h }, show)
      end
      x = x + plan.left[column] + plan.w + plan.right[column] + GUTTER
    end
    y = y + plan.h + plan.bottom[row] + GUTTER
  end
  y = MARGIN + title + height
  labels.draw_legend(c, legend, MARGIN, y, inside)
  for i, line in ipairs(caption) do
    c:text(line, MARGIN, y + below + 5 + (i - 1) * style.caption * style.leading,
      { size = style.caption, ay = 0, color = style.muted })
  end
  return c
end

--- {columns, rows} of the drawn numbers: panel, then series, x, y, lo, hi of lines and row, column, value of heatmaps.
function Figure:numbers()
  local columns, has, rows = { "panel" }, {}, {}
  for i, panel in ipairs(self.panels) do
    local kind = kinds[panel.kind]
    if not has[kind] then
      has[kind] = true
      for _, name in ipairs(kind.columns) do columns[#columns + 1] = name end
    end
    for _, row in ipairs(kind.rows(panel)) do
      row.panel = panel.title and panel.title ~= "" and panel.title or i
      rows[#rows + 1] = row
    end
  end
  return columns, rows
end

--- Saves path.png, path.pdf, path.svg and path.csv (the numbers that are drawn); folders are made. With an extension in
--- the path only that format and the CSV. o: formats = {"png", ...}, dpi = 300. Returns the list of files written.
function Figure:save(path, o)
  o = o or {}
  given.path("figure:save", path)
  local formats = o.formats or { "png", "pdf", "svg" }
  local stem, extension = path:match "^(.+)%.(%l%l%l)$"
  if extension == "png" or extension == "pdf" or extension == "svg" then
    path, formats = stem, { extension }
  end
  local folder = path:match "^(.*)/[^/]*$"
  if folder and folder ~= "" then kvb.check(kvb.C.kvb_dir_make(folder)) end
  local c, files, worker = self:draw(), {}, fleet.shard() -- a worker leaves files to who has the whole of the sweep
  for _, format in ipairs(formats) do
    files[#files + 1] = path .. "." .. format
    if not worker then c:save(files[#files], o.dpi or 300) end
  end
  files[#files + 1] = csv.write(path .. ".csv", self:numbers())
  return files
end

return M
