-- SPDX-License-Identifier: Apache-2.0
-- A radar panel: one spoke per category, one closed line per series. For the paper's own figures; a line chart says the
-- same with less room for misreading (areas grow with the square of the values, and the order of spokes is a choice).
local axes = require "kvbench.plot.axes"
local canvas = require "kvbench.plot.canvas"
local marker = require "kvbench.plot.marker"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local GAP = 5       -- from the outermost ring to the categories
local WIDEST = 62   -- points of a category before it is wrapped

local function fail(where, message, ...) error(where .. ": " .. message:format(...), 0) end

local function read_series(s, i, n, where, looks)
  local name = ("%s: series %d%s"):format(where, i, s.label and " ('" .. tostring(s.label) .. "')" or "")
  if type(s.y) ~= "table" or #s.y ~= n then
    fail(name, "y has %s numbers for %d categories -> NaN for a value that is missing",
      type(s.y) == "table" and #s.y or "no", n)
  end
  for k = 1, n do if type(s.y[k]) ~= "number" then fail(name, "y[%d] is %s", k, tostring(s.y[k])) end end
  local reference = s.style == "reference"
  local given = looks(s.label or "", reference)
  local look = { color = s.color and style.hex(s.color) or given.color, marker = given.marker, dash = given.dash,
    width = reference and style.reference or style.line }
  if s.style == "dashed" then look.dash = { 5, 2 } end
  return { label = s.label or "", y = s.y, look = look, style = s.style or "line" }
end

--- Checks a panel's description: {kind = "radar", categories = {names}, series = {{label =, y = values, style =}, ...},
--- y = {min = 0, max = 1, ticks = 4}, title =}.
function M.prepare(spec, where, looks)
  local names = spec.categories
  if type(names) ~= "table" or #names < 3 then
    fail(where, "a radar needs at least 3 categories, got %s", type(names) == "table" and #names or "none")
  end
  if type(spec.series) ~= "table" or #spec.series == 0 then fail(where, "has no series") end
  local y = spec.y or {}
  local panel = { kind = "radar", title = spec.title, categories = names, x = {}, y = {}, series = {},
    lo = y.min or 0, hi = y.max or 1, rings = 4 }
  if not (panel.lo < panel.hi) then fail(where, "y.min %s is not below y.max %s", panel.lo, panel.hi) end
  for i, s in ipairs(spec.series) do panel.series[i] = read_series(s, i, #names, where, looks) end
  return panel
end

--- The names to be shown in the legend.
function M.names(panel)
  local out = {}
  for i, s in ipairs(panel.series) do
    if s.label ~= "" then
      out[#out + 1] = { label = s.label, color = s.look.color, order = i,
        draw = function(c, x0, x1, y)
          c:polyline({ x0, y, x1, y }, { color = s.look.color, width = s.look.width, dash = s.look.dash })
          if s.look.marker then marker.draw(c, s.look.marker, (x0 + x1) / 2, y, s.look.color) end
        end }
    end
  end
  return out
end

local function lines_of(name) return text.wrap(tostring(name), style.tick, false, WIDEST) end

local function widest(panel)
  local most, rows = 0, 1
  for _, name in ipairs(panel.categories) do
    local lines = lines_of(name)
    rows = math.max(rows, #lines)
    for _, line in ipairs(lines) do most = math.max(most, (canvas.measure(line, style.tick))) end
  end
  return most, rows
end

--- Room around the circle's box.
function M.measure(panel, width)
  local most, rows = widest(panel)
  local high = rows * style.tick * style.leading + GAP + 3
  return { left = most + GAP + 2, right = most + GAP + 2, bottom = high, marks = 0,
    top = high + axes.title_space(panel.title, width + 2 * most, style.label) }
end

local function spoke(panel, k) return 2 * math.pi * (k - 1) / #panel.categories - math.pi / 2 end

-- Runs of neighbouring spokes that have a value; the last is the first one's neighbour.
local function draw_series(panel, c, s, at)
  local n, points = #panel.categories, {}
  for k = 1, n + 1 do
    local i = (k - 1) % n + 1
    if s.y[i] == s.y[i] then
      points[#points + 1], points[#points + 2] = at(i, s.y[i])
    else
      if #points > 2 then
        c:polyline(points, { color = s.look.color, width = s.look.width, dash = s.look.dash })
      end
      points = {}
    end
  end
  if #points > 2 then c:polyline(points, { color = s.look.color, width = s.look.width, dash = s.look.dash }) end
  for k = 1, n do
    if s.y[k] == s.y[k] and s.look.marker then
      local x, y = at(k, s.y[k])
      marker.draw(c, s.look.marker, x, y, s.look.color)
    end
  end
end

--- Draws the panel into the box, as the largest circle that fits.
function M.draw(panel, c, box, show)
  local x0, y0, radius = box.x + box.width / 2, box.y + box.height / 2, math.min(box.width, box.height) / 2
  local function at(k, value)
    local r = radius * math.max(0, math.min(1, (value - panel.lo) / (panel.hi - panel.lo)))
    return x0 + r * math.cos(spoke(panel, k)), y0 + r * math.sin(spoke(panel, k))
  end
  local n = #panel.categories
  for ring = 1, panel.rings do
    local value, points = panel.lo + (panel.hi - panel.lo) * ring / panel.rings, {}
    for k = 1, n + 1 do points[2 * k - 1], points[2 * k] = at((k - 1) % n + 1, value) end
    c:polyline(points, { color = ring == panel.rings and style.axis or style.grid, width = style.hair })
  end
  for k = 1, n do
    local x, y = at(k, panel.hi)
    c:polyline({ x0, y0, x, y }, { color = style.grid, width = style.hair })
    local cos, sin, lines = math.cos(spoke(panel, k)), math.sin(spoke(panel, k)), lines_of(panel.categories[k])
    local step = style.tick * style.leading
    local top = y + GAP * sin - (sin < -.3 and #lines - 1 or sin > .3 and 0 or (#lines - 1) / 2) * step
    for i, line in ipairs(lines) do
      c:text(line, x + GAP * cos, top + (i - 1) * step, { size = style.tick,
        ax = cos > .3 and 0 or cos < -.3 and 1 or .5, ay = sin > .3 and 0 or sin < -.3 and 1 or .5 })
    end
  end
  for _, s in ipairs(panel.series) do draw_series(panel, c, s, at) end
  for ring = 1, panel.rings do -- over the lines: the scale must stay readable
    local value = panel.lo + (panel.hi - panel.lo) * ring / panel.rings
    local x, y = at(1, value)
    c:text(("%.3g"):format(value), x + 2, y, { size = style.tick, ax = 0, ay = .5, color = style.muted })
  end
  local most, rows = widest(panel)
  axes.draw_title(c, panel.title, box.x - most, box.y - rows * style.tick * style.leading - GAP - 2 - show.marks,
    box.width + 2 * most, style.label)
end

M.columns = { "series", "category", "y" }

--- The drawn numbers.
function M.rows(panel)
  local out = {}
  for k, s in ipairs(panel.series) do
    for i, name in ipairs(panel.categories) do
      out[#out + 1] = { series = s.label ~= "" and s.label or "series " .. k, category = name, y = s.y[i] }
    end
  end
  return out
end

return M
