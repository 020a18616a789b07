-- SPDX-License-Identifier: Apache-2.0
-- Statistics over result rows. The unit is the passage: questions of one passage share a cache and a text.
-- Rows are plain tables; y is a column name or a function(row), and a nil y leaves the row out. Everything is
-- decided by the seed. What each function computes, how to read it and where it comes from: docs/statistics.md.
local normal = require "kvbench.stats.normal"
local student = require "kvbench.stats.student"
local interval = require "kvbench.stats.interval"
local curve = require "kvbench.stats.curve"
local crossed = require "kvbench.stats.crossed"
local dprime = require "kvbench.stats.dprime"
local effects = require "kvbench.stats.effects"
local equivalence = require "kvbench.stats.equivalence"
local fit = require "kvbench.stats.fit"
local hedged = require "kvbench.stats.hedged"
local isotonic = require "kvbench.stats.isotonic"
local paired = require "kvbench.stats.paired"
local scaling = require "kvbench.stats.scaling"
local susceptibility = require "kvbench.stats.susceptibility"

return {
  -- curves
  curve = curve.curve, curves = curve.curves, contrast = curve.contrast, susceptibility = curve.susceptibility,
  sup_t = curve.curve, derivative = susceptibility.derivative, peak = susceptibility.peak,
  curve_fit = fit.curve_fit, isotonic = isotonic.isotonic, pava = isotonic.pava,
  finite_size = scaling.finite_size,
  -- scalars
  mean = interval.mean, bootstrap = interval.bootstrap, bca = interval.bca, percentile = interval.percentile,
  wilson = interval.wilson, quantile = interval.quantile, crossed = crossed.crossed,
  dprime = dprime.dprime, dprime_counts = dprime.from_counts,
  -- paired comparisons
  mcnemar = paired.mcnemar, sign_flip = paired.sign_flip, sign_flip_values = paired.sign_flip_values,
  sign_flip_curve = paired.sign_flip_curve, holm = paired.holm, tost = equivalence.tost, tost_between = equivalence.tost_between,
  max_t = equivalence.max_t,
  -- regression, and sampling until it is known
  fixed_effects = effects.fixed_effects, hedged = hedged.hedged, hedged_sequence = hedged.new,
  normal_cdf = normal.cdf, normal_quantile = normal.quantile, t_cdf = student.cdf, t_quantile = student.quantile,
}
