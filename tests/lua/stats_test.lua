-- SPDX-License-Identifier: Apache-2.0
-- Distributions, proportions, Holm, bootstrap limits and sign flips. Curves and their bands: stats_curve_test.lua.
local t = require "kvbench.testing"
local stats = require "kvbench.stats"
local rng = require "kvbench.rng"

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

---------------------------------------------------------------------------------------------------- sign flips

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
