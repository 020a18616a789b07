-- SPDX-License-Identifier: Apache-2.0
-- Does the global eviction of the answer's tokens explain hallucination?   (arXiv:2603.01426, figures 24 and 44)
--
-- One point per task, press and ratio: GER over the answer's tokens against the hallucination rate, as the paper draws
-- it, and beside it the same for the placebo (other facts' values of equal length), which cannot cause these errors.
-- Over nine ratios anything that rises correlates near 1, so the question is whether the answer explains more than the
-- placebo: within single questions, and at a fixed ratio. The test weighs cells by where the full cache reads answers
-- (GER_w, measured on other passages), F = a_question + b_(task, press, ratio) + beta GER_w(answer) + gamma
-- GER_w(placebo); beside it the same with every cell alike.
local kv = require "kvbench"
local weighted = require "kvbench.experiment.weighted"
local e = kv.experiment { name = "ger_correlation", title = "Global eviction and hallucination",
  paper = "figures 24, 44",
  options = { tasks = { "base", "knowledge", "multi_presence", "multi_entity" }, regime = "agnostic", calibration = 4 },
  docs = { calibration = "other passages that tell which heads read answers" } }
local opt = e.opt

local function correlation(xs, ys)
  local n, mx, my, sxx, syy, sxy = #xs, 0, 0, 0, 0, 0
  for i = 1, n do mx, my = mx + xs[i] / n, my + ys[i] / n end
  for i = 1, n do
    local dx, dy = xs[i] - mx, ys[i] - my
    sxx, syy, sxy = sxx + dx * dx, syy + dy * dy, sxy + dx * dy
  end
  if n < 3 or sxx < 1e-12 * n or syy < 1e-12 * n then return nil end -- a ratio's own points share their ratio
  return sxy / math.sqrt(sxx * syy)
end

-- ---- points: means per task, press, ratio ----

local datasets, points, all = {}, {}, {}
for i, task in ipairs(opt.tasks) do
  local run
  run, datasets[i] = e:sweep { task = task, regime = opt.regime, columns = { "answerable", "hallucination", "ger_model",
    "ger_model_placebo", "ger_layer", "ger_frac", "ger_frac_placebo" } }
  weighted.add(e, run, datasets[i], { regime = opt.regime, calibration = opt.calibration })
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

local without = ""
for _, dataset in ipairs(datasets) do without = without .. e.unanswerable(dataset) end
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
  caption = e:setting(datasets) .. " One point per task, press and ratio; random and the full cache included."
    .. without },
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

local function within(x)
  local kept = {}
  for _, row in ipairs(all) do
    if row.press ~= "full" and row[x] and row[x .. "_placebo"] then kept[#kept + 1] = row end
  end
  return kv.stats.fixed_effects(kept, { y = "hallucination", x = { x, x .. "_placebo" },
    effects = { function(row) return row.passage_id .. "|" .. row.question end,
      function(row) return row.task .. "|" .. row.press .. "|" .. row.ratio end }, contrast = { 1, -1 } })
end
local lines, headline = {}, within "ger_w"
for _, of in ipairs { { "GER_w", headline }, { "GER, every cell alike", within "ger_frac" } } do
  local fit = of[2]
  local told = fit.contrast and fit.contrast.lo and { "beta (answer)", "gamma (placebo)", "beta - gamma" } or {}
  for i, name in ipairs(told) do
    local c = i == 3 and fit.contrast or fit.coefficients[i]
    lines[#lines + 1] = { x = of[1], of = name, estimate = c.estimate, lo = c.lo, hi = c.hi, p = c.p, rows = fit.n,
      passages = fit.clusters }
  end
end
if #lines > 0 then
  e:table("within", { "x", "of", "estimate", "lo", "hi", "p", "rows", "passages" }, lines,
    "Hallucination on the share of the answer's cells that was dropped and on the placebo's, cells weighted by how the "
    .. "full cache reads answers in them (GER_w) or alike; fixed effects of question and of task x press x ratio, "
    .. "errors clustered by passage")
end
local d = headline.contrast
if not d or not d.lo or headline.clusters < 5 then
  e:verdict("cannot tell", "the answer's own eviction and hallucination: " .. (headline.reason
    or ("%d passages, 5 are needed"):format(headline.clusters or 0)))
else
  e:verdict(d.lo > 0 and "supported" or d.hi < .03 and "not supported" or "cannot tell",
    "the answer's own eviction goes with hallucination more than the placebo's (GER_w, beta - gamma)",
    { mean = d.estimate, lo = d.lo, hi = d.hi, n = headline.n, clusters = headline.clusters })
end
e:finish()
