-- SPDX-License-Identifier: Apache-2.0
-- Figures for papers: lines, heatmaps and grids of them. Each function checks its data and returns a Figure;
-- figure:save(path) writes PNG, PDF, SVG and the drawn numbers as CSV. Nothing is interpolated, smoothed or left out
-- silently. See docs/plot.md. Sizes are inches.
local figure = require "kvbench.plot.figure"
local heatmap = require "kvbench.plot.heatmap"
local lines = require "kvbench.plot.lines"
local note = require "kvbench.plot.note"
local radar = require "kvbench.plot.radar"
local style = require "kvbench.plot.style"

local M = {}

local function fail(text, ...) error(text:format(...), 0) end

local PANEL = { "kind", "title", "x", "y", "series", "vlines", "hlines", "matrix", "color", "annotate", "spans",
  "text", "categories" }
local FIGURE = { "title", "caption", "width", "height", "legend" }
local GRID = { "columns", "panels", "share_y", "share_x", "share_color" }
local AXIS = { "label", "scale", "ticks", "labels", "min", "max", "format", "first", "origin" }
local COLOR = { "label", "min", "max", "map", "format", "center", "ticks" }
local SERIES = { "label", "x", "y", "lo", "hi", "style", "color", "marker", "gaps" }

-- A misspelt option would be a figure that silently is not what was asked for.
local function only(t, where, ...)
  local known, names = {}, {}
  for _, list in ipairs { ... } do
    for _, name in ipairs(list) do
      known[name] = true
      names[#names + 1] = name
    end
  end
  local unknown
  for name in pairs(t) do
    if not known[name] and (not unknown or tostring(name) < unknown) then unknown = tostring(name) end
  end
  if unknown then fail("%s: no option '%s' -> %s", where, unknown, table.concat(names, ", ")) end
end

local function need_table(t, where)
  if type(t) ~= "table" then fail("%s takes a table of options, got a %s", where, type(t)) end
  return t
end

local function check_panel(spec, where)
  for _, part in ipairs { { "x", AXIS }, { "y", AXIS }, { "color", COLOR } } do
    local name, at = part[1], where .. ": " .. part[1]
    if spec[name] ~= nil then only(need_table(spec[name], at), at, part[2]) end
  end
  for i, s in ipairs(need_table(spec.series or {}, where .. ": series")) do
    local at = where .. ": series " .. i
    only(need_table(s, at), at, SERIES)
  end
end

local function check_size(o, where)
  for _, name in ipairs { "width", "height" } do
    local v = o[name]
    if type(v) ~= "number" or not (v >= 0.5 and v <= 100) then
      fail("%s: %s is %s, expected inches from 0.5 to 100", where, name, tostring(v))
    end
  end
end

local function options(spec, o)
  for _, name in ipairs(FIGURE) do if o[name] == nil then o[name] = spec[name] end end
  o.width, o.height = spec.width or o.width, spec.height or o.height
  return o
end

--- A line chart: plot.lines{series = {{label=, x={}, y={}, lo={}, hi={}, style=, color=, marker=}, ...}, x = {label=,
--- scale="linear"|"log2", ticks=, labels=, min=, max=, format="percent"}, y = {...}, vlines = {{x=, label=}}, hlines =
--- {{y=, label=}}, title=, caption=, legend="below"|false, width=3.4, height=2.6}. Returns a Figure.
function M.lines(spec)
  only(need_table(spec, "plot.lines"), "plot.lines", PANEL, FIGURE)
  check_panel(spec, "plot.lines")
  local o = options(spec, { width = style.width, height = style.height })
  check_size(o, "plot.lines")
  local panel = lines.prepare(spec, "plot.lines", style.assigner())
  panel.title = nil -- the figure's
  lines.scales(panel, panel.range)
  return figure.new({ panel }, o)
end

--- A heatmap: plot.heatmap{matrix = rows or a 2-D tensor, x = {label=, ticks=, labels=, first=0}, y = {...,
--- origin="top"}, color = {label=, min=, max=, map="viridis"|"magma"|"diverging", format=, center=0}, spans = {{from=,
--- to=, label=}}, annotate = true or a format, title=, caption=, width=, height=}. Returns a Figure. Short form:
--- plot.heatmap(matrix, "x.png"[, options]) draws and saves; returns the files.
function M.heatmap(spec, path, more)
  if path ~= nil or type(spec) ~= "table" or (spec.matrix == nil and type(spec[1]) == "table") then
    local full = { matrix = spec }
    for k, v in pairs(more or {}) do full[k] = v end
    local f = M.heatmap(full)
    return path and f:save(path) or f
  end
  only(spec, "plot.heatmap", PANEL, FIGURE)
  check_panel(spec, "plot.heatmap")
  local o = options(spec, { width = style.width, height = style.height })
  check_size(o, "plot.heatmap")
  local panel = heatmap.prepare(spec, "plot.heatmap")
  panel.title = nil
  heatmap.scales(panel, panel.lo, panel.hi)
  return figure.new({ panel }, o)
end

local function widest(panels, kind, get)
  local lo, hi = math.huge, -math.huge
  for _, p in ipairs(panels) do
    if p.kind == kind then
      local range = get(p)
      lo, hi = math.min(lo, range[1]), math.max(hi, range[2])
    end
  end
  return { lo, hi }
end

-- Do all panels with axes have this one in common? Notes have none.
local function same_axis(panels, name)
  local first
  for _, p in ipairs(panels) do
    first = first or p.kind ~= "note" and p or nil
    if first and p.kind ~= "note" and (p.kind ~= first.kind or p[name].label ~= first[name].label
      or p[name].scale ~= first[name].scale or (p.kind == "heatmap" and p.columns ~= first.columns)) then
      return false
    end
  end
  return first ~= nil
end

local function set_scales(panels, o)
  local x = widest(panels, "lines", function(p) return p.range.x end)
  local y = widest(panels, "lines", function(p) return p.range.y end)
  local color = widest(panels, "heatmap", function(p) return { p.lo, p.hi } end)
  for _, p in ipairs(panels) do
    if p.kind == "lines" then
      lines.scales(p, { x = o.share_x and x or p.range.x, y = o.share_y and y or p.range.y })
    elseif p.kind == "heatmap" then
      heatmap.scales(p, o.share_color and color[1] or p.lo, o.share_color and color[2] or p.hi)
    end
  end
end

--- A grid of panels: plot.small_multiples{columns=, panels = {{kind="lines"|"heatmap", ...}, {kind="radar",
--- categories = {names}, series = {{label=, y = values}, ...}}, {kind="note", text= "cannot tell: ...", title=}, ...},
--- title=, caption=,
--- share_y = true, share_x = (when all x axes have one label), share_color = (when all are heatmaps), legend=, width=,
--- height= (of all panels together)}. A label has one colour in all panels and stands once in the legend. Returns a
--- Figure.
function M.small_multiples(spec)
  local where = "plot.small_multiples"
  only(need_table(spec, where), where, GRID, FIGURE)
  if type(spec.panels) ~= "table" or #spec.panels == 0 then fail("%s: panels is empty: nothing to draw", where) end
  local columns = spec.columns or math.min(3, #spec.panels)
  if type(columns) ~= "number" or columns < 1 or columns ~= math.floor(columns) then
    fail("%s: columns is %s, expected a whole number from 1", where, tostring(columns))
  end
  local looks, panels, heatmaps = style.assigner(), {}, 0
  for i, p in ipairs(spec.panels) do
    local at = ("%s: panel %d%s"):format(where, i, type(p) == "table" and p.title and " ('" .. p.title .. "')" or "")
    only(need_table(p, at), at, PANEL)
    check_panel(p, at)
    local kind = p.kind or (p.matrix and "heatmap" or "lines")
    if kind == "lines" then panels[i] = lines.prepare(p, at, looks)
    elseif kind == "heatmap" then panels[i], heatmaps = heatmap.prepare(p, at), heatmaps + 1
    elseif kind == "note" then panels[i] = note.prepare(p, at)
    elseif kind == "radar" then panels[i] = radar.prepare(p, at, looks)
    else fail("%s: no kind '%s' -> lines, heatmap, radar or note", at, tostring(kind)) end
  end
  columns = math.min(columns, #panels)
  local rows = math.ceil(#panels / columns)
  local width = spec.width or (columns == 1 and style.width or style.page_width)
  local each = math.max(1.6, math.min(style.height, 0.8 * width / columns))
  local o = options(spec, { width = width, height = rows * each, columns = columns })
  check_size(o, where)
  local function either(choice, default) if choice == nil then return default end return choice end
  o.share_y = either(spec.share_y, true) and same_axis(panels, "y")
  o.share_x = either(spec.share_x, same_axis(panels, "x")) and same_axis(panels, "x")
  o.share_color = either(spec.share_color, heatmaps == #panels) and heatmaps == #panels
  set_scales(panels, o)
  return figure.new(panels, o)
end

return M
