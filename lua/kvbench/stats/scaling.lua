-- SPDX-License-Identifier: Apache-2.0
-- Finite-size scaling: does a step become sharper as the system grows, and where does its middle go?
--
-- At each size a logistic step is fitted over x; log2 of its width and its middle are then regressed on log2(size). A
-- transition has a width that shrinks as size^-1/nu (Fisher & Barber, PRL 28, 1972); what is only a smooth response
-- keeps its width. x must be such that a response which does not sharpen has the same width at all sizes: log2 of the
-- kept tokens is (a change of size moves the curve, and stretches nothing), the evicted share is not near 1. All sizes
-- are fitted on the same resampled passages, since they ask about the same facts. Rejected: sizes weighed by their
-- bootstrap variance (intervals of 16 passages then hold .92 of the time), scaled curves laid over each other by eye,
-- and one exponent for all observables, which assumes what is asked.
local ffi = require "ffi"
local resample = require "kvbench.stats.resample"
local shapes = require "kvbench.stats.shapes"
local student = require "kvbench.stats.student"

local M = {}

--- Widths are given from 10 to 90 % of the step, which is this many logistic widths.
M.TEN_TO_NINETY = 2 * math.log(9)

local LEAST_PASSAGES, LEAST_X, LEAST_SIZES = 8, 5, 3

local function log2(x) return math.log(x) / math.log(2) end

-- Items {x, y, cluster} of one size; ids: passage -> cluster index, shared by all sizes.
local function items_of(rows, opt, ids)
  local x_of, y_of = resample.getter(opt.x, "x"), resample.getter(opt.y, "y")
  local cluster_of, items = resample.getter(opt.cluster or "passage_id", "cluster"), {}
  for _, row in ipairs(rows) do
    local x, y = x_of(row), y_of(row)
    if y == true then y = 1 elseif y == false then y = 0 end
    if type(x) == "number" and type(y) == "number" and x == x and y == y and math.abs(x) < math.huge then
      items[#items + 1] = { x = x, y = y, cluster = ids[tostring(cluster_of(row))] }
    end
  end
  return items
end

local function ids_of(groups, opt)
  local cluster_of, list, ids = resample.getter(opt.cluster or "passage_id", "cluster"), {}, {}
  for _, group in ipairs(groups) do
    for _, row in ipairs(group.rows) do
      local id = tostring(cluster_of(row))
      if not ids[id] then ids[id], list[#list + 1] = true, id end
    end
  end
  table.sort(list)
  for i, id in ipairs(list) do ids[id] = i - 1 end
  return ids, #list
end

-- Why a fit says nothing of a width, or nil.
local function refused(f, d)
  local range = d.high - d.low
  if f.b50 < d.low + .02 * range or f.b50 > d.high - .02 * range then return "the step lies at the edge of the data" end
  if f.width > .98 * range then return "no step: as wide as the data" end
  if f.width < 1.02 * range / 200 then return "sharper than the grid of x" end
end

local function fit_of(group, opt, ids, C)
  local items = items_of(group.rows, opt, ids)
  local out, clusters, xs, passages, distinct = { size = group.size, n = #items }, {}, {}, 0, 0
  for _, item in ipairs(items) do
    if not clusters[item.cluster] then clusters[item.cluster], passages = true, passages + 1 end
    if not xs[item.x] then xs[item.x], distinct = true, distinct + 1 end
  end
  out.clusters = passages
  if passages < LEAST_PASSAGES or distinct < LEAST_X then
    out.reason = ("%d passages at %d x: a step needs at least %d and %d"):format(passages, distinct, LEAST_PASSAGES,
      LEAST_X)
    return out
  end
  local d, ones = shapes.cells(items), ffi.new("double[?]", C)
  for c = 0, C - 1 do ones[c] = 1 end
  local f = shapes.logistic.fit(d, ones)
  out.b50, out.width, out.low, out.high = f.b50, f.width * M.TEN_TO_NINETY, f.low, f.high
  out.reason = refused(f, d)
  if not out.reason and group.refused then out.reason = group.refused end
  return out, d, f
end

local function variance(values)
  local mean, squares = 0, 0
  for _, v in ipairs(values) do mean = mean + v / #values end
  for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
  return squares / (#values - 1)
end

-- Half of a t interval from replicates over C passages: percentiles are too narrow with as few passages as such runs
-- have (simulated: .82 of 95 % intervals hold at 16), and a width has skewed replicates.
local function half_width(values, C, level)
  return student.quantile(.5 + level / 2, C - 1) * math.sqrt(variance(values) * C / (C - 1))
end

-- Least-squares slope of y on x.
local function slope(x, y)
  local mx, my, sxx, sxy = 0, 0, 0, 0
  for i = 1, #x do mx, my = mx + x[i] / #x, my + y[i] / #x end
  for i = 1, #x do sxx, sxy = sxx + (x[i] - mx) ^ 2, sxy + (x[i] - mx) * (y[i] - my) end
  return sxy / sxx
end

-- Slope of a quantity over log2(size) with its limits; values: per size its replicates.
local function trend(sizes, at, values, R, C, level)
  local x, y = {}, {}
  for i, s in ipairs(sizes) do x[i], y[i] = log2(s.size), at(s) end
  local drawn = {}
  for r = 1, R do
    local z = {}
    for i = 1, #sizes do z[i] = values[i][r] end
    drawn[r] = slope(x, z)
  end
  local estimate, half = slope(x, y), half_width(drawn, C, level)
  return { estimate = estimate, lo = estimate - half, hi = estimate + half, n = #sizes }
end

--- groups: list of {size =, rows =, refused = why this size says nothing (optional)}; opt: x (log2 of kept tokens), y,
--- cluster, seed 1, replicates 200, level .95. Returns {sizes = per group {size, n, clusters, b50, width (10 to 90 %
--- of the step, in units of x), low, high, lo, hi (of b50), width_lo, width_hi, reason (why it does not count)},
--- narrowing = {estimate = d log2(width) / d log2(size), lo, hi, n = sizes}, shift = {estimate = d b50 / d log2(size),
--- ...}, clusters}. With fewer than 3 sizes that count there are no narrowing and shift, and `reason` says why. shift
--- with x = log2(kept): 0 = a fixed number of tokens decides, 1 = a fixed share.
function M.finite_size(groups, opt)
  local ids, C = ids_of(groups, opt)
  local out, kept, fits, R, level = { sizes = {}, clusters = C }, {}, {}, opt.replicates or 200, opt.level or .95
  for i, group in ipairs(groups) do
    local line, d, f = fit_of(group, opt, ids, C)
    out.sizes[i] = line
    if d and not line.reason then
      f.log_width = math.log(f.width)
      fits[#fits + 1] = { line = line, d = d, start = f, middles = {}, widths = {}, against = 0 }
    end
  end
  if C < 2 then
    out.reason = ("%d passages"):format(C)
    return out
  end
  local plan, weight = resample.weights(C, R, opt.seed or 1), ffi.new("double[?]", C)
  for r = 0, R - 1 do
    for c = 0, C - 1 do weight[c] = plan[r * C + c] end
    for _, fit in ipairs(fits) do
      local f = shapes.logistic.fit(fit.d, weight, fit.start)
      fit.middles[r + 1], fit.widths[r + 1] = f.b50, log2(f.width * M.TEN_TO_NINETY)
      local fall, whole = f.high - f.low, fit.start.high - fit.start.low
      if not (fall * whole > 0) then fit.against = fit.against + 1 end
    end
  end
  local middles, widths = {}, {}
  for _, fit in ipairs(fits) do
    local line = fit.line
    if fit.against > R * (1 - level) / 2 then
      line.reason = "no fall that can be told from noise"
    else
      kept[#kept + 1], middles[#middles + 1], widths[#widths + 1] = line, fit.middles, fit.widths
    end
    local half = half_width(fit.middles, C, level)
    line.lo, line.hi = line.b50 - half, line.b50 + half
    half = 2 ^ half_width(fit.widths, C, level)
    line.width_lo, line.width_hi = line.width / half, line.width * half
  end
  if #kept < LEAST_SIZES then
    out.reason = ("%d sizes have a step, %d are needed"):format(#kept, LEAST_SIZES)
    for _, line in ipairs(out.sizes) do
      if line.reason then out.reason = ("%s (%g: %s)"):format(out.reason, line.size, line.reason) break end
    end
    return out
  end
  out.narrowing = trend(kept, function(s) return log2(s.width) end, widths, R, C, level)
  out.shift = trend(kept, function(s) return s.b50 end, middles, R, C, level)
  return out
end

return M
