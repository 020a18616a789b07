-- SPDX-License-Identifier: Apache-2.0
-- Finite-size scaling: does a fall become sharper as the system grows, and where does its middle go?
--
-- At each size the mean curve over x is made monotone (isotonic), and where it crosses a quarter, half and three
-- quarters of its whole height gives its middle and its width. log2 of the width and the middle are then regressed on
-- log2(size). A transition has a width that shrinks as size^-1/nu (Fisher & Barber, PRL 28, 1972); what is only a
-- smooth response keeps its width. x must be such that a response which does not sharpen has the same width at all
-- sizes: log2 of the kept tokens is (a change of size moves the curve, and stretches nothing), the evicted share is
-- not. All sizes are read off the same resampled passages, since they ask about the same facts. Rejected: logistic
-- steps with levels of their own (without a plateau in the data they go beyond the score's range, and half of the
-- sizes had no width), sizes weighed by their bootstrap variance (intervals hold less often), scaled curves laid over
-- each other by eye.
local isotonic = require "kvbench.stats.isotonic"
local resample = require "kvbench.stats.resample"
local student = require "kvbench.stats.student"

local M = {}

local LEAST_PASSAGES, LEAST_X, LEAST_SIZES = 8, 5, 3

local function log2(x) return math.log(x) / math.log(2) end

local function variance(values)
  local mean, squares = 0, 0
  for _, v in ipairs(values) do mean = mean + v / #values end
  for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
  return squares / (#values - 1)
end

-- Half of a t interval from replicates over C passages: percentiles are too narrow with as few passages as such runs
-- have, and a width has skewed replicates.
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

--- Where the isotonic fit of y over ascending x crosses `share` of its height, for each share; nil when it has none.
function M.crossings(x, y, weights, shares)
  local fit, out = isotonic.pava(y, weights), {}
  local low, height = fit[1], fit[#fit] - fit[1]
  if not (height > 0) then return nil end
  for k, share in ipairs(shares) do
    local level, i = low + share * height, 2
    while fit[i] < level do i = i + 1 end
    out[k] = x[i - 1] + (x[i] - x[i - 1]) * (level - fit[i - 1]) / (fit[i] - fit[i - 1])
  end
  return out, fit
end

-- The curve of one size by ascending x: {x, at = columns of the table, weights} and resample's table.
local function curve_of(group, opt, ids)
  local x_of, y_of = resample.getter(opt.x, "x"), resample.getter(opt.y, "y")
  local bin_of = resample.getter(opt.bin or "ratio", "bin")
  local rows, sums = {}, {}
  for _, row in ipairs(group.rows) do
    local x, bin = x_of(row), bin_of(row)
    if y_of(row) ~= nil and x ~= nil and bin ~= nil then
      rows[#rows + 1] = row
      bin = math.floor(bin * 1e6 + .5) / 1e6
      local s = sums[bin] or { 0, 0 }
      sums[bin] = s
      s[1], s[2] = s[1] + x, s[2] + 1
    end
  end
  if #rows == 0 then return { x = {}, at = {}, weights = {} }, nil, 0 end
  local t = resample.compact(rows, { x = opt.bin or "ratio", y = opt.y, cluster = opt.cluster, ids = ids })
  local c = { x = {}, at = {}, weights = {} }
  for i, bin in ipairs(t.xs) do c.at[i] = { x = sums[bin][1] / sums[bin][2], i = i - 1, n = t.rows[i] } end
  table.sort(c.at, function(a, b) return a.x < b.x end)
  for i, p in ipairs(c.at) do c.x[i], c.weights[i] = p.x, p.n end
  local passages = 0
  for k = 0, t.clusters - 1 do
    local any = 0
    for i = 0, t.points - 1 do any = any + t.count[k * t.points + i] end
    passages = passages + (any > 0 and 1 or 0)
  end
  return c, t, passages
end

-- Middle and log2 of the width of a row of means; nil where they have none.
local function step_of(c, means, from)
  local y = {}
  for i, p in ipairs(c.at) do y[i] = means[from + p.i] end
  for i = 1, #y do if y[i] ~= y[i] then return nil end end
  local at, fit = M.crossings(c.x, y, c.weights, { .25, .5, .75 })
  if not at then return nil end
  return { middle = at[2], width = at[3] - at[1], low = fit[1], high = fit[#fit], falls = y[#y] > y[1] }
end

local function coarsest(c, middle)
  local step = 0
  for i = 2, #c.x do if c.x[i] >= middle and c.x[i - 1] <= middle then step = c.x[i] - c.x[i - 1] end end
  return step
end

-- One size: the line that is reported, and its replicates {middles, widths} when it counts.
local function size_of(group, opt, ids, R, level)
  local c, t, passages = curve_of(group, opt, ids)
  local line, n = { size = group.size, n = 0, clusters = passages }, #c.x
  for i = 1, n do line.n = line.n + c.weights[i] end
  if passages < LEAST_PASSAGES or n < LEAST_X then
    line.reason = ("%d passages at %d x: a step needs at least %d and %d"):format(passages, n, LEAST_PASSAGES, LEAST_X)
    return line
  end
  local whole = step_of(c, resample.point(t), 0)
  if not whole then
    line.reason = "no fall at all"
    return line
  end
  line.middle, line.width, line.low, line.high = whole.middle, whole.width, whole.low, whole.high
  local values, middles, widths, against = resample.means(t, R, opt.seed or 1), {}, {}, 0
  for r = 0, R - 1 do
    local s = step_of(c, values, r * t.points)
    against = against + (s and s.falls and 0 or 1)
    middles[r + 1] = s and s.middle or whole.middle
    widths[r + 1] = log2(math.max(s and s.width or whole.width, 1e-9))
  end
  local half = half_width(middles, passages, level)
  line.lo, line.hi = whole.middle - half, whole.middle + half
  half = 2 ^ half_width(widths, passages, level)
  line.width_lo, line.width_hi = whole.width / half, whole.width * half
  if against > R * (1 - level) / 2 then line.reason = "no fall that can be told from noise"
  elseif whole.width < coarsest(c, whole.middle) then line.reason = "sharper than the steps of x"
  elseif group.refused then line.reason = group.refused end
  return line, { middles = middles, widths = widths }
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
  return { estimate = estimate, lo = estimate - half, hi = estimate + half, n = #sizes, clusters = C }
end

local function ids_of(groups, opt)
  local cluster_of, list, seen = resample.getter(opt.cluster or "passage_id", "cluster"), {}, {}
  for _, group in ipairs(groups) do
    for _, row in ipairs(group.rows) do
      local id = tostring(cluster_of(row))
      if not seen[id] then seen[id], list[#list + 1] = true, id end
    end
  end
  table.sort(list)
  return list
end

--- groups: list of {size =, rows =, refused = why this size says nothing (optional)}; opt: x (log2 of kept tokens; its
--- mean in each bin is used), bin ("ratio": the column whose values are the points of a curve), y, cluster, seed 1,
--- replicates 400, level .95. Returns {sizes = per group {size, n, clusters, middle, lo, hi (where half of the height
--- is left), width (from a quarter to three quarters, in units of x), width_lo, width_hi, low, high, reason (why it
--- does not count)}, width_exponent = {estimate = d log2(width) / d log2(size), lo, hi, n = sizes, clusters}, shift =
--- {estimate = d middle / d log2(size), ...}, clusters}. With fewer than 3 sizes that count both are nil, and `reason`
--- says why. shift with x = log2(kept): 0 = a fixed number of tokens decides, 1 = a fixed share.
function M.finite_size(groups, opt)
  local ids = ids_of(groups, opt)
  local out, kept, middles, widths = { sizes = {}, clusters = #ids }, {}, {}, {}
  local R, level = opt.replicates or 400, opt.level or .95
  for i, group in ipairs(groups) do
    local line, replicates = size_of(group, opt, ids, R, level)
    out.sizes[i] = line
    if not line.reason then
      kept[#kept + 1], middles[#middles + 1], widths[#widths + 1] = line, replicates.middles, replicates.widths
    end
  end
  if #kept < LEAST_SIZES then
    out.reason = ("%d sizes have a step, %d are needed"):format(#kept, LEAST_SIZES)
    for _, line in ipairs(out.sizes) do
      if line.reason then
        out.reason = ("%s (%.0f: %s)"):format(out.reason, line.size, line.reason)
        break
      end
    end
    return out
  end
  out.width_exponent = trend(kept, function(s) return log2(s.width) end, widths, R, #ids, level)
  out.shift = trend(kept, function(s) return s.middle end, middles, R, #ids, level)
  return out
end

return M
