-- SPDX-License-Identifier: Apache-2.0
-- Curves over the ratio with bands from the passage bootstrap, differences of two curves, and susceptibility.
--
-- A sup-t band covers the whole curve at once with the stated probability, so that its shape (a cliff, a peak) can
-- be read off it; pointwise intervals cannot be read so. It is theta +- c' * se with c the quantile of max_x |theta*
-- - theta| / se over replicates.
-- The bootstrap spread of C passages is too small by (C - 1) / C, and c treats it as known; c' carries both corrections
-- (Student's t with C - 1 degrees of freedom). Simulated at 60 passages and 10 ratios, that covers .94 instead of .91.
-- Source: Montiel Olea & Plagborg-Moller, "Simultaneous confidence bands", J. Appl. Econometrics 34, 2019.
local ffi = require "ffi"
local normal = require "kvbench.stats.normal"
local interval = require "kvbench.stats.interval"
local resample = require "kvbench.stats.resample"
local susceptibility = require "kvbench.stats.susceptibility"

local M = {}

local function finite(v) return v == v and v > -math.huge and v < math.huge end

local function transform_all(f, xs, values, R, P)
  if not f then return values end
  local out, row = ffi.new("double[?]", R * P), {}
  for r = 0, R - 1 do
    for i = 0, P - 1 do row[i + 1] = values[r * P + i] end
    local y = f(xs, row)
    for i = 0, P - 1 do out[r * P + i] = y[i + 1] end
  end
  return out
end

-- Mean and spread of column i over the replicates that have it.
local function spread(values, R, P, i)
  local n, mean, m2 = 0, 0, 0
  for r = 0, R - 1 do
    local v = values[r * P + i]
    if finite(v) then
      n = n + 1
      local d = v - mean
      mean = mean + d / n
      m2 = m2 + d * (v - mean)
    end
  end
  return n > 1 and math.sqrt(m2 / (n - 1)) or 0, n
end

local function critical_value(values, theta, se, R, P, level)
  local worst, n = {}, 0
  for r = 0, R - 1 do
    local top = 0
    for i = 0, P - 1 do
      local v = values[r * P + i]
      if se[i] > 0 and finite(v) then top = math.max(top, math.abs(v - theta[i]) / se[i]) end
    end
    n = n + 1
    worst[n] = top
  end
  table.sort(worst)
  return interval.quantile(worst, level, n)
end

-- Limits for every point; see M.curve for the fields.
local function band(xs, theta, values, opt, meta)
  local R, P, level = opt.replicates, #xs, opt.level
  local se, points = ffi.new("double[?]", P), {}
  for i = 0, P - 1 do se[i] = spread(values, R, P, i) end
  local critical = opt.band == "sup-t" and critical_value(values, theta, se, R, P, level) or nil
  for i = 0, P - 1 do
    local p = { x = xs[i + 1], mean = theta[i], n = meta.rows[i + 1], clusters = meta.clusters_at[i + 1] }
    if se[i] == 0 and meta.indicator and (theta[i] == 0 or theta[i] == 1) then
      -- No replicate varies, which is not certainty: passages are the trials. The z of the band in use keeps it
      -- simultaneous.
      local z = critical and critical > 0 and critical or nil
      p.lo, p.hi = interval.wilson(theta[i] * p.clusters, p.clusters, level, z)
      p.wilson = true
    elseif p.clusters >= 2 then
      if critical then
        local half = se[i] * math.sqrt(p.clusters / (p.clusters - 1)) * normal.to_t(critical, p.clusters - 1)
        p.lo, p.hi = theta[i] - half, theta[i] + half
      else
        local column = {}
        for r = 0, R - 1 do
          local v = values[r * P + i]
          if finite(v) then column[#column + 1] = v end
        end
        p.lo, p.hi = interval.percentile(column, level)
      end
      if meta.indicator then p.lo, p.hi = math.max(0, p.lo), math.min(1, p.hi) end
    end
    points[i + 1] = p
  end
  return points, { critical = critical, replicates = R, level = level, band = opt.band }
end

local function defaults(opt)
  local o = {}
  for k, v in pairs(opt) do o[k] = v end
  o.replicates, o.level, o.seed, o.band = opt.replicates or 2000, opt.level or .95, opt.seed or 1, opt.band or "sup-t"
  if o.band ~= "sup-t" and o.band ~= "pointwise" then
    error(string.format("stats.curve: band '%s' is unknown -> 'sup-t' (the whole curve at once) or 'pointwise'",
      tostring(o.band)), 0)
  end
  if not (o.level > 0 and o.level < 1) or o.replicates < 2 then
    error(string.format("stats.curve: level %s, replicates %s -> a level inside (0, 1) and at least 2 replicates",
      tostring(o.level), tostring(o.replicates)), 0)
  end
  return o
end

local function curve_of(rows, opt, f)
  local t = resample.compact(rows, opt)
  local theta, values = resample.point(t), resample.means(t, opt.replicates, opt.seed)
  local meta = { rows = t.rows, clusters_at = t.clusters_at, indicator = t.indicator and not f }
  theta = transform_all(f, t.xs, theta, 1, t.points)
  values = transform_all(f, t.xs, values, opt.replicates, t.points)
  local points, info = band(t.xs, theta, values, opt, meta)
  info.clusters = t.clusters
  return points, info, values
end

--- Mean of y at each x with a band.
---   opt.x "ratio", opt.y: column or function(row) -> number | boolean | nil (nil: the row does not count here, e.g.
---     unanswerable),
---   opt.cluster "passage_id", replicates 2000, seed 1, level .95, band "sup-t" | "pointwise"
--- Returns points = { {x, mean, lo, hi, n = rows, clusters = passages}, ... } by ascending x, and info = {critical,
--- clusters, ...}. Indicator columns are clipped to [0, 1]; where one never varies the limits are Wilson's on the
--- passages (wilson = true). With fewer than 2 passages and no indicator lo and hi are nil.
function M.curve(rows, opt) return curve_of(rows, defaults(opt)) end

--- One curve per value of opt.by (column or function), same replicates: array of {key, points, info} in order of
--- first appearance. Groups without any y (a column that does not apply) are left out.
function M.curves(rows, opt)
  local by, y_of = resample.getter(opt.by, "by"), resample.getter(opt.y, "y")
  local order, groups = {}, {}
  for _, row in ipairs(rows) do
    local key = by(row)
    if key ~= nil and y_of(row) ~= nil then
      if not groups[key] then groups[key], order[#order + 1] = {}, key end
      table.insert(groups[key], row)
    end
  end
  local out = {}
  for i, key in ipairs(order) do
    local points, info = M.curve(groups[key], opt)
    out[i] = { key = key, points = points, info = info }
  end
  return out
end

local function common(a, b)
  local seen, out = {}, {}
  for _, v in ipairs(a) do seen[v] = true end
  for _, v in ipairs(b) do if seen[v] then out[#out + 1] = v end end
  return out
end

--- Difference of two curves, mean_a - mean_b at each x, from replicates that draw the same passages for both
--- (paired). Passages and x that only one side has are left out. Points as M.curve's; info.dropped = passages left out.
function M.contrast(rows_a, rows_b, opt)
  opt = defaults(opt)
  local a, b = resample.compact(rows_a, opt), resample.compact(rows_b, opt)
  local ids, xs = common(a.ids, b.ids), common(a.xs, b.xs)
  if #ids == 0 or #xs == 0 then
    error(string.format("stats.contrast: the two sides share %d passages and %d x -> pass runs over the same data",
      #ids, #xs), 0)
  end
  local dropped = #a.ids + #b.ids - 2 * #ids
  local shared = {}
  for k, v in pairs(opt) do shared[k] = v end
  shared.ids, shared.xs = ids, xs
  a, b = resample.compact(rows_a, shared), resample.compact(rows_b, shared)
  local P, R = #xs, opt.replicates
  local theta, tb = resample.point(a), resample.point(b)
  local values, vb = resample.means(a, R, opt.seed), resample.means(b, R, opt.seed)
  for i = 0, P - 1 do theta[i] = theta[i] - tb[i] end
  for i = 0, R * P - 1 do values[i] = values[i] - vb[i] end
  local meta = { rows = {}, clusters_at = {}, indicator = false }
  for i = 1, P do
    meta.rows[i], meta.clusters_at[i] = math.min(a.rows[i], b.rows[i]), math.min(a.clusters_at[i], b.clusters_at[i])
  end
  local points, info = band(xs, theta, values, opt, meta)
  info.clusters, info.dropped = #ids, dropped
  return points, info
end

--- Susceptibility chi = dy/dx of a curve with its band (the derivative of every replicate), and where it peaks.
--- Needs 3 or more x.
--- Returns points as M.curve's (mean = chi) and peak = {x, value, index, is_peak, reason, shares = {{x, share}...}},
--- shares = how often each x holds the maximum among replicates: a location without them claims too much.
function M.susceptibility(rows, opt)
  opt = defaults(opt)
  local points, info, values = curve_of(rows, opt, susceptibility.derivative)
  local xs, chi = {}, {}
  for i, p in ipairs(points) do xs[i], chi[i] = p.x, p.mean end
  local peak, P, R, times, valid = susceptibility.peak(xs, chi), #xs, opt.replicates, {}, 0
  for i = 1, P do times[i] = 0 end
  for r = 0, R - 1 do
    local best
    for i = 1, P do
      local v = values[r * P + i - 1]
      if finite(v) and (not best or v > values[r * P + best - 1]) then best = i end
    end
    if best then times[best], valid = times[best] + 1, valid + 1 end
  end
  peak.shares = {}
  for i = 1, P do peak.shares[i] = { x = xs[i], share = valid > 0 and times[i] / valid or 0 } end
  return points, peak, info
end

return M
