-- SPDX-License-Identifier: Apache-2.0
-- What SciPy, statsmodels, scikit-learn and confseq say about the same numbers (tests/golden/make_stats.py).
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local stats = require "kvbench.stats"
local t = require "kvbench.testing"

local file = assert(io.open(paths.at "tests/golden/stats.json", "rb"))
local golden = json.decode(file:read "*a")
file:close()

t.case("Student's t: scipy.stats.t", function()
  for _, c in ipairs(golden.t) do
    t.near(stats.t_cdf(c.t, c.dof) / c.cdf, 1, 1e-10, "cdf " .. c.t)
    t.near(stats.t_quantile(c.p, c.dof), c.quantile, 1e-8 * math.abs(c.quantile), "quantile " .. c.p)
  end
end)

t.case("isotonic fit: scipy.optimize.isotonic_regression", function()
  for _, c in ipairs(golden.isotonic) do
    local fit = stats.pava(c.y, c.w, c.decreasing)
    for i, v in ipairs(c.fit) do t.near(fit[i], v, 1e-10) end
  end
end)

t.case("Wilson, McNemar, Holm: statsmodels", function()
  for _, c in ipairs(golden.wilson) do
    local lo, hi = stats.wilson(c.k, c.n, c.level)
    t.near(lo, c.lo, 1e-10)
    t.near(hi, c.hi, 1e-10)
  end
  for _, c in ipairs(golden.mcnemar) do t.near(stats.mcnemar(c.b, c.c), c.p, 1e-10) end
  for i, p in ipairs(stats.holm(golden.holm.p)) do t.near(p, golden.holm.adjusted[i], 1e-12) end
end)

t.case("sign flip, all patterns: scipy.stats.permutation_test", function()
  local r = stats.sign_flip_values(golden.sign_flip.d)
  t.ok(r.exact)
  t.near(r.p, golden.sign_flip.p, 1e-12)
end)

t.case("equivalence: statsmodels ttost_paired", function()
  local c, a, b = golden.tost, {}, {}
  for i, v in ipairs(c.a) do a[i], b[i] = { passage_id = i, y = v }, { passage_id = i, y = c.b[i] } end
  local r = stats.tost(a, b, { y = "y", margin = c.margin })
  t.near(r.p, c.p, 1e-10)
  t.near(r.lo, c.interval[1], 1e-10)
  t.near(r.hi, c.interval[2], 1e-10)
end)

t.case("max-T over cells: all sign patterns in NumPy", function()
  local r = stats.max_t(golden.max_t.values)
  t.ok(r.exact)
  for k, cell in ipairs(r.cells) do
    t.near(cell.t, golden.max_t.t[k], 1e-10)
    t.near(cell.p, golden.max_t.p[k], 1e-10)
  end
end)

t.case("fixed effects: statsmodels OLS with dummies and clustered errors", function()
  local rows, c = {}, golden.fixed_effects
  for i, r in ipairs(c.rows) do
    rows[i] = { passage_id = r[1], question = r[2], condition = r[3], ger = r[4], placebo = r[5], fail = r[6] == 1 }
  end
  local r = stats.fixed_effects(rows, { y = "fail", x = { "ger", "placebo" }, effects = { "question", "condition" },
    contrast = { 1, -1 } })
  t.eq(r.reason, nil)
  t.eq({ r.n, r.clusters, r.levels[2] }, { #rows, 12, 5 })
  t.near(r.coefficients[1].estimate, c.beta, 1e-8)
  t.near(r.coefficients[2].estimate, c.gamma, 1e-8)
  t.near(r.coefficients[1].se, c.se_beta, 1e-8)
  t.near(r.coefficients[2].se, c.se_gamma, 1e-8)
  t.near(r.contrast.estimate, c.contrast, 1e-8)
  t.near(r.contrast.se, c.se_contrast, 1e-8)
end)

t.case("d' and criterion: scipy.stats.norm.ppf", function()
  for _, c in ipairs(golden.dprime) do
    local d, criterion = stats.dprime_counts(unpack(c.counts))
    t.near(d, c.dprime, 1e-9)
    t.near(criterion, c.criterion, 1e-9)
  end
end)

t.case("shapes: scipy.optimize.curve_fit and numpy.polyfit", function()
  local c, rows = golden.curve_fit, {}
  for i, x in ipairs(c.x) do rows[i] = { passage_id = c.passage[i], x = x, y = c.y[i] } end
  local r = stats.curve_fit(rows, { x = "x", y = "y" })
  for name, model in pairs { linear = c.linear, kink = c.kink, logistic = c.logistic } do
    t.near(r.models[name].sse / model.sse, 1, 1e-6, name)
  end
  t.near(r.models.linear.slope, c.linear.slope, 1e-9)
  t.near(r.models.linear.offset, c.linear.offset, 1e-9)
  t.near(r.models.kink.kink, c.kink.kink, 1e-3)
  for _, name in ipairs { "low", "high", "b50", "width" } do
    t.near(r.models.logistic[name], c.logistic[name], 1e-3, name)
  end
  t.eq(r.chosen, "logistic")
  t.ok(r.lo < c.logistic.b50 and c.logistic.b50 < r.hi and r.hi - r.lo < .5)
end)

t.case("betting without replacement: confseq.betting.betting_cs", function()
  for _, c in ipairs(golden.hedged) do
    local r = stats.hedged(c.values, { of = c.N })
    for i, at in ipairs(c.times) do
      t.near(r.path[at][1], c.lo[i], 1e-9, "lower limit after " .. at)
      t.near(r.path[at][2], c.hi[i], 1e-9, "upper limit after " .. at)
    end
  end
end)
