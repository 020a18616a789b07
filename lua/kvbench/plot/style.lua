-- SPDX-License-Identifier: Apache-2.0
-- How figures look: sizes in points, colours, and what tells one series from the next.
--
-- Made for half a page (3.4 in): no text below 8 pt. Series differ in colour, marker and dash, so that the figure
-- survives colour blindness, grey print and a photocopy. Colours: Okabe and Ito (2008) without the yellow, which white
-- paper swallows, and with wine from Paul Tol's "muted" in its place.
local bit = require "bit"

local M = {
  inch = 72,
  width = 3.4, height = 2.6, -- inches, of one panel
  page_width = 7.0,          -- inches, of a figure with several columns
  title = 9, label = 8.5, tick = 8, legend = 8, caption = 8, -- font sizes
  leading = 1.3,             -- line distance / font size
  ink = "#222222", muted = "#5f5f5f", axis = "#7a7a7a", grid = "#e6e6e6", missing = "#d9d9d9",
  line = 1.3, reference = 1.0, hair = 0.6, marker = 2.1,
  band_alpha = 0.16,
}

M.palette = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255" }
M.markers = { "circle", "square", "triangle", "diamond", "down", "cross", "plus", "ring" }
M.dashes = { {}, { 6, 1.8 }, { 2.6, 1.4 }, { 7, 1.6, 1.6, 1.6 }, { 1.1, 1.3 } }

M.named = { black = "#000000", grey = "#777777", gray = "#777777" }

--- "#rrggbb", a palette index or a name, and an opacity, as the 0xRRGGBBAA number that the canvas takes.
function M.rgba(color, alpha)
  local hex = M.hex(color)
  if not hex then
    error("plot: no colour '" .. tostring(color) .. "' -> give '#rrggbb' or a palette index 1 to 8", 0)
  end
  return tonumber(hex:sub(2), 16) * 256 + math.floor((alpha or 1) * 255 + 0.5)
end

--- The "#rrggbb" text of a colour, or nil when it is none.
function M.hex(color)
  if type(color) == "number" and color >= 1 and color == math.floor(color) then
    return M.palette[(color - 1) % #M.palette + 1]
  end
  if type(color) ~= "string" then return nil end
  local hex = M.named[color] or color
  return hex:match "^#%x%x%x%x%x%x$"
end

--- A colour darkened until text in it can be read on white (relative luminance of at most 0.2).
function M.for_text(color)
  local value = tonumber(M.hex(color):sub(2), 16)
  local rgb = { bit.rshift(value, 16), bit.band(bit.rshift(value, 8), 255), bit.band(value, 255) }
  local function luminance(scale)
    local sum = 0
    for i, weight in ipairs { 0.2126, 0.7152, 0.0722 } do sum = sum + weight * (rgb[i] * scale / 255) ^ 2.2 end
    return sum
  end
  local scale = 1
  while luminance(scale) > 0.2 do scale = scale - 0.02 end
  return ("#%02x%02x%02x"):format(rgb[1] * scale, rgb[2] * scale, rgb[3] * scale)
end

M.reference_dashes = { { 3.5, 1.6 }, { 1.1, 1.6 }, { 6, 1.6, 1.1, 1.6 }, { 8, 1.2, 1.1, 1.2, 1.1, 1.2 } }

--- Hands out looks by label, so that one label looks the same in every panel of a figure: look = {color, marker, dash}.
--- Reference series (nulls, placebos) are grey and have dashes of their own.
function M.assigner()
  local given, n = { [true] = {}, [false] = {} }, { [true] = 0, [false] = 0 }
  return function(label, reference)
    local known = given[reference]
    if not known[label] then
      local i = n[reference]
      n[reference] = i + 1
      known[label] = reference and { color = "#6e6e6e", dash = M.reference_dashes[i % #M.reference_dashes + 1] } or {
        color = M.palette[i % #M.palette + 1],
        marker = M.markers[(i + math.floor(i / #M.palette)) % #M.markers + 1],
        dash = M.dashes[i % #M.dashes + 1],
      }
    end
    return known[label]
  end
end

return M
