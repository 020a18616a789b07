-- SPDX-License-Identifier: Apache-2.0
local t = require "kvbench.testing"
local stats = require "kvbench.stats"
local rng = require "kvbench.rng"
local ratios = require "kvbench.ratios"

-- Constants marked scipy / numpy / statsmodels were computed with scipy 1.x, numpy 2.x, statsmodels 0.14 by the call
-- named there.

---------------------------------------------------------------------------------------------------- distributions

t.case("normal: scipy.stats.norm.cdf and ppf", function()
  for x, p in pairs {
    [-8] = 6.22096057427174e-16, [-3.5] = 0.00023262907903552502, [-1.2345] = 0.10850832336267019,
    [0.5] = 0.6914624612740131, [2.9999] = 0.998649658717045, [3.0001] = 0.9986505450867392, [5] = 0.9999997133484281,
  } do
    t.near(stats.normal_cdf(x) / p, 1, 1e-12, "cdf " .. x)
  end
  for p, x in pairs {
    [1e-10] = -6.361340902404056, [.005] = -2.575829303548901, [.3] = -0.5244005127080409, [.975] = 1.959963984540054,
    [.9999] = 3.719016485455709,
  } do
    t.near(stats.normal_quantile(p), x, 1e-10, "quantile " .. p)
  end
  t.eq({ stats.normal_quantile(0), stats.normal_quantile(1) }, { -math.huge, math.huge })
  t.fails(function() stats.normal_quantile(1.1) end, "not a probability")
end)

-- scipy.stats.t.isf(scipy.stats.norm.sf(z), dof)
t.case("normal to Student's t", function()
  local to_t = require("kvbench.stats.normal").to_t
  t.near(to_t(1.959963984540054, 59), 2.000995378088268, 1e-5)
  t.near(to_t(2.786, 59), 2.893101370198713, 1e-5)
  t.near(to_t(2.5, 19), 2.7615692367396427, 1e-4)
  t.near(to_t(2.786, 8), 3.7867785992582155, 1e-2)
end)

t.case("quantile: numpy.percentile", function()
  t.near(stats.quantile({ 1, 2, 3, 4 }, .5), 2.5)
  t.near(stats.quantile({ 1, 2, 4, 8, 16 }, .9), 12.8, 1e-12)
  t.eq({ stats.quantile({ 3, 5 }, 0), stats.quantile({ 3, 5 }, 1), stats.quantile({ 7 }, .3) }, { 3, 5, 7 })
end)

-- scipy.stats.binomtest(k, n).proportion_ci(level, "wilson")
t.case("Wilson", function()
  for _, c in ipairs {
    { 0, 10, .95, 0, 0.27753279986288926 }, { 7, 30, .95, 0.11792388144489496, 0.40928326158122164 },
    { 29, 30, .99, 0.7682242835618254, 0.9960743114346047 }, { 50, 200, .9, 0.20319971015930044, 0.3034738701680874 },
  } do
    local lo, hi = stats.wilson(c[1], c[2], c[3])
    t.near(lo, c[4], 1e-9)
    t.near(hi, c[5], 1e-9)
  end
  t.fails(function() stats.wilson(3, 2) end, "3 successes in 2 trials")
  t.fails(function() stats.wilson(0, 0) end, "trials")
end)

-- Not simulated: the coverage at p is the sum of binomial probabilities of the k whose interval holds p.
t.case("Wilson: exact coverage is near the level", function()
  local worst, sum, points = 1, 0, 0
  for i = 1, 19 do
    local p, n, cover, prob = i / 20, 60, 0, (1 - i / 20) ^ 60
    for k = 0, n do
      if k > 0 then prob = prob * (n - k + 1) / k * p / (1 - p) end
      local lo, hi = stats.wilson(k, n)
      if lo <= p and p <= hi then cover = cover + prob end
    end
    worst, sum, points = math.min(worst, cover), sum + cover, points + 1
  end
  t.near(sum / points, .95, .01, "mean coverage")
  t.ok(worst > .92, "worst coverage " .. worst)
end)

-- scipy.stats.binomtest(b, b + c, .5).pvalue
t.case("McNemar exact", function()
  for _, c in ipairs { { 3, 12, 0.03515625 }, { 0, 5, 0.0625 }, { 40, 61, 0.046044066929342785 },
    { 700, 640, 0.10697992524490962 }, { 4, 4, 1 }, { 0, 0, 1 } } do
    t.near(stats.mcnemar(c[1], c[2]), c[3], 1e-9)
    t.near(stats.mcnemar(c[2], c[1]), c[3], 1e-9)
  end
end)

-- statsmodels.stats.multitest.multipletests(p, method="holm")
t.case("Holm", function()
  local got = stats.holm { .01, .04, .03, .005, .2, .04 }
  for i, p in ipairs { .05, .12, .12, .03, .2, .12 } do t.near(got[i], p, 1e-12) end
  t.eq(stats.holm { .5, .9, .6 }, { 1, 1, 1 })
  t.eq(stats.holm {}, {})
end)

---------------------------------------------------------------------------------------------------- bootstrap limits

-- Replicates from a linear congruential generator, so that Python has the same 500: s = 12345; s = s * 16807 %
-- 2147483647 per draw, index
-- s % 10. Limits there: z0 = norm.ppf((mean(reps < m) + mean(reps <= m)) / 2), a from the jackknife, numpy.percentile.
t.case("BCa and percentile limits from given replicates", function()
  local data = { 2.1, 3.4, 1.9, 5.6, 2.2, 8.9, 3.1, 2.7, 4.4, 12.5 }
  local s, reps, jack, total = 12345, {}, {}, 0
  for _, v in ipairs(data) do total = total + v end
  for r = 1, 500 do
    local sum = 0
    for _ = 1, 10 do
      s = s * 16807 % 2147483647
      sum = sum + data[s % 10 + 1]
    end
    reps[r] = sum / 10
  end
  for i = 1, 10 do jack[i] = (total - data[i]) / 9 end
  local lo, hi = stats.bca(total / 10, reps, jack)
  t.near(lo, 2.99, 1e-6)
  t.near(hi, 7.336707525838834, 1e-6)
  lo, hi = stats.percentile(reps)
  t.near(lo, 2.879, 1e-9)
  t.near(hi, 7.2235, 1e-9)
end)

-- scipy.stats.bootstrap((data,), numpy.mean, n_resamples=200000): BCa (3.14, 7.55), percentile (2.89, 6.91)
t.case("bootstrap of any statistic against scipy.stats.bootstrap", function()
  local data = { 2.1, 3.4, 1.9, 5.6, 2.2, 8.9, 3.1, 2.7, 4.4, 12.5 }
  local function mean(x)
    local s = 0
    for _, v in ipairs(x) do s = s + v end
    return s / #x
  end
  local b = stats.bootstrap(data, mean, { replicates = 20000 })
  t.near(b.value, 4.68, 1e-12)
  t.near(b.lo, 3.14, .06)
  t.near(b.hi, 7.55, .12)
  local p = stats.bootstrap(data, mean, { replicates = 20000, method = "percentile" })
  t.near(p.lo, 2.89, .06)
  t.near(p.hi, 6.91, .1)
  t.fails(function() stats.bootstrap({ 1 }, mean) end, "at least 2")
end)

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

---------------------------------------------------------------------------------------------------- sign flips

-- scipy.stats.permutation_test((d,), sum, permutation_type="samples", n_resamples=inf): p = 0.0546875 of 256 patterns.
t.case("sign flip: exact", function()
  local s = stats.sign_flip_values { .5, -.25, 1, .75, -.1, .3, .2, .9 }
  t.near(s.p, 0.0546875, 1e-12)
  t.eq({ s.exact, s.patterns }, { true, 256 })
  t.near(s.statistic, 3.3 / 8, 1e-12)
  t.near(stats.sign_flip_values({ 1, 1, 1 }).p, .25)
  t.near(stats.sign_flip_values({ 0, 0 }).p, 1)
  t.fails(function() stats.sign_flip_values {} end, "no pairs")
end)

t.case("sign flip: random patterns agree with the normal approximation", function()
  local r, d, sum, squares = rng.new("flip"), {}, 0, 0
  for i = 1, 100 do
    d[i] = r:normal() + .15
    sum, squares = sum + d[i], squares + d[i] ^ 2
  end
  local s = stats.sign_flip_values(d, { seed = 3 })
  t.eq(s.exact, false)
  t.near(s.p, 2 * stats.normal_cdf(-math.abs(sum) / math.sqrt(squares)), .015)
  t.eq(stats.sign_flip_values(d, { seed = 3 }).p, s.p)
end)

t.case("sign flip: rows, passages as units", function()
  local a, b = {}, {}
  for p = 1, 4 do
    for q = 1, p do
      a[#a + 1], b[#b + 1] = { passage_id = p, y = 1 }, { passage_id = p, y = q == 1 and 0 or 1 }
    end
  end
  -- Each passage differs by one question: 4 of 10 questions, and all signs agree in 2 of 16 patterns.
  local s = stats.sign_flip(a, b, { y = "y" })
  t.near(s.statistic, .4, 1e-12)
  t.near(s.p, 2 / 16, 1e-12)
  table.remove(b)
  t.fails(function() stats.sign_flip(a, b, { y = "y" }) end, "4 rows on one side and 3 on the other")
end)

t.case("sign flip over a curve: max-T by hand", function()
  -- Three passages, two x. At x = 0 differences 1 1 1, |T| = sqrt(3); at x = 1 differences 1 -1 0, T = 0.
  local a, b = {}, {}
  for p, d in ipairs { { 1, 1 }, { 1, -1 }, { 1, 0 } } do
    for x = 0, 1 do
      a[#a + 1], b[#b + 1] = { passage_id = p, ratio = x * .5, y = d[x + 1] }, { passage_id = p, ratio = x * .5, y = 0 }
    end
  end
  local c, info = stats.sign_flip_curve(a, b, { y = "y" })
  t.eq({ info.exact, info.patterns, info.passages }, { true, 8, 3 })
  t.near(c[1].t, math.sqrt(3), 1e-12)
  t.near(c[1].difference, 1, 1e-12)
  -- Only the two patterns with equal signs reach sqrt(3) at x = 0; at the other x no |T| exceeds sqrt(2).
  t.near(c[1].p, 2 / 8, 1e-12)
  t.near(c[2].p, 1, 1e-12)
end)

---------------------------------------------------------------------------------------------------- coverage

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
