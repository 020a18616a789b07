-- SPDX-License-Identifier: Apache-2.0
-- "No difference" as a claim of its own: two one-sided tests, and the largest of many paired statistics.
local paired = require "kvbench.stats.paired"
local resample = require "kvbench.stats.resample"
local student = require "kvbench.stats.student"

local M = {}

-- Sums and counts of the passages that both sides have, of the same questions.
local function pairs_of(rows_a, rows_b, opt)
  local function fold(rows)
    return resample.compact(rows, { x = function() return 0 end, y = opt.y, cluster = opt.cluster })
  end
  local a, b = fold(rows_a), fold(rows_b)
  local at, list = {}, {}
  for c, id in ipairs(b.ids) do at[id] = c - 1 end
  for c, id in ipairs(a.ids) do
    local other = at[id]
    if other then
      if a.count[c - 1] ~= b.count[other] then
        error(("stats.tost: passage '%s' has %d rows on one side and %d on the other -> compare the same questions")
          :format(id, a.count[c - 1], b.count[other]), 0)
      end
      list[#list + 1] = { d = a.sum[c - 1] - b.sum[other], n = a.count[c - 1] }
    end
  end
  return list, #a.ids + #b.ids - 2 * #list
end

--- Equivalence of two sets of rows over the same passages: is mean_a - mean_b inside (-margin, margin)? Two one-sided
--- t tests on the passages' differences; their larger p is the p of "different by the margin or more". opt: y, cluster,
--- margin .03, alpha .05. Passages with more questions weigh more, as in the plain mean.
--- Returns {estimate, lo, hi = the 1 - 2 alpha interval, p, equivalent, margin, n, clusters, dropped}; `reason` instead
--- of p with fewer than 3 passages. Not significant is not equivalent: read `equivalent`, not the p of a difference.
--- Source: Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987.
function M.tost(rows_a, rows_b, opt)
  local margin, alpha = opt.margin or .03, opt.alpha or .05
  local list, dropped = pairs_of(rows_a, rows_b, opt)
  local C, sum, n = #list, 0, 0
  for _, p in ipairs(list) do sum, n = sum + p.d, n + p.n end
  local out = { n = n, clusters = C, dropped = dropped, margin = margin, equivalent = false }
  if C < 3 then
    out.reason = ("%d passages on both sides: equivalence needs at least 3"):format(C)
    return out
  end
  local mean, squares = sum / n, 0
  for _, p in ipairs(list) do squares = squares + (p.d - mean * p.n) ^ 2 end
  local se, dof = math.sqrt(C / (C - 1) * squares) / n, C - 1
  out.estimate, out.se = mean, se
  if se == 0 then
    out.p = math.abs(mean) < margin and 0 or 1
    out.lo, out.hi = mean, mean
  else
    out.p = math.max(1 - student.cdf((mean + margin) / se, dof), student.cdf((mean - margin) / se, dof))
    local half = student.quantile(1 - alpha, dof) * se
    out.lo, out.hi = mean - half, mean + half
  end
  out.equivalent = out.p < alpha
  return out
end

-- Mean over all rows and its standard error, passages as clusters.
local function of_passages(rows, opt)
  local data = resample.compact(rows, { x = function() return 0 end, y = opt.y, cluster = opt.cluster })
  local C, sum, n, squares = #data.ids, 0, 0, 0
  for c = 0, C - 1 do sum, n = sum + data.sum[c], n + data.count[c] end
  local mean = n > 0 and sum / n or nil
  for c = 0, C - 1 do squares = squares + (data.sum[c] - (mean or 0) * data.count[c]) ^ 2 end
  return { n = n, clusters = C, mean = mean, variance = C > 1 and C / (C - 1) * squares / (n * n) or nil }
end

--- Equivalence of two sets of rows over different passages (two tasks): as M.tost, with Welch's t. opt: y, cluster,
--- margin .03, alpha .05. Returns {estimate = mean_a - mean_b, lo, hi, p, equivalent, margin, n, clusters}; `reason`
--- instead of p where a side has fewer than 3 passages.
function M.tost_between(rows_a, rows_b, opt)
  local margin, alpha = opt.margin or .03, opt.alpha or .05
  local a, b = of_passages(rows_a, opt), of_passages(rows_b, opt)
  local out = { n = a.n + b.n, clusters = a.clusters + b.clusters, margin = margin, equivalent = false }
  local least = math.min(a.clusters, b.clusters)
  if least < 3 then
    out.reason = ("%d passages on one side: equivalence needs at least 3"):format(least)
    return out
  end
  local se = math.sqrt(a.variance + b.variance)
  out.estimate, out.se = a.mean - b.mean, se
  if se == 0 then
    out.p, out.lo, out.hi = math.abs(out.estimate) < margin and 0 or 1, out.estimate, out.estimate
  else
    local dof = se ^ 4 / (a.variance ^ 2 / (a.clusters - 1) + b.variance ^ 2 / (b.clusters - 1))
    out.p = math.max(1 - student.cdf((out.estimate + margin) / se, dof), student.cdf((out.estimate - margin) / se, dof))
    local half = student.quantile(1 - alpha, dof) * se
    out.lo, out.hi = out.estimate - half, out.estimate + half
  end
  out.equivalent = out.p < alpha
  return out
end

--- Max-T over many cells (a layer x head map): values = one array of m numbers per passage (differences from 0 under
--- the null; nil or NaN: this passage says nothing there), all of the same length m (opt.cells when cells may be nil at
--- the end). Signs flip by passage, the same for all cells, so their dependence is kept; p values hold for all cells
--- together. opt: replicates 10000, seed.
--- Returns {cells = {{estimate = mean, t, p, n}, ...}, threshold = |t| needed at .05, patterns, exact, clusters}. t =
--- sum / root of the sum of squares. Source: Westfall & Young, "Resampling-Based Multiple Testing", 1993.
function M.max_t(values, opt)
  opt = opt or {}
  local C, m = #values, opt.cells or (values[1] and #values[1]) or 0
  if C == 0 or m == 0 then error(("stats.max_t: %d passages with %d cells"):format(C, m), 0) end
  local t = { cells = {}, clusters = C }
  local d, scale = {}, {}
  for k = 1, m do t.cells[k] = { n = 0, sum = 0, squares = 0 } end
  for c, list in ipairs(values) do
    d[c] = {}
    for k = 1, m do
      local v, cell = list[k], t.cells[k]
      if v == nil or v ~= v then v = 0 else cell.n = cell.n + 1 end
      d[c][k], cell.sum, cell.squares = v, cell.sum + v, cell.squares + v * v
    end
  end
  for k, cell in ipairs(t.cells) do
    scale[k] = cell.squares > 0 and 1 / math.sqrt(cell.squares) or 0
    cell.estimate, cell.t = cell.n > 0 and cell.sum / cell.n or 0, cell.sum * scale[k]
  end
  local tops, s = {}, {}
  t.exact, t.patterns = paired.each_pattern(C, opt.replicates or 10000, opt.seed or 1, function(signs)
    for k = 1, m do s[k] = 0 end
    for c = 1, C do
      local sign, row = signs[c], d[c]
      for k = 1, m do s[k] = s[k] + sign * row[k] end
    end
    local top = 0
    for k = 1, m do top = math.max(top, math.abs(s[k]) * scale[k]) end
    tops[#tops + 1] = top
  end)
  table.sort(tops)
  for _, cell in ipairs(t.cells) do
    local lo, hi, limit = 1, #tops + 1, math.abs(cell.t) - 1e-12
    while lo < hi do -- the first of the sorted maxima that reaches this cell's
      local mid = math.floor((lo + hi) / 2)
      if tops[mid] >= limit then hi = mid else lo = mid + 1 end
    end
    local beyond = #tops - lo + 1
    cell.p = t.exact and beyond / t.patterns or (beyond + 1) / (t.patterns + 1)
    cell.sum, cell.squares = nil, nil
  end
  t.threshold = tops[math.max(1, math.ceil(.95 * #tops))]
  return t
end

return M
