-- SPDX-License-Identifier: Apache-2.0
-- Statistics over result rows. The unit is the passage: questions of one passage share a cache and a text.
-- Rows are plain tables; y is a column name or a function(row), and a nil y leaves the row out. Everything is
-- decided by the seed.
local normal = require "kvbench.stats.normal"
local interval = require "kvbench.stats.interval"
local curve = require "kvbench.stats.curve"
local paired = require "kvbench.stats.paired"
local susceptibility = require "kvbench.stats.susceptibility"

return {
  -- curves
  curve = curve.curve, curves = curve.curves, contrast = curve.contrast, susceptibility = curve.susceptibility,
  derivative = susceptibility.derivative, peak = susceptibility.peak,
  -- scalars
  mean = interval.mean, bootstrap = interval.bootstrap, bca = interval.bca, percentile = interval.percentile,
  wilson = interval.wilson, quantile = interval.quantile,
  -- paired comparisons
  mcnemar = paired.mcnemar, sign_flip = paired.sign_flip, sign_flip_values = paired.sign_flip_values,
  sign_flip_curve = paired.sign_flip_curve, holm = paired.holm,
  normal_cdf = normal.cdf, normal_quantile = normal.quantile,
}
