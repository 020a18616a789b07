-- SPDX-License-Identifier: Apache-2.0
-- A panel of lines: series with bands, vertical and horizontal reference lines. NaN breaks a line; nothing is
-- interpolated.
local axes = require "kvbench.plot.axes"
local labels = require "kvbench.plot.labels"
local marker = require "kvbench.plot.marker"
local scale = require "kvbench.plot.scale"
local series_of = require "kvbench.plot.series"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

--- Checks a panel's description and takes its data; `where` names it in errors, looks hands out the series' looks.
function M.prepare(spec, where, looks)
  local panel = series_of.read(spec, where, looks)
  panel.kind, panel.title, panel.x, panel.y = "lines", spec.title, spec.x or {}, spec.y or {}
  panel.range = series_of.range(panel, where)
  return panel
end

--- Fixes the scales; range = {x = {lo, hi}, y = {lo, hi}} may be wider than the panel's own, to share axes.
function M.scales(panel, range)
  panel.xs = scale.new(range.x[1], range.x[2], panel.x, false)
  panel.ys = scale.new(range.y[1], range.y[2], panel.y, true)
end

--- The names to be shown: {label, look, order} of series and horizontal lines.
function M.names(panel)
  local out = {}
  for i, s in ipairs(panel.series) do
    if s.label ~= "" then
      out[#out + 1] = { label = s.label, color = s.look.color, series = s, order = i,
        draw = function(c, x0, x1, y) marker.swatch(c, s, x0, x1, y) end }
    end
  end
  for i, h in ipairs(panel.hlines) do
    if h.label then
      out[#out + 1] = { label = h.label, color = style.muted, hline = h, order = #panel.series + i,
        draw = function(c, x0, x1, y) marker.level(c, x0, x1, y) end }
    end
  end
  return out
end

--- Does some name lack a line's end near the right edge to stand at? A long leader across the plot would look like
--- data.
function M.ends_early(panel)
  panel.xs:place(0, 1)
  for _, s in ipairs(panel.series) do
    local last = s.n
    while last > 1 and not series_of.finite(s, last) do last = last - 1 end
    if s.label ~= "" and (s.style == "points" or not (panel.xs:map(s.x[last]) >= 0.8)) then return true end
  end
  return false
end

local function axis_label(axis, s)
  local factor = s:multiplier()
  if not factor then return axis.label end
  return axis.label and axis.label .. " (" .. factor .. ")" or factor
end

local LONGEST = 90 -- points, of an upright name

local function any() return true end

-- Ticks of both axes. Numbers along x are thinned until they keep apart; names are all shown, upright if need be (the
-- third result).
local function fit(panel, width, height)
  panel.xs:place(0, width)
  panel.ys:place(height, 0)
  local xt, yt = panel.xs:ticks(axes.x_fits(panel.xs, 4.5)), panel.ys:ticks(axes.y_fits(panel.ys, 15))
  local all = panel.x.labels and panel.xs:ticks(any)
  if not all or #all == #xt then return xt, yt, false end
  for _, tick in ipairs(all) do tick.label = text.shorten(tostring(tick.label), style.tick, LONGEST) end
  return all, yt, true
end

-- Labels of vertical lines, over the plot.
local function marks(panel, width)
  local items = {}
  for _, v in ipairs(panel.vlines) do
    if v.label and panel.xs:contains(v.x) then items[#items + 1] = { x = panel.xs:map(v.x), label = v.label } end
  end
  table.sort(items, function(a, b) if a.x ~= b.x then return a.x < b.x end return a.label < b.label end)
  return items, axes.stack(items, 0, width)
end

--- Room around a plot of width x height points. show = {x_ticks, x_label, y_ticks, y_label, figure_width}.
function M.measure(panel, width, height, show)
  local xt, yt, turned = fit(panel, width, height)
  local room = { left = 2, right = 4, top = 5, bottom = 4 }
  if show.x_ticks then room.bottom = axes.x_space(xt, show.x_label and axis_label(panel.x, panel.xs), width, turned) end
  if show.y_ticks then room.left = axes.y_space(yt, show.y_label and axis_label(panel.y, panel.ys), height) end
  if panel.direct then
    room.right = math.max(room.right, labels.direct_space(M.names(panel), show.figure_width, height) or 0)
  end
  local last = show.x_ticks and not turned and xt[#xt]
  if last then room.right = math.max(room.right, panel.xs:map(last.at) + axes.widest { last } / 2 - width + 1) end
  local first = show.x_ticks and not turned and xt[1]
  if first then room.left = math.max(room.left, axes.widest { first } / 2 - panel.xs:map(first.at) + 1) end
  local _, rows = marks(panel, width)
  room.marks = rows * axes.ROW
  room.top = room.top + axes.title_space(panel.title, width, style.label)
  return room
end

local function placed(ticks, s, by)
  for _, tick in ipairs(ticks) do tick.pos = s:map(tick.at) + by end
  return ticks
end

local function draw_band(c, panel, s, box)
  for _, run in ipairs(series_of.runs(s, true)) do
    local points = {}
    for i = run[1], run[2] do
      points[#points + 1] = box.x + panel.xs:map(s.x[i])
      points[#points + 1] = box.y + panel.ys:map(s.hi[i])
    end
    for i = run[2], run[1], -1 do
      points[#points + 1] = box.x + panel.xs:map(s.x[i])
      points[#points + 1] = box.y + panel.ys:map(s.lo[i])
    end
    if run[1] < run[2] then
      c:polygon(points, { color = s.look.color, alpha = style.band_alpha })
    else -- one point has no area: its interval is drawn as a bar
      local x = points[1]
      c:polyline({ x, points[2], x, points[4] }, { color = s.look.color, alpha = 0.6, width = 1 })
    end
  end
end

local function draw_line(c, panel, s, box)
  for _, run in ipairs(series_of.runs(s, false)) do
    local points = {}
    for i = run[1], run[2] do
      points[#points + 1] = box.x + panel.xs:map(s.x[i])
      points[#points + 1] = box.y + panel.ys:map(s.y[i])
    end
    if run[1] < run[2] then c:polyline(points, { color = s.look.color, width = s.look.width, dash = s.look.dash }) end
  end
end

local function draw_markers(c, panel, s, box)
  local places = {}
  for i = 1, s.n do
    if series_of.finite(s, i) and panel.xs:contains(s.x[i]) and panel.ys:contains(s.y[i]) then
      places[#places + 1] = { box.x + panel.xs:map(s.x[i]), box.y + panel.ys:map(s.y[i]) }
    end
  end
  -- Dense lines keep a marker every few points of ink and at both ends: markers identify, they must not hide the line.
  local function near(a, b) return (a[1] - b[1]) ^ 2 + (a[2] - b[2]) ^ 2 < 3.5 ^ 2 end
  local last, final = nil, places[#places]
  for i, p in ipairs(places) do
    if s.style == "points" or i == #places or not ((last and near(p, last)) or (i > 1 and near(p, final))) then
      marker.draw(c, s.look.marker, p[1], p[2], s.look.color)
      last = p
    end
  end
end

local function ends(panel, box)
  local items = {}
  for _, name in ipairs(M.names(panel)) do
    if name.hline then
      name.x, name.y = box.x + box.width, box.y + panel.ys:map(name.hline.y)
    else
      local s = name.series
      for i = s.n, 1, -1 do
        if series_of.finite(s, i) then
          name.x, name.y = box.x + panel.xs:map(s.x[i]), box.y + panel.ys:map(s.y[i])
          break
        end
      end
    end
    name.x = math.min(name.x, box.x + box.width)
    items[#items + 1] = name
  end
  return items
end

--- Draws the panel into the box {x, y, width, height} with the room that measure asked for around it.
function M.draw(panel, c, box, show)
  local xt, yt, turned = fit(panel, box.width, box.height)
  placed(xt, panel.xs, box.x)
  placed(yt, panel.ys, box.y)
  local bottom, right = box.y + box.height, box.x + box.width
  for _, t in ipairs(yt) do c:polyline({ box.x, t.pos, right, t.pos }, { color = style.grid, width = style.hair }) end
  for _, t in ipairs(xt) do c:polyline({ t.pos, box.y, t.pos, bottom }, { color = style.grid, width = style.hair }) end
  c:clipped(box.x - 1, box.y - 1, box.width + 2, box.height + 2, function()
    for _, s in ipairs(panel.series) do if s.lo then draw_band(c, panel, s, box) end end
    for _, v in ipairs(panel.vlines) do
      if panel.xs:contains(v.x) then
        marker.rule(c, box.x + panel.xs:map(v.x), box.y, box.x + panel.xs:map(v.x), bottom)
      end
    end
    for _, h in ipairs(panel.hlines) do
      if panel.ys:contains(h.y) then marker.level(c, box.x, right, box.y + panel.ys:map(h.y)) end
    end
    for _, s in ipairs(panel.series) do if s.style ~= "points" then draw_line(c, panel, s, box) end end
  end)
  c:polyline({ box.x, box.y, box.x, bottom, right, bottom }, { color = style.axis, width = style.hair })
  for _, s in ipairs(panel.series) do if s.look.marker then draw_markers(c, panel, s, box) end end
  axes.draw_x(c, box, show.x_ticks and xt or {}, show.x_label and axis_label(panel.x, panel.xs), turned)
  axes.draw_y(c, box, show.y_ticks and yt or {}, show.y_label and axis_label(panel.y, panel.ys), show.left)
  local items = marks(panel, box.width)
  for _, item in ipairs(items) do
    c:text(item.label, box.x + item.left, box.y - 4 - item.row * axes.ROW, { size = style.tick, color = style.muted })
  end
  axes.draw_title(c, panel.title, box.x, box.y - 2 - show.marks, box.width, style.label)
  if panel.direct then labels.draw_direct(c, ends(panel, box), box, show.figure_width) end
end

M.columns = { "series", "x", "y", "lo", "hi" }

--- The drawn numbers, one row per point; reference lines are rows of a series of their own.
function M.rows(panel)
  local out = {}
  for k, s in ipairs(panel.series) do
    for i = 1, s.n do
      local gap = s.gaps and s.gaps[i] -- a break in a line is no number that was drawn
      if not gap then out[#out + 1] = { series = s.label ~= "" and s.label or "series " .. k, x = s.x[i], y = s.y[i],
        lo = s.lo and s.lo[i], hi = s.hi and s.hi[i] } end
    end
  end
  for _, v in ipairs(panel.vlines) do out[#out + 1] = { series = "vline: " .. (v.label or ""), x = v.x } end
  for _, h in ipairs(panel.hlines) do out[#out + 1] = { series = "hline: " .. (h.label or ""), y = h.y } end
  return out
end

return M
