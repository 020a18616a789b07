-- SPDX-License-Identifier: Apache-2.0
-- Reading a line panel's data: every mistake a caller can make is named here, with the series and the point.
local marker = require "kvbench.plot.marker"
local style = require "kvbench.plot.style"

local M = {}

local STYLES = { line = true, dashed = true, dotted = true, points = true, reference = true }

local function fail(where, text, ...) error(where .. ": " .. text:format(...), 0) end

local function numbers(list, n, name, what)
  local out = {}
  if type(list) ~= "table" then fail(name, "%s is a %s, expected a list of numbers", what, type(list)) end
  for i = 1, n do
    local v = list[i]
    if type(v) ~= "number" then
      fail(name, "%s[%d] is %s, expected a number -> use 0/0 (NaN) for a value that is missing", what, i, tostring(v))
    end
    if v == math.huge or v == -math.huge then
      fail(name, "%s[%d] is infinite -> use 0/0 (NaN) for a value that is missing", what, i)
    end
    out[i] = v
  end
  return out
end

-- A copy of the label's look, with what the style itself decides.
local function look_of(kind, given)
  local look = { color = given.color, marker = given.marker, dash = given.dash, width = style.line }
  if kind == "dashed" then look.dash = { 5, 2 } elseif kind == "dotted" then look.dash = { 1.1, 1.6 } end
  if kind == "reference" then look.width = style.reference end
  return look
end

local function read_one(s, i, where, looks, several)
  local name = ("%s: series %d%s"):format(where, i, s.label and " ('" .. tostring(s.label) .. "')" or "")
  if several and not s.label then fail(name, "has no label -> give label = '...'") end
  if type(s.x) ~= "table" or type(s.y) ~= "table" then fail(name, "x and y must be lists of numbers") end
  if #s.x ~= #s.y then
    fail(name, "x has %d numbers, y has %d -> give one y for each x (NaN where there is none)", #s.x, #s.y)
  end
  if #s.x == 0 then fail(name, "has no points -> leave it out, or check what should have filled it") end
  if (s.lo == nil) ~= (s.hi == nil) then fail(name, "has only one of lo and hi -> give both or neither") end
  local kind = s.style or "line"
  if not STYLES[kind] then fail(name, "no style '%s' -> line, dashed, dotted, points or reference", tostring(kind)) end
  local out = { label = s.label and tostring(s.label) or "", n = #s.x, style = kind, gaps = s.gaps }
  out.x, out.y = numbers(s.x, out.n, name, "x"), numbers(s.y, out.n, name, "y")
  if s.lo then out.lo, out.hi = numbers(s.lo, out.n, name, "lo"), numbers(s.hi, out.n, name, "hi") end
  out.look = look_of(kind, looks(out.label, kind == "reference"))
  if s.color then
    out.look.color = style.hex(s.color)
    if not out.look.color then
      fail(name, "no colour '%s' -> give '#rrggbb' or a palette index 1 to 8", tostring(s.color))
    end
  end
  if s.marker ~= nil then
    if s.marker and not marker.known[s.marker] then fail(name, "no marker '%s'", tostring(s.marker)) end
    out.look.marker = s.marker or nil
  end
  return out
end

local function references(list, key, where)
  local out = {}
  for i, line in ipairs(list or {}) do
    if type(line) == "number" then line = { [key] = line } end
    if type(line[key]) ~= "number" or line[key] ~= line[key] or math.abs(line[key]) == math.huge then
      fail(where, "%slines[%d] needs %s = a number", key == "x" and "v" or "h", i, key)
    end
    out[i] = { [key] = line[key], label = line.label }
  end
  return out
end

--- {series, vlines, hlines} of a panel's description, copied and checked.
function M.read(spec, where, looks)
  if type(spec.series) ~= "table" or #spec.series == 0 then fail(where, "series is empty: there is nothing to draw") end
  local panel = { series = {} }
  for i, s in ipairs(spec.series) do panel.series[i] = read_one(s, i, where, looks, #spec.series > 1) end
  panel.vlines, panel.hlines = references(spec.vlines, "x", where), references(spec.hlines, "y", where)
  return panel
end

--- Is point i drawn?
function M.finite(s, i) return s.x[i] == s.x[i] and s.y[i] == s.y[i] end

--- Stretches {first, last} without NaN; with band, of the interval as well as the place.
function M.runs(s, band)
  local out, from = {}, nil
  for i = 1, s.n + 1 do
    local good
    if i > s.n then good = false
    elseif band then good = s.x[i] == s.x[i] and s.lo[i] == s.lo[i] and s.hi[i] == s.hi[i]
    else good = M.finite(s, i) end
    if good and not from then from = i end
    if not good and from then out[#out + 1], from = { from, i - 1 }, nil end
  end
  return out
end

local function axis_range(values, axis, name, where)
  if #values == 0 then fail(where, "every %s is NaN: there is nothing to draw", name) end
  local lo, hi = math.huge, -math.huge
  for _, v in ipairs(values) do lo, hi = math.min(lo, v), math.max(hi, v) end
  if axis.scale and axis.scale ~= "linear" and axis.scale ~= "log2" then
    fail(where, "%s.scale is '%s' -> linear or log2", name, tostring(axis.scale))
  end
  if axis.scale == "log2" and (lo <= 0 or (axis.min or 1) <= 0) then
    fail(where, "%s = %g has no place on a log2 scale -> leave the point out, or use scale = 'linear'", name,
      math.min(lo, axis.min or lo))
  end
  if math.max(-lo, hi) > 1e300 then fail(where, "%s goes from %g to %g; an axis ends at 1e300", name, lo, hi) end
  if axis.min and axis.max and axis.min >= axis.max then
    fail(where, "%s.min is %g and %s.max is %g -> give min < max", name, axis.min, name, axis.max)
  end
  return { lo, hi }
end

--- {x = {lo, hi}, y = {lo, hi}}: what the axes must hold. Points without a place (x or y NaN) do not count.
function M.range(panel, where)
  local spec_x, spec_y, xs, ys = panel.x, panel.y, {}, {}
  for _, s in ipairs(panel.series) do
    for i = 1, s.n do
      if M.finite(s, i) then
        xs[#xs + 1], ys[#ys + 1] = s.x[i], s.y[i]
        if s.lo and s.lo[i] == s.lo[i] then ys[#ys + 1] = s.lo[i] end
        if s.hi and s.hi[i] == s.hi[i] then ys[#ys + 1] = s.hi[i] end
      end
    end
  end
  for _, h in ipairs(panel.hlines) do ys[#ys + 1] = #ys > 0 and h.y or nil end
  return { x = axis_range(xs, spec_x, "x", where), y = axis_range(ys, spec_y, "y", where) }
end

return M
