-- SPDX-License-Identifier: Apache-2.0
-- Intervals for scalars: Wilson for one question per passage, percentile and BCa from bootstrap replicates.
local normal = require "kvbench.stats.normal"
local resample = require "kvbench.stats.resample"

local M = {}

--- Quantile of a sorted array (1-based, n values) at p, linear between order statistics (Hyndman & Fan type 7,
--- numpy's default).
function M.quantile(sorted, p, n)
  n = n or #sorted
  local at = 1 + (n - 1) * p
  local i = math.floor(at)
  if i >= n then return sorted[n] end
  return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i])
end

--- Wilson score interval of k successes in n independent trials. Not for questions that share a passage: use the
--- bootstrap.
--- Returns lo, hi. Source: Wilson, JASA 22, 1927.
function M.wilson(k, n, level, z)
  if not (n > 0 and k >= 0 and k <= n) then
    error(string.format("stats.wilson: %s successes in %s trials", tostring(k), tostring(n)), 0)
  end
  z = z or normal.quantile(.5 + (level or .95) / 2)
  local p, z2 = k / n, z * z
  local centre = (p + z2 / (2 * n)) / (1 + z2 / n)
  local half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
  return math.max(0, centre - half), math.min(1, centre + half)
end

local function sorted_copy(values)
  local out = {}
  for i = 1, #values do out[i] = values[i] end
  table.sort(out)
  return out
end

--- Percentile limits of replicates (array, any order). Returns lo, hi.
function M.percentile(replicates, level)
  local sorted = sorted_copy(replicates)
  local tail = (1 - (level or .95)) / 2
  return M.quantile(sorted, tail), M.quantile(sorted, 1 - tail)
end

--- Bias-corrected and accelerated limits. theta: the statistic on the data; replicates: bootstrap values (array, any
--- order); jackknife: the statistic with one cluster left out, per cluster. Returns lo, hi; the percentile limits
--- where BCa is undefined (all replicates on one side of theta, or a statistic that no cluster moves).
--- Source: Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987.
function M.bca(theta, replicates, jackknife, level)
  local sorted, R = sorted_copy(replicates), #replicates
  local below = 0
  for _, v in ipairs(sorted) do
    if v < theta then below = below + 1 elseif v == theta then below = below + .5 end
  end
  local mean, cubes, squares = 0, 0, 0
  for _, v in ipairs(jackknife) do mean = mean + v / #jackknife end
  for _, v in ipairs(jackknife) do
    local d = mean - v
    cubes, squares = cubes + d ^ 3, squares + d ^ 2
  end
  local tail = (1 - (level or .95)) / 2
  if below == 0 or below == R or squares == 0 then
    return M.quantile(sorted, tail), M.quantile(sorted, 1 - tail)
  end
  local z0, a = normal.quantile(below / R), cubes / (6 * squares ^ 1.5)
  local function adjusted(p)
    local z = z0 + normal.quantile(p)
    return normal.cdf(z0 + z / (1 - a * z))
  end
  return M.quantile(sorted, adjusted(tail)), M.quantile(sorted, adjusted(1 - tail))
end

--- Bootstrap of any statistic of an array of items (one item = one cluster). opt: replicates 2000, seed 1, level .95,
--- method "bca" (default) or "percentile". Returns {value, lo, hi, clusters, method}.
function M.bootstrap(items, statistic, opt)
  opt = opt or {}
  local C, R = #items, opt.replicates or 2000
  if C < 2 then
    error(string.format("stats.bootstrap: %d clusters -> an interval needs at least 2", C), 0)
  end
  local theta, weights = statistic(items), resample.weights(C, R, opt.seed or 1)
  local values = {}
  for r = 0, R - 1 do
    local drawn = {}
    for c = 0, C - 1 do
      for _ = 1, weights[r * C + c] do drawn[#drawn + 1] = items[c + 1] end
    end
    values[r + 1] = statistic(drawn)
  end
  if opt.method == "percentile" then
    local lo, hi = M.percentile(values, opt.level)
    return { value = theta, lo = lo, hi = hi, clusters = C, method = "percentile" }
  end
  local left_out = {}
  for c = 1, C do
    local rest = {}
    for i = 1, C do if i ~= c then rest[#rest + 1] = items[i] end end
    left_out[c] = statistic(rest)
  end
  local lo, hi = M.bca(theta, values, left_out, opt.level)
  return { value = theta, lo = lo, hi = hi, clusters = C, method = "bca" }
end

--- Mean of a column of rows (sum over all rows / rows, clusters resampled) with its interval. opt: y (column or
--- function, nil rows left out), cluster "passage_id", replicates, seed, level, method "bca" | "percentile". Returns
--- {mean, lo, hi, n, clusters}; an indicator column that never varies gets the Wilson interval on its clusters; lo
--- and hi are nil for fewer than 2 clusters otherwise.
function M.mean(rows, opt)
  local t = resample.compact(rows, { x = function() return 0 end, y = opt.y, cluster = opt.cluster,
    indicator = opt.indicator })
  local C, S, N = t.clusters, t.sum, t.count
  local sum, n = 0, 0
  for c = 0, C - 1 do sum, n = sum + S[c], n + N[c] end
  local out = { mean = sum / n, n = n, clusters = C }
  if t.indicator and (sum == 0 or sum == n) then
    out.lo, out.hi = M.wilson(sum == 0 and 0 or C, C, opt.level)
    return out
  end
  if C < 2 then return out end
  local flat, values, left_out = resample.means(t, opt.replicates or 2000, opt.seed or 1), {}, {}
  for r = 0, (opt.replicates or 2000) - 1 do values[r + 1] = flat[r] end
  for c = 0, C - 1 do left_out[c + 1] = (sum - S[c]) / (n - N[c]) end
  if opt.method == "percentile" then
    out.lo, out.hi = M.percentile(values, opt.level)
  else
    out.lo, out.hi = M.bca(out.mean, values, left_out, opt.level)
  end
  return out
end

return M
