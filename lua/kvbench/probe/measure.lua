-- SPDX-License-Identifier: Apache-2.0
-- Probes of one target over conditions and levels, with controls and passage-bootstrap intervals.
--
-- Per level, in this order: the penalty from inner folds at ratio 0, frozen for every condition; the probes refit per
-- condition and those fit at 0; the controls. The level that summaries show is the best of the *inner* folds at 0:
-- picking it by test scores would add what it promises.
local interval = require "kvbench.stats.interval"
local collect = require "kvbench.probe.collect"
local probe = require "kvbench.probe"
local progress = require "kvbench.progress"
local resample = require "kvbench.stats.resample"

local M = {}

local REPLICATES = 400

-- Weighted macro-F1 of predictions under counts per item.
local function macro_f1(t, predicted, weight)
  local hit, is, said, K = {}, {}, {}, #t.names
  for k = 1, K do hit[k], is[k], said[k] = 0, 0, 0 end
  for i, k in ipairs(t.labels) do
    local w, p = weight and weight[i] or 1, predicted[i]
    if p and w > 0 then
      is[k], said[p] = is[k] + w, said[p] + w
      if p == k then hit[k] = hit[k] + w end
    end
  end
  local sum, n = 0, 0
  for k = 1, K do
    if is[k] > 0 then sum, n = sum + 2 * hit[k] / (is[k] + said[k]), n + 1 end
  end
  return n > 0 and sum / n or 0
end

-- Item weights of every bootstrap replicate of the passages.
local function replicates(t, seed)
  local ids, at = {}, {}
  for _, id in ipairs(t.passages) do
    if not at[id] then at[id], ids[#ids + 1] = true, id end
  end
  table.sort(ids)
  for i, id in ipairs(ids) do at[id] = i - 1 end
  local plan, out = resample.weights(#ids, REPLICATES, seed), {}
  for r = 0, REPLICATES - 1 do
    out[r + 1] = {}
    for i, id in ipairs(t.passages) do out[r + 1][i] = plan[r * #ids + at[id]] end
  end
  return out, #ids
end

-- {estimate, lo, hi, n} of a statistic of weights.
local function with_interval(t, plan, statistic)
  local values = {}
  for r, weight in ipairs(plan) do values[r] = statistic(weight) end
  local lo, hi = interval.percentile(values)
  return { estimate = statistic(nil), lo = lo, hi = hi, n = #t.labels, clusters = t.n_passages }
end

local function controls_of(t, x, plan, opt, seed)
  local labels, K = t.labels, #t.names
  local shuffled, control = probe.shuffled(labels, seed), probe.control_task(t.types, K, seed)
  local function f1(truth, predicted) return probe.score(truth, predicted, K).macro_f1 end
  return f1(shuffled, probe.cross_validate(x, shuffled, plan, opt)),
    f1(control, probe.cross_validate(x, control, plan, opt))
end

--- Fills t = {states, labels, names, types, passages (per item), plan, items} with t.cell(press, ratio, level) = {refit
--- = {f1 = {estimate, lo, hi}, over = the same minus question only, score}, ["fit at 0"] = the same, fall = refit minus
--- refit at 0, shuffled, control (macro-F1, at the chosen level only)}, t.level (chosen), t.l2 per level, t.controls
--- {question_only, majority}, t.n_passages. opt: presses (labels), ratios, pool, seed, progress (label).
function M.run(t, opt)
  local K, seed, levels = #t.names, opt.seed, #t.states.layers
  local plan, n_passages = replicates(t, seed)
  t.n_passages, t.l2, t.cells, t.controls = n_passages, {}, {}, {}
  local bar = opt.progress and progress.new { label = opt.progress, total = levels, unit = "levels" }
  local function matrix(condition, level) return t.states:matrix(condition, opt.pool, level) end
  local best = -1
  local of_level = {}
  for level = 1, levels do
    local full = matrix("full", level)
    local l2, inner = probe.choose_l2(full, t.labels, t.plan, { classes = K, seed = seed })
    local fit = { classes = K, l2 = l2 }
    t.l2[level] = l2
    for _, score in ipairs(inner) do if score > best then best, t.level = score, level end end
    local only = probe.cross_validate(matrix("question_only", level), t.labels, t.plan, fit)
    local cells, others, names = {}, { full }, { "full" }
    for _, name in ipairs(t.states.conditions) do
      if name ~= "full" and name ~= "question_only" then
        others[#others + 1], names[#names + 1] = matrix(name, level), name
      end
    end
    local frozen = probe.cross_validate(full, t.labels, t.plan, fit, others)
    for i, name in ipairs(names) do
      local refit = i == 1 and frozen[1] or probe.cross_validate(others[i], t.labels, t.plan, fit)
      cells[name] = { refit = refit, frozen = frozen[i] }
    end
    of_level[level] = { only = only, cells = cells, fit = fit }
    if bar then bar:update(level) end
  end
  if bar then bar:finish() end
  local function compared(predicted, only)
    return { score = probe.score(t.labels, predicted, K),
      f1 = with_interval(t, plan, function(w) return macro_f1(t, predicted, w) end),
      over = with_interval(t, plan, function(w) return macro_f1(t, predicted, w) - macro_f1(t, only, w) end) }
  end
  for level, l in ipairs(of_level) do
    t.cells[level] = {}
    for name, c in pairs(l.cells) do
      local cell = { refit = compared(c.refit, l.only), ["fit at 0"] = compared(c.frozen, l.only) }
      cell.fall = with_interval(t, plan, function(w)
        return macro_f1(t, c.refit, w) - macro_f1(t, l.cells.full.refit, w)
      end)
      if level == t.level then
        cell.shuffled, cell.control = controls_of(t, matrix(name, level), t.plan, l.fit, seed)
      end
      t.cells[level][name] = cell
    end
  end
  t.controls.question_only = probe.score(t.labels, of_level[t.level].only, K)
  t.controls.majority = probe.score(t.labels, probe.majority(t.labels, t.plan, K), K)
  function t.cell(press, ratio, level) return t.cells[level][collect.condition(press, ratio)] end
  return t
end

return M
