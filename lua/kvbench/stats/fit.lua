-- SPDX-License-Identifier: Apache-2.0
-- Cliff or slope: a line, a line with a kink, or a logistic step?
--
-- More parameters always fit better, so shapes are compared by what they say about passages they have not seen: the
-- mean log density of held-out rows (Gaussian errors, spread from the training passages). The winner alone is no
-- finding: its lead over each other shape comes with a standard error over passages, and `clear` asks for two of them.
-- x should be log2 of the kept tokens where it can be: against the ratio any curve that depends on what is *left* bends
-- near 1 (kept = n (1 - ratio)).
local ffi = require "ffi"
local interval = require "kvbench.stats.interval"
local resample = require "kvbench.stats.resample"
local rng = require "kvbench.rng"
local shapes = require "kvbench.stats.shapes"

local M = {}

local SHAPES = { "linear", "kink", "logistic" } -- fewer parameters first
local FOLDS = 5

local function items_of(rows, opt)
  local x_of, y_of = resample.getter(opt.x, "x"), resample.getter(opt.y, "y")
  local cluster_of = resample.getter(opt.cluster or "passage_id", "cluster")
  local items, ids, seen = {}, {}, {}
  for _, row in ipairs(rows) do
    local x, y = x_of(row), y_of(row)
    if y == true then y = 1 elseif y == false then y = 0 end
    if type(x) == "number" and type(y) == "number" and x == x and y == y and math.abs(x) < math.huge
      and math.abs(y) < math.huge then
      local id = tostring(cluster_of(row))
      if not seen[id] then seen[id], ids[#ids + 1] = true, id end
      items[#items + 1] = { x = x, y = y, id = id }
    end
  end
  table.sort(ids)
  for i, id in ipairs(ids) do seen[id] = i - 1 end
  for _, item in ipairs(items) do item.cluster = seen[item.id] end
  return items, ids
end

-- Log density of each passage's rows under a fit made without it: {sum per passage}.
local function held_out(d, C, shape, folds)
  local score, weight = {}, ffi.new("double[?]", C)
  for c = 0, C - 1 do score[c] = 0 end
  for k = 0, FOLDS - 1 do
    for c = 0, C - 1 do weight[c] = folds[c] == k and 0 or 1 end
    local f = shapes[shape].fit(d, weight)
    if not f then return nil end
    local variance = math.max(1e-9, f.sse / math.max(1, f.n - shapes[shape].parameters))
    for i = 0, d.n - 1 do
      local c = d.cluster[i]
      if folds[c] == k then
        local at = shapes[shape].at(f, d.x[i])
        local sse = d.squares[i] - 2 * at * d.sum[i] + d.count[i] * at * at
        score[c] = score[c] - .5 * (d.count[i] * math.log(2 * math.pi * variance) + sse / variance)
      end
    end
  end
  return score
end

-- Mean difference of two shapes' scores per row, with its standard error over passages.
local function lead(a, b, rows_of, C, n)
  local sum, squares = 0, 0
  for c = 0, C - 1 do sum = sum + a[c] - b[c] end
  local mean = sum / n
  for c = 0, C - 1 do squares = squares + (a[c] - b[c] - mean * rows_of[c]) ^ 2 end
  return { estimate = mean, se = math.sqrt(C / (C - 1) * squares) / n }
end

-- Percentile limits of a parameter over passage replicates.
local function limits(d, C, shape, start, name, opt)
  local R = opt.replicates or 400
  local plan, weight, values = resample.weights(C, R, opt.seed or 1), ffi.new("double[?]", C), {}
  for r = 0, R - 1 do
    for c = 0, C - 1 do weight[c] = plan[r * C + c] end
    local f = shapes[shape].fit(d, weight, start)
    if f then values[#values + 1] = f[name] end
  end
  return interval.percentile(values, opt.level)
end

--- Fits y over x by all three shapes. Rows as for stats.curve (x any number, e.g. log2 of the kept tokens); opt: x, y,
--- cluster, seed 1, replicates 400 (of b50 and the kink), level .95.
--- Returns {chosen = "linear" | "kink" | "logistic" (best held-out score), clear (its lead over every simpler shape is
--- 2 standard errors), models = per shape {score = mean held-out log density, behind = {estimate, se} to the chosen,
--- and its parameters: linear offset, slope; kink offset, slope, bend, kink (+ lo, hi); logistic low, high, b50, width
--- (+ lo, hi of b50)}, estimate, lo, hi = b50 of the logistic, n, clusters}. at_edge: b50 lies at the end of the data.
--- With fewer than 10 passages or 5 x: {n, clusters, reason}.
function M.curve_fit(rows, opt)
  local items, ids = items_of(rows, opt)
  local C, xs, distinct = #ids, {}, 0
  for _, item in ipairs(items) do
    if not xs[item.x] then xs[item.x], distinct = true, distinct + 1 end
  end
  local out = { n = #items, clusters = C, models = {} }
  if C < 10 or distinct < 5 then
    out.reason = ("%d passages at %d x: comparing shapes needs at least 10 and 5"):format(C, distinct)
    return out
  end
  local d, ones, order, folds, rows_of = shapes.cells(items), ffi.new("double[?]", C), {}, {}, {}
  for c = 0, C - 1 do order[c + 1], ones[c], rows_of[c] = c, 1, 0 end
  for i = 0, d.n - 1 do rows_of[d.cluster[i]] = rows_of[d.cluster[i]] + d.count[i] end
  rng.new("folds/" .. tostring(opt.seed or 1)):shuffle(order)
  for i, c in ipairs(order) do folds[c] = i % FOLDS end
  local scores = {}
  for _, shape in ipairs(SHAPES) do
    scores[shape] = held_out(d, C, shape, folds)
    if scores[shape] then
      local f, sum = shapes[shape].fit(d, ones), 0
      for c = 0, C - 1 do sum = sum + scores[shape][c] end
      f.score, f.log_width = sum / #items, nil
      out.models[shape] = f
      if not out.chosen or f.score > out.models[out.chosen].score then out.chosen = shape end
    end
  end
  out.clear = true
  local simpler = true
  for _, shape in ipairs(SHAPES) do
    simpler = simpler and shape ~= out.chosen
    if scores[shape] and shape ~= out.chosen then
      local behind = lead(scores[out.chosen], scores[shape], rows_of, C, #items)
      out.models[shape].behind = behind
      if simpler then out.clear = out.clear and behind.estimate > 2 * behind.se end
    end
  end
  local step, bent = out.models.logistic, out.models.kink
  if bent then bent.lo, bent.hi = limits(d, C, "kink", bent, "kink", opt) end
  step.log_width = math.log(step.width)
  step.lo, step.hi = limits(d, C, "logistic", step, "b50", opt)
  step.log_width = nil
  out.estimate, out.lo, out.hi = step.b50, step.lo, step.hi
  local margin = .02 * (d.high - d.low)
  out.at_edge = step.b50 < d.low + margin or step.b50 > d.high - margin
  return out
end

return M
