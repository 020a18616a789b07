-- SPDX-License-Identifier: Apache-2.0
-- Means and curves over passages, their bands, contrasts and susceptibility, and how often the bands cover.
local t = require "kvbench.testing"
local stats = require "kvbench.stats"
local rng = require "kvbench.rng"
local ratios = require "kvbench.ratios"

-- The same sums and counts as scipy.stats.bootstrap((S, N), ratio of sums, paired=True, n_resamples=200000):
-- BCa (.31148, .71667), percentile (.31343, .71930), standard error .10419.
local S, N = { 3, 0, 2, 6, 1, 4, 5, 2, 2, 3, 0, 6 }, { 6, 6, 4, 6, 6, 5, 6, 6, 3, 6, 6, 6 }
local function clustered()
  local rows = {}
  for c = 1, #S do
    for q = 1, N[c] do rows[#rows + 1] = { passage_id = "p" .. c, ratio = .5, y = q <= S[c] and 1 or 0,
      flag = q <= S[c] } end
  end
  return rows
end

t.case("mean over rows, clusters resampled", function()
  local m = stats.mean(clustered(), { y = "y", replicates = 20000 })
  t.near(m.mean, 34 / 66, 1e-12)
  t.eq({ m.n, m.clusters }, { 66, 12 })
  t.near(m.lo, .31148, .01)
  t.near(m.hi, .71667, .01)
  local p = stats.mean(clustered(), { y = "flag", replicates = 20000, method = "percentile" })
  t.near(p.lo, .31343, .01)
  t.near(p.hi, .71930, .01)
end)

t.case("curve: mean, counts, pointwise limits", function()
  local c = stats.curve(clustered(), { x = "ratio", y = "y", cluster = "passage_id", replicates = 20000,
    band = "pointwise" })
  t.eq(#c, 1)
  t.eq({ c[1].x, c[1].n, c[1].clusters }, { .5, 66, 12 })
  t.near(c[1].mean, 34 / 66, 1e-12)
  t.near(c[1].lo, .31343, .01)
  t.near(c[1].hi, .71930, .01)
  -- One point: the sup-t band is mean +- c' se with c the quantile of |t|; se from scipy, and c' = c through
  -- Student's t with
  -- 11 degrees of freedom (2.201 for 1.96, scipy.stats.t.isf) and sqrt(12 / 11).
  local s, info = stats.curve(clustered(), { y = "y", replicates = 20000 })
  t.near((s[1].hi - s[1].lo) / 2 / (info.critical / 1.96 * 2.201 * math.sqrt(12 / 11)), .10419, .003)
  t.near(info.critical, 1.96, .1)
end)

---------------------------------------------------------------------------------------------------- curves

-- Passages with their own level, so that questions of one passage agree more than chance.
local function simulate(r, passages, questions, xs, probability, spread)
  local rows = {}
  for p = 1, passages do
    local own = r:normal() * (spread or 0)
    for _, x in ipairs(xs) do
      for q = 1, questions do
        local h = r:uniform() < math.max(0, math.min(1, probability(x) + own)) and 1 or 0
        rows[#rows + 1] = { passage_id = "p" .. p, q = q, ratio = x, hallucination = h }
      end
    end
  end
  return rows
end

t.case("curve: the seed decides, the order of rows does not", function()
  local rows = simulate(rng.new(1), 20, 3, { 0, .5, .9 }, function(x) return .2 + .5 * x end, .1)
  local a = stats.curve(rows, { y = "hallucination", replicates = 300 })
  local b = stats.curve(rng.new(7):shuffle { unpack(rows) }, { y = "hallucination", replicates = 300 })
  for i = 1, 3 do
    t.near(a[i].lo, b[i].lo, 1e-12)
    t.near(a[i].hi, b[i].hi, 1e-12)
  end
  local c = stats.curve(rows, { y = "hallucination", replicates = 300, seed = 2 })
  t.ok(c[2].lo ~= a[2].lo, "another seed, other replicates")
  t.eq({ a[1].x, a[2].x, a[3].x }, { 0, .5, .9 })
end)

t.case("curve: nil leaves a row out, booleans count, functions work, x is rounded", function()
  local rows = {
    { passage_id = 1, ratio = .1 + .2, ok = true }, { passage_id = 1, ratio = .3, ok = false },
    { passage_id = 2, ratio = .3 },
    { passage_id = 3, ratio = .3, ok = true }, { passage_id = 2, ok = true },
  }
  local c = stats.curve(rows, { y = "ok", replicates = 50 })
  t.eq({ #c, c[1].x, c[1].n, c[1].clusters }, { 1, .3, 3, 2 })
  t.near(c[1].mean, 2 / 3)
  local d = stats.curve(rows, { y = function(row) return row.ok and 2 or nil end, replicates = 50,
    cluster = function(row) return row.passage_id end })
  t.eq({ d[1].n, d[1].mean, d[1].lo, d[1].hi }, { 2, 2, 2, 2 })
end)

t.case("curve: no variation is not certainty", function()
  local rows = {}
  for p = 1, 30 do rows[p] = { passage_id = p, ratio = 0, y = 0 } end
  local c = stats.curve(rows, { y = "y" })[1]
  local _, hi = stats.wilson(0, 30)
  t.eq({ c.mean, c.lo, c.wilson }, { 0, 0, true })
  t.near(c.hi, hi, 1e-12)
  local one = stats.curve({ { passage_id = 1, ratio = 0, y = .5 } }, { y = "y" })[1]
  t.eq({ one.mean, one.lo, one.hi }, { .5, nil, nil })
end)

t.case("curve: bad input is one clear line", function()
  t.fails(function() stats.curve({}, { y = "y" }) end, "none of 0 rows")
  t.fails(function() stats.curve({ { passage_id = 1, ratio = .1, y = 0 / 0 } },
    { y = "y" }) end, "row 1 has x = 0.1, y =")
  t.fails(function() stats.curve({ { ratio = .1, y = 1 } }, { y = "y" }) end, "has no cluster")
  t.fails(function() stats.curve({ { ratio = .1, y = "high", passage_id = 1 } }, { y = "y" }) end, "must be numbers")
  t.fails(function() stats.curve({}, { y = "y", band = "wide" }) end, "band 'wide' is unknown")
  t.fails(function() stats.curve({}, { y = "y", level = 95 }) end, "level 95")
  t.fails(function() stats.curve({}, {}) end, "y must be a column")
end)

-- The .95 quantile of the largest of five independent |z| is 2.5694 (numpy, 2 million draws).
t.case("sup-t: critical value of five independent points", function()
  local r, rows = rng.new("supt"), {}
  for p = 1, 400 do
    for i = 1, 5 do rows[#rows + 1] = { passage_id = p, ratio = i / 10, y = r:normal() } end
  end
  local _, info = stats.curve(rows, { y = "y", replicates = 4000 })
  t.near(info.critical, 2.569, .08)
  -- Five copies of one point need no more than one point does.
  for p = 1, 400 do
    for i = 2, 5 do rows[(p - 1) * 5 + i].y = rows[(p - 1) * 5 + 1].y end
  end
  local _, same = stats.curve(rows, { y = "y", replicates = 4000 })
  t.near(same.critical, 1.96, .08)
end)

t.case("curves: one per group, first appearance, empty groups left out", function()
  local rows = { { press = "b", passage_id = 1, ratio = 0, y = 1 }, { press = "a", passage_id = 1, ratio = 0, y = 0 },
    { press = "c", passage_id = 1, ratio = 0 }, { press = "b", passage_id = 2, ratio = 0, y = 0 } }
  local c = stats.curves(rows, { by = "press", y = "y", replicates = 20 })
  t.eq({ #c, c[1].key, c[2].key, c[1].points[1].mean, c[2].points[1].mean }, { 2, "b", "a", .5, 0 })
end)

t.case("contrast: pairing removes what passages share", function()
  local r, a, b = rng.new("contrast"), {}, {}
  for p = 1, 80 do
    local own = r:normal()
    a[#a + 1] = { passage_id = p, ratio = .5, y = own + .3 + .05 * r:normal() }
    b[#b + 1] = { passage_id = p, ratio = .5, y = own + .05 * r:normal() }
  end
  b[#b + 1] = { passage_id = "extra", ratio = .5, y = 100 }
  b[#b + 1] = { passage_id = 1, ratio = .9, y = 100 }
  local d, info = stats.contrast(a, b, { y = "y", replicates = 500 })
  t.eq({ #d, info.dropped, info.clusters }, { 1, 1, 80 })
  t.near(d[1].mean, .3, .03)
  t.ok(d[1].hi - d[1].lo < .06, "width " .. d[1].hi - d[1].lo)
  t.fails(function() stats.contrast(a, { { passage_id = "z", ratio = .5, y = 1 } },
    { y = "y" }) end, "share 0 passages")
end)

---------------------------------------------------------------------------------------------------- susceptibility

-- numpy.gradient(y, x) with edge_order 1, on y = round(1 / (1 + exp(-25 (x - .93))), 4).
t.case("susceptibility: numpy.gradient on the extended grid", function()
  local y = { 0, 0, 0, 0, 0, 0, .0003, .0032, .0373, .3208, .4688, .6225, .7311, .7773, .8176 }
  local chi = stats.derivative(ratios.cliff, y)
  for i, v in ipairs { 0, 0, 0, 0, 0, .0015, .016, .185, 1.588, 5.303, 6.034, 5.74911111111, 4.89, 4.325, 4.03 } do
    t.near(chi[i], v, 1e-9, "at " .. ratios.cliff[i])
  end
  local peak = stats.peak(ratios.cliff, chi)
  t.eq({ peak.x, peak.is_peak, peak.index }, { .925, true, 11 })
end)

t.case("susceptibility: exact for parabolas on uneven grids, one-sided at the ends", function()
  local x, y = { 0, .3, .4, .9, 1 }, {}
  for i, v in ipairs(x) do y[i] = 2 * v * v - v + 1 end
  local d = stats.derivative(x, y)
  for i = 2, 4 do t.near(d[i], 4 * x[i] - 1, 1e-12) end
  t.near(d[1], (y[2] - y[1]) / .3, 1e-12)
  t.near(d[5], (y[5] - y[4]) / .1, 1e-9)
  t.fails(function() stats.derivative({ 0, 0 }, { 1, 2 }) end, "must ascend")
  t.fails(function() stats.derivative({ 0 }, { 1 }) end, "1 ratios")
end)

t.case("susceptibility: a maximum on the edge is no peak", function()
  local last = stats.peak({ 0, .5, .9 }, { 0, 1, 2 })
  t.eq({ last.is_peak, last.x }, { false, .9 })
  t.ok(last.reason:find "last grid point", last.reason)
  t.eq(stats.peak({ 0, .5, .9 }, { 3, 1, 2 }).is_peak, false)
  t.eq(stats.peak({ 0, .5, .9 }, { -1, 0, -2 }).reason, "the curve rises nowhere")
  t.eq(stats.peak({ 0, .5 }, { 0, 1 }).is_peak, false)
end)

t.case("susceptibility: band and the spread of the peak", function()
  local function cliff(x) return 1 / (1 + math.exp(-40 * (x - .91))) end
  local rows = simulate(rng.new("cliff"), 100, 4, ratios.cliff, cliff)
  local points, peak = stats.susceptibility(rows, { y = "hallucination", replicates = 500 })
  t.eq(#points, 15)
  t.eq(peak.is_peak, true)
  t.ok(peak.x >= .9 and peak.x <= .95, "peak at " .. peak.x)
  local sum = 0
  for _, s in ipairs(peak.shares) do sum = sum + s.share end
  t.near(sum, 1, 1e-9)
  for i, p in ipairs(points) do t.ok(p.lo <= p.mean and p.mean <= p.hi, "band at " .. i) end
end)

---------------------------------------------------------------------------------------------------- coverage

-- scipy.stats.permutation_test((d,), sum, permutation_type="samples", n_resamples=inf): p = 0.0546875 of 256 patterns.

t.case("coverage: the passage bootstrap covers, rows as units would not", function()
  local r, runs, hits, naive = rng.new("coverage"), 400, 0, 0
  for run = 1, runs do
    local rows, k = {}, 0
    for p = 1, 60 do
      -- Half the passages are easy (.9), half hard (.1): mean .5, strongly clustered.
      local level = r:uniform() < .5 and .9 or .1
      for _ = 1, 6 do
        local y = r:uniform() < level and 1 or 0
        k = k + y
        rows[#rows + 1] = { passage_id = p, y = y }
      end
    end
    local m = stats.mean(rows, { y = "y", replicates = 400, seed = run % 3 })
    if m.lo <= .5 and .5 <= m.hi then hits = hits + 1 end
    local lo, hi = stats.wilson(k, 360)
    if lo <= .5 and .5 <= hi then naive = naive + 1 end
  end
  t.near(hits / runs, .95, .035, "bootstrap coverage")
  t.ok(naive / runs < .85, "Wilson on questions should undercover here, got " .. naive / runs)
end)

t.case("coverage: sup-t holds the whole curve, pointwise limits do not", function()
  local r, runs, whole, pointwise = rng.new("bands"), 200, 0, 0
  local xs = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9 }
  local function truth(x) return .2 + .6 * x end
  for run = 1, runs do
    local rows = simulate(r, 60, 3, xs, truth)
    for kind, band in ipairs { "sup-t", "pointwise" } do
      local inside = true
      local opt = { y = "hallucination", replicates = 1000, seed = run % 3, band = band }
      for _, p in ipairs(stats.curve(rows, opt)) do
        inside = inside and p.lo <= truth(p.x) and truth(p.x) <= p.hi
      end
      if inside and kind == 1 then whole = whole + 1 end
      if inside and kind == 2 then pointwise = pointwise + 1 end
    end
  end
  t.near(whole / runs, .95, .04, "sup-t")
  t.ok(pointwise / runs < .8, "pointwise limits hold ten points at once in " .. pointwise / runs)
end)
