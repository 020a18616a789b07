-- SPDX-License-Identifier: Apache-2.0
-- Does the global eviction of the answer's tokens explain hallucination?   (arXiv:2603.01426, figures 24 and 44)
--
-- One point per task, press and ratio: GER over the answer's tokens against the hallucination rate, as the paper draws
-- it, and beside it the same for the placebo (other facts' values of equal length), which cannot cause these errors.
-- Over nine ratios anything that rises correlates near 1, so the question is whether the answer explains more than the
-- placebo: within single questions, and at a fixed ratio.
local kv = require "kvbench"
local e = kv.experiment { name = "ger_correlation", title = "Global eviction and hallucination",
  paper = "figures 24, 44",
  options = { tasks = { "base", "knowledge", "multi_presence", "multi_entity" }, regime = "agnostic" } }
local opt = e.opt

local function correlation(xs, ys)
  local n, mx, my, sxx, syy, sxy = #xs, 0, 0, 0, 0, 0
  for i = 1, n do mx, my = mx + xs[i] / n, my + ys[i] / n end
  for i = 1, n do
    local dx, dy = xs[i] - mx, ys[i] - my
    sxx, syy, sxy = sxx + dx * dx, syy + dy * dy, sxy + dx * dy
  end
  if n < 3 or sxx == 0 or syy == 0 then return nil end
  return sxy / math.sqrt(sxx * syy)
end

-- ---- points: means per task, press, ratio ----

local datasets, points, all = {}, {}, {}
for i, task in ipairs(opt.tasks) do
  local run
  run, datasets[i] = e:sweep { task = task, regime = opt.regime }
  local cells = {}
  for _, row in ipairs(run.rows) do
    if row.hallucination and row.ger_model and row.ger_model_placebo then
      local key = row.press .. "|" .. row.ratio
      local c = cells[key]
      if not c then
        c = { task = task, press = row.press, ratio = row.ratio, n = 0, h = 0, ger = 0, placebo = 0, layer = 0 }
        cells[key], points[#points + 1] = c, c
      end
      c.n, c.h, c.ger = c.n + 1, c.h + row.hallucination, c.ger + row.ger_model
      c.placebo, c.layer = c.placebo + row.ger_model_placebo, c.layer + row.ger_layer
      all[#all + 1] = row
      row.task = task
    end
  end
end
for _, c in ipairs(points) do
  for _, name in ipairs { "h", "ger", "placebo", "layer" } do c[name] = c[name] / c.n end
end

local function panel(column, title, x_label)
  local series = {}
  for _, task in ipairs(opt.tasks) do
    local s = { label = task, style = "points", x = {}, y = {} }
    for _, c in ipairs(points) do
      if c.task == task then s.x[#s.x + 1], s.y[#s.y + 1] = c[column], c.h end
    end
    if #s.x > 0 then series[#series + 1] = s end
  end
  if #series == 0 then return e.note(title, "no question has both an answer class and provenance of its answer") end
  return { kind = "lines", title = title, x = { label = x_label, min = 0, max = 1 },
    y = { label = "hallucination rate", min = 0, max = 1 }, series = series }
end
e:save(kv.plot.small_multiples { columns = 3, share_y = true, panels = {
  panel("ger", "GER of the answer (model)", "GER"), panel("placebo", "GER of other values (placebo)", "GER of placebo"),
  panel("layer", "GER within layers", "GER (layer)") }, title = "Global eviction against hallucination",
  caption = e:setting(datasets) .. " One point per task, press and ratio; random and the full cache included." },
  "ger_correlation")

-- ---- pooled, and within ratio ----

local function column(name, from)
  local out = {}
  for i, c in ipairs(from) do out[i] = c[name] end
  return out
end
local rows = {}
local function line(what, list)
  local h = column("h", list)
  rows[#rows + 1] = { over = what, points = #list, ["r answer"] = correlation(column("ger", list), h),
    ["r placebo"] = correlation(column("placebo", list), h), ["r ratio"] = correlation(column("ratio", list), h) }
end
line("all points", points)
for _, ratio in ipairs { 0.5, 0.7, 0.9 } do
  local list = {}
  for _, c in ipairs(points) do if math.abs(c.ratio - ratio) < 1e-9 then list[#list + 1] = c end end
  line(("ratio %g"):format(ratio), list)
end
e:table("correlation", { "over", "points", "r answer", "r placebo", "r ratio" }, rows,
  "Correlation with the hallucination rate: GER of the answer, of the placebo, and the plain ratio")

-- ---- within questions: does failure go with the answer's own eviction more than with the placebo's? ----

local kept = {}
for _, row in ipairs(all) do if row.press ~= "full" and row.ger_frac_placebo then kept[#kept + 1] = row end end
local fit = kv.stats.fixed_effects(kept, { y = "hallucination", x = { "ger_frac", "ger_frac_placebo" },
  effects = { function(row) return row.passage_id .. "|" .. row.question end,
    function(row) return row.task .. "|" .. row.press .. "|" .. row.ratio end }, contrast = { 1, -1 } })
if not fit.contrast or not fit.contrast.lo or fit.clusters < 5 then
  e:verdict("cannot tell", fit.reason or ("%d passages, 5 are needed"):format(fit.clusters))
else
  local beta, gamma, d = fit.coefficients[1], fit.coefficients[2], fit.contrast
  e:table("within", { "of", "estimate", "lo", "hi", "p", "rows", "passages" }, {
    { of = "beta (answer)", estimate = beta.estimate, lo = beta.lo, hi = beta.hi, p = beta.p, rows = fit.n,
      passages = fit.clusters },
    { of = "gamma (placebo)", estimate = gamma.estimate, lo = gamma.lo, hi = gamma.hi, p = gamma.p, rows = fit.n,
      passages = fit.clusters },
    { of = "beta - gamma", estimate = d.estimate, lo = d.lo, hi = d.hi, p = d.p, rows = fit.n,
      passages = fit.clusters },
  }, "Hallucination on the dropped share of the answer's cells and of the placebo's; fixed effects of question and of "
    .. "task "
    .. "x press x ratio, errors clustered by passage")
  e:verdict(d.lo > 0 and "supported" or "not supported",
    "the answer's own eviction goes with hallucination more than the placebo's (beta - gamma)",
    { mean = d.estimate, lo = d.lo, hi = d.hi, n = fit.n, clusters = fit.clusters })
end
e:finish()
