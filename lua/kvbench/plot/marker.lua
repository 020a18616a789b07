-- SPDX-License-Identifier: Apache-2.0
-- The marks that tell series apart, and their swatches in a legend.
local style = require "kvbench.plot.style"

local M = {}

-- Corners of filled shapes for a radius of 1; areas are about equal, so that no series looks heavier.
local shapes = {
  square = { -0.9, -0.9, 0.9, -0.9, 0.9, 0.9, -0.9, 0.9 },
  triangle = { 0, -1.25, 1.15, 0.85, -1.15, 0.85 },
  down = { 0, 1.25, 1.15, -0.85, -1.15, -0.85 },
  diamond = { 0, -1.3, 1.2, 0, 0, 1.3, -1.2, 0 },
}
local strokes = {
  cross = { { -0.9, -0.9, 0.9, 0.9 }, { -0.9, 0.9, 0.9, -0.9 } },
  plus = { { -1.2, 0, 1.2, 0 }, { 0, -1.2, 0, 1.2 } },
}

M.known = {}
for _, name in ipairs(style.markers) do M.known[name] = true end

local function at(corners, x, y)
  local points = {}
  for i = 1, #corners, 2 do
    points[i], points[i + 1] = x + corners[i] * style.marker, y + corners[i + 1] * style.marker
  end
  return points
end

--- Draws marker `kind` (a name in M.known) at a place.
function M.draw(c, kind, x, y, color)
  local edge = { color = "#ffffff", width = 0.5 }
  if kind == "circle" then
    c:disc(x, y, style.marker, { color = color, outline = edge })
  elseif kind == "ring" then
    c:disc(x, y, style.marker * 0.95, { color = "#ffffff", outline = { color = color, width = 1 } })
  elseif shapes[kind] then
    c:polygon(at(shapes[kind], x, y), { color = color, outline = edge })
  else
    for _, line in ipairs(strokes[kind]) do c:polyline(at(line, x, y), { color = color, width = 1.1 }) end
  end
end

--- A level to compare with, such as the full cache: horizontal, thin, unbroken.
function M.level(c, x0, x1, y) c:polyline({ x0, y, x1, y }, { color = style.muted, width = 0.8 }) end

--- A vertical reference line.
function M.rule(c, x0, y0, x1, y1)
  c:polyline({ x0, y0, x1, y1 }, { color = style.muted, width = 0.8, dash = { 3, 2 } })
end

--- A piece of a series for the legend, from x0 to x1 at height y.
function M.swatch(c, s, x0, x1, y)
  if s.lo then c:rect(x0, y - 3, x1 - x0, 6, { color = s.look.color, alpha = style.band_alpha }) end
  if s.style ~= "points" then
    c:polyline({ x0, y, x1, y }, { color = s.look.color, width = s.look.width, dash = s.look.dash })
  end
  if s.look.marker then M.draw(c, s.look.marker, (x0 + x1) / 2, y, s.look.color) end
end

return M
