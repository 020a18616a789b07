-- SPDX-License-Identifier: Apache-2.0
-- A panel that says why there is nothing to draw: an empty space in a grid would look like a result of zero.
local axes = require "kvbench.plot.axes"
local style = require "kvbench.plot.style"
local text = require "kvbench.plot.text"

local M = {}

--- Checks a panel's description: {kind = "note", text = "cannot tell: ...", title =}.
function M.prepare(spec, where)
  if type(spec.text) ~= "string" or spec.text == "" then
    error(where .. ": a note has no text -> text = 'cannot tell: ...'", 0)
  end
  return { kind = "note", title = spec.title, text = spec.text, x = {}, y = {} }
end

--- Room around a plot of width points.
function M.measure(panel, width)
  return { left = 2, right = 4, top = 5 + axes.title_space(panel.title, width, style.label), bottom = 4, marks = 0 }
end

--- Draws the note into the box, in a thin frame, around its middle.
function M.draw(panel, c, box, show)
  c:rect(box.x, box.y, box.width, box.height, { outline = { color = style.grid, width = style.hair } })
  local lines = text.wrap(panel.text, style.label, false, box.width - 12)
  local step = style.label * style.leading
  local top = box.y + box.height / 2 - (#lines - 1) * step / 2
  for i, line in ipairs(lines) do
    c:text(line, box.x + box.width / 2, top + (i - 1) * step,
      { size = style.label, ax = 0.5, ay = 0.5, color = style.muted })
  end
  axes.draw_title(c, panel.title, box.x, box.y - 2 - show.marks, box.width, style.label)
end

M.columns = { "note" }

--- The note stands in the figure's CSV as well.
function M.rows(panel) return { { note = panel.text } } end

return M
