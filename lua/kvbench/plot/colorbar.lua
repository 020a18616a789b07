-- SPDX-License-Identifier: Apache-2.0
-- The colour bar of a heatmap: what its colours mean, drawn beside the plot at the plot's height.
local axes = require "kvbench.plot.axes"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

local GAP, BAR = 7, 8 -- points: before the bar, its width

local function ticks_of(panel, height)
  panel.bar:place(height, 0)
  return panel.bar:ticks(axes.y_fits(panel.bar, 15))
end

local function label_of(panel)
  local factor = panel.bar:multiplier()
  if factor then return panel.color.label and panel.color.label .. " (" .. factor .. ")" or factor end
  return panel.color.label
end

local function lines_of(panel, height)
  local label = label_of(panel)
  return label and text.wrap(label, style.label, false, math.max(height, 60)) or {}
end

--- Room right of a plot of this height.
function M.space(panel, height)
  local label = #lines_of(panel, height) * style.label * style.leading
  return GAP + BAR + 5 + axes.widest(ticks_of(panel, height)) + label + 2
end

--- Draws it beside the plot in `box`.
function M.draw(panel, c, box)
  local left, right = box.x + box.width + GAP, box.x + box.width + GAP + BAR
  local strip = {}
  for i = 0, 255 do strip[i + 1] = { panel.colors[255 - i] } end
  c:cells(left, box.y, BAR, box.height, strip)
  c:rect(left, box.y, BAR, box.height, { outline = { color = style.axis, width = style.hair } })
  local ticks = ticks_of(panel, box.height)
  for _, t in ipairs(ticks) do
    local y = box.y + panel.bar:map(t.at)
    c:polyline({ right, y, right + 2, y }, { color = style.axis, width = style.hair })
    c:text(t.label, right + 4.5, y, { size = style.tick, ay = 0.5 })
  end
  local x = right + 5 + axes.widest(ticks) + 3
  for i, line in ipairs(lines_of(panel, box.height)) do
    c:text(line, x + (i - 1) * style.label * style.leading, box.y + box.height / 2,
      { size = style.label, ax = 0.5, ay = 0, degrees = 90 })
  end
end

return M
