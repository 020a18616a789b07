-- SPDX-License-Identifier: Apache-2.0
-- From rows to panels: curves with bands where there is something to draw, and a note that says why where there is not.
local curve = require "kvbench.stats.curve"
local resample = require "kvbench.stats.resample"

local M = {}

--- How presses are called in figures.
M.names = {
  ea = "EA", adakv = "AdaKV(EA)", chunk = "Chunk(EA, 64)", random_sinks = "random", streaming_llm = "StreamingLLM",
  snapkv = "SnapKV", full = "full cache", ["chunk(of=ea(n_sink=0))"] = "Chunk(EA, 64), no sinks",
  ["chunk(chunk_length=1024)"] = "Chunk(EA, 1024)", chunkkv = "ChunkKV", finch = "FINCH", oracle = "oracle",
}

--- The shown name of a press.
function M.shown(label) return M.names[label] or label end

--- The answerable rows of one press, the full cache's among them at ratio 0; keep(row): a further condition.
function M.of_press(rows, label, keep)
  local out = {}
  for _, row in ipairs(rows) do
    if (row.press == label or row.press == "full") and (not keep or keep(row)) then out[#out + 1] = row end
  end
  return out
end

-- Number of answers in rows, or in the sums of a large run (run:data).
local function size(rows)
  if not rows.clusters then return #rows end
  local n = 0
  for i = 1, rows.points do n = n + rows.rows[i] end
  return n
end

--- One series: the mean of y (a column or a function) over the ratio, with its band; rows may be a run:data. o: y,
-- label, x, style, band, seed, indicator = false for shares that may all be 0 without being a rate of trials, step = distance of
-- the x that there should be: missing ones break the line. nil and why when no row has a y.
-- Without two passages there is no band.
function M.series(rows, o)
  local y_of, any = resample.getter(o.y, "y"), size(rows) > 0 and rows.clusters ~= nil
  for _, row in ipairs(rows) do
    any = any or y_of(row) ~= nil
    if any then break end
  end
  if not any then return nil, o.reason or "no row has this measure" end
  local points = curve.curve(rows, { x = o.x or "ratio", y = o.y, cluster = "passage_id", band = o.band or "sup-t",
    seed = o.seed or 1, indicator = o.indicator })
  local s = { label = o.label, style = o.style, x = {}, y = {}, lo = {}, hi = {} }
  local banded, at = true, 0
  for _, p in ipairs(points) do
    while o.step and at > 0 and p.x - s.x[at] > 1.5 * o.step do -- a gap breaks the line
      at = at + 1
      s.x[at], s.y[at], s.lo[at], s.hi[at] = s.x[at - 1] + o.step, 0 / 0, 0 / 0, 0 / 0
      s.gaps = s.gaps or {}
      s.gaps[at] = true
    end
    at = at + 1
    s.x[at], s.y[at], s.lo[at], s.hi[at] = p.x, p.mean, p.lo or p.mean, p.hi or p.mean
    banded = banded and p.lo ~= nil
  end
  if not banded then s.lo, s.hi = nil, nil end
  return s
end

-- A score cannot leave its range, so its band does not either.
local function clip(s, lo, hi)
  for i = 1, s.lo and #s.x or 0 do
    s.lo[i], s.hi[i] = math.max(s.lo[i], lo or -math.huge), math.min(s.hi[i], hi or math.huge)
  end
end

--- The value (and its limits) of a series at x, or nil.
function M.at(series, x)
  for i, value in ipairs(series.x) do
    if math.abs(value - x) < 1e-9 then return series.y[i], series.lo and series.lo[i], series.hi and series.hi[i] end
  end
end

--- A panel that says why it is empty.
function M.note(title, why) return { kind = "note", title = title, text = "cannot tell: " .. why } end

--- A panel of lines, one per entry of `lines` = {{rows =, label =, y =, style =}, ...}, entries without data left out;
-- a note when none has any. o: title, y (column or function), y_label, x, x_label, min, max, reason, least (rows an
-- entry needs: fewer are left out, default 1), indicator, step, hlines, vlines.
function M.lines(lines, o)
  local series, missing = {}, {}
  for _, line in ipairs(lines) do
    local s
    if size(line.rows) >= (o.least or 1) then
      s = M.series(line.rows, { y = line.y or o.y, x = o.x, label = line.label, style = line.style, band = o.band,
        indicator = o.indicator, step = o.step })
    end
    if s then
      clip(s, o.min, o.max)
      series[#series + 1] = s
    else missing[#missing + 1] = line.label
    end
  end
  if #series == 0 then return M.note(o.title, o.reason or "no row has this measure"), missing end
  return { kind = "lines", title = o.title, x = { label = o.x_label or "evicted share", min = o.x_min or 0,
    max = o.x_max or 1, scale = o.x_scale }, y = { label = o.y_label, min = o.min, max = o.max }, series = series,
    hlines = o.hlines, vlines = o.vlines }, missing
end

return M
