-- SPDX-License-Identifier: Apache-2.0
-- Linear probability regression with two sets of fixed effects and errors clustered by passage: does the evidence's
-- eviction go with failure *within* a question and *within* a condition, and more than a placebo's does?
--
-- Over nine ratios anything that rises correlates with anything that rises. Effects for every question and for every
-- task x press x ratio take that away: what is left is whether, among questions under the same press and ratio, those
-- whose evidence was hit harder fail more often. The effects are taken out by alternating projections, since a design
-- with 72,000 question columns fits nowhere; then it is least squares on a few columns.
-- Clustered errors count passages, not rows. Question effects lie inside passages and cost no degrees of freedom there;
-- the conditions' do.
-- Source: Frisch & Waugh, Econometrica 1, 1933; Guimaraes & Portugal, Stata J. 10, 2010 (alternating projections);
-- Cameron & Miller, J. Human Resources 50, 2015 (clustered errors, small samples).
local ffi = require "ffi"
local resample = require "kvbench.stats.resample"
local solve = require "kvbench.stats.solve"
local student = require "kvbench.stats.student"

local M = {}

local TOLERANCE, ROUNDS = 1e-10, 10000

-- Index of each row's value of a factor, 0-based, and how many there are.
local function levels(rows, get)
  local seen, n, index = {}, 0, ffi.new("int32_t[?]", math.max(1, #rows))
  for i, row in ipairs(rows) do
    local v = get(row)
    if v == nil then error(("stats.fixed_effects: row %d lacks an effect or its cluster"):format(i), 0) end
    if not seen[v] then seen[v], n = n, n + 1 end
    index[i - 1] = seen[v]
  end
  return { index = index, n = n }
end

-- Takes the means by each factor out of v until they are all gone. Returns whether that was reached.
local function project(v, rows, factors)
  local scale = 0
  for i = 0, rows - 1 do scale = math.max(scale, math.abs(v[i])) end
  for _ = 1, ROUNDS do
    local moved = 0
    for _, f in ipairs(factors) do
      local sum = ffi.new("double[?]", f.n)
      for i = 0, rows - 1 do sum[f.index[i]] = sum[f.index[i]] + v[i] end
      for g = 0, f.n - 1 do
        sum[g] = sum[g] / f.size[g]
        moved = math.max(moved, math.abs(sum[g]))
      end
      for i = 0, rows - 1 do v[i] = v[i] - sum[f.index[i]] end
    end
    if moved <= TOLERANCE * scale then return true end
    if #factors == 1 then return true end
  end
  return false
end

local function sizes(f, rows)
  f.size = ffi.new("double[?]", f.n)
  for i = 0, rows - 1 do f.size[f.index[i]] = f.size[f.index[i]] + 1 end
end

local function dot(a, b, n)
  local s = 0
  for i = 0, n - 1 do s = s + a[i] * b[i] end
  return s
end

-- Rows that have y, all x and everything else, and the columns as arrays.
local function usable(rows, opt)
  local get, kept, columns = { resample.getter(opt.y, "y") }, {}, {}
  for k, name in ipairs(opt.x) do get[k + 1] = resample.getter(name, "x") end
  for _, row in ipairs(rows) do
    local values, whole = {}, true
    for k, f in ipairs(get) do
      local v = f(row)
      if v == true then v = 1 elseif v == false then v = 0 end
      whole = whole and type(v) == "number" and v == v
      values[k] = v
    end
    if whole then kept[#kept + 1] = { row = row, values = values } end
  end
  local list = {}
  for k = 1, #get do columns[k] = ffi.new("double[?]", math.max(1, #kept)) end
  for i, item in ipairs(kept) do
    list[i] = item.row
    for k, v in ipairs(item.values) do columns[k][i - 1] = v end
  end
  return list, columns
end

-- Sum over clusters of the outer product of their scores.
local function meat(x, residual, n, cluster)
  local scores, out = {}, {}
  for k = 1, #x do
    scores[k] = ffi.new("double[?]", cluster.n)
    for i = 0, n - 1 do scores[k][cluster.index[i]] = scores[k][cluster.index[i]] + x[k][i] * residual[i] end
  end
  for a = 1, #x do
    out[a] = {}
    for b = 1, #x do out[a][b] = dot(scores[a], scores[b], cluster.n) end
  end
  return out
end

local function summary(estimate, variance, dof, level)
  local se = math.sqrt(math.max(0, variance))
  local half = student.quantile(.5 + level / 2, dof) * se
  return { estimate = estimate, se = se, lo = estimate - half, hi = estimate + half,
    t = se > 0 and estimate / se or nil, p = se > 0 and student.two_sided(estimate / se, dof) or nil }
end

local function nothing(n, text, ...) return { n = n, reason = text:format(...) } end

--- y = effects + sum of coefficients x columns + error, by least squares. opt: y, x = list of columns (or functions),
--- effects = list of one or two columns or functions(row) whose values name the level (default none but a constant),
--- cluster "passage_id", contrast = weights per x in order (e.g. {1, -1} for beta - gamma), level .95. Rows without y
--- or an x are left out.
--- Returns {coefficients = list of {estimate, se, lo, hi, t, p}, contrast = the same for the contrast, n, clusters,
--- levels = per effect, r2_within}; {n, reason} when the data cannot say (too few passages; a column that the effects
--- explain).
function M.fixed_effects(rows, opt)
  local list, columns = usable(rows, opt)
  local n, K, level = #list, #opt.x, opt.level or .95
  if n == 0 then return nothing(0, "none of %d rows has y and all of x", #rows) end
  local cluster = levels(list, resample.getter(opt.cluster or "passage_id", "cluster"))
  if cluster.n < 3 then return nothing(n, "%d passages: clustered errors need at least 3", cluster.n) end
  local factors, absorbed, counts = {}, 0, {}
  for k, name in ipairs(opt.effects or {}) do
    factors[k] = levels(list, resample.getter(name, "effects"))
    sizes(factors[k], n)
    counts[k] = factors[k].n
    local nested = true
    local home = {}
    for i = 0, n - 1 do
      local g = factors[k].index[i]
      home[g] = home[g] or cluster.index[i]
      nested = nested and home[g] == cluster.index[i]
    end
    if not nested then absorbed = absorbed + factors[k].n - (absorbed > 0 and 1 or 0) end
  end
  if #factors == 0 then
    factors[1] = levels(list, function() return 1 end)
    sizes(factors[1], n)
    absorbed = 1
  end
  local before = {}
  for k, v in ipairs(columns) do
    before[k] = dot(v, v, n)
    if not project(v, n, factors) then return nothing(n, "the effects could not be taken out in %d rounds", ROUNDS) end
  end
  local y, x = columns[1], {}
  for k = 1, K do
    x[k] = columns[k + 1]
    if not (dot(x[k], x[k], n) > 1e-9 * before[k + 1]) then
      return nothing(n, "column %d of x (%s) does not vary within the effects", k, tostring(opt.x[k]))
    end
  end
  local cross, xy = {}, {}
  for a = 1, K do
    cross[a], xy[a] = {}, dot(x[a], y, n)
    for b = 1, K do cross[a][b] = dot(x[a], x[b], n) end
  end
  local inverse, bad = solve.inverse(cross)
  if not inverse then
    return nothing(n, "column %d of x (%s) is a mixture of the others within the effects", bad, tostring(opt.x[bad]))
  end
  local beta, residual = solve.times(inverse, xy), ffi.new("double[?]", n)
  for i = 0, n - 1 do
    residual[i] = y[i]
    for k = 1, K do residual[i] = residual[i] - beta[k] * x[k][i] end
  end
  local G, B = cluster.n, meat(x, residual, n, cluster)
  local free = n - K - absorbed
  if free < 1 then return nothing(n, "%d rows for %d columns and effects", n, K + absorbed) end
  local correction = G / (G - 1) * (n - 1) / free
  local function variance(w) return correction * solve.quadratic(B, solve.times(inverse, w)) end
  local total = dot(y, y, n)
  local out = { coefficients = {}, n = n, clusters = G, levels = counts, dof = G - 1,
    r2_within = total > 0 and 1 - dot(residual, residual, n) / total or nil }
  for k = 1, K do
    local w = {}
    for j = 1, K do w[j] = j == k and 1 or 0 end
    out.coefficients[k] = summary(beta[k], variance(w), G - 1, level)
  end
  if opt.contrast then
    local estimate = 0
    for k = 1, K do estimate = estimate + opt.contrast[k] * beta[k] end
    out.contrast = summary(estimate, variance(opt.contrast), G - 1, level)
  end
  return out
end

return M
