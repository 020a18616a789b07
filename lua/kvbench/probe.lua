-- SPDX-License-Identifier: Apache-2.0
-- Linear probes: what can be read off hidden states by a linear classifier, and what a probe must be compared with.
--
-- A probe that does well has shown that a linear reader exists, not that the model reads. So each number comes with its
-- controls (probe/controls.lua), and test items share neither passage nor sentence template with what was learnt from
-- (probe/folds.lua). Items are rows of a matrix [items, features] f32; labels are numbers from 1.
local ffi = require "ffi"
local folds = require "kvbench.probe.folds"
local library = require "kvbench.ffi"
local rng = require "kvbench.rng"
local tensor = require "kvbench.tensor"
local C, check = library.C, library.check

local M = { folds = folds.make }

--- The penalties that M.choose_l2 tries.
M.L2 = { 1e-3, 1e-2, 1e-1, 1 }

local Probe = {}
Probe.__index = Probe

local function indices(list)
  local out = ffi.new("int32_t[?]", math.max(1, #list))
  for i, v in ipairs(list) do out[i - 1] = v - 1 end
  return out
end

--- Learns from items `rows` (array of numbers from 1). labels: array, 1 to opt.classes. opt: classes, l2 (1e-2),
--- standard (true: standardise by these rows), iterations (200), tolerance (1e-4).
--- Returns a probe {weights [classes, features + 1], loss, gradient, iterations, converged}.
function M.fit(x, labels, rows, opt)
  local items = x:size(1)
  if #labels ~= items then
    error(("probe: %d labels for %d items"):format(#labels, items), 0)
  end
  local weights, report = tensor.zeros(opt.classes, x:size(2) + 1, { device = "cpu" }), ffi.new "double[4]"
  check(C.kvb_probe_fit(x, indices(labels), indices(rows), #rows, opt.classes, opt.l2 or 1e-2,
    opt.standard == false and 0 or 1, opt.iterations or 200, opt.tolerance or 1e-4, weights, report))
  return setmetatable({ weights = weights, classes = opt.classes, loss = report[0], gradient = report[1],
    iterations = report[2], converged = report[3] == 1 }, Probe)
end

--- What the probe says of items `rows`: labels (array), and log-probabilities [rows, classes].
function Probe:predict(x, rows)
  local out = tensor.zeros(#rows, self.classes, { device = "cpu" })
  check(C.kvb_probe_predict(x, indices(rows), #rows, self.weights, out))
  local labels, p = {}, ffi.cast("const float *", out.data)
  for i = 0, #rows - 1 do
    local best = 0
    for k = 1, self.classes - 1 do
      if p[i * self.classes + k] > p[i * self.classes + best] then best = k end
    end
    labels[i + 1] = best + 1
  end
  return labels, out
end

--- Macro-F1 and accuracy of predicted against true labels (arrays; a nil prediction leaves the item out). Classes that
--- nobody has do not count; one that is never predicted counts 0.
--- Returns {macro_f1, accuracy, n, f1 = per class}.
function M.score(truth, predicted, classes)
  local hit, is, said, n, right = {}, {}, {}, 0, 0
  for k = 1, classes do hit[k], is[k], said[k] = 0, 0, 0 end
  for i, k in ipairs(truth) do
    local p = predicted[i]
    if p then
      n, is[k], said[p] = n + 1, is[k] + 1, said[p] + 1
      if p == k then hit[k], right = hit[k] + 1, right + 1 end
    end
  end
  local out, sum, present = { f1 = {}, n = n }, 0, 0
  for k = 1, classes do
    if is[k] > 0 then
      out.f1[k] = 2 * hit[k] / (is[k] + said[k])
      sum, present = sum + out.f1[k], present + 1
    end
  end
  out.macro_f1, out.accuracy = present > 0 and sum / present or nil, n > 0 and right / n or nil
  return out
end

--- The penalty with the best inner score. Inner folds split the *learning* items of each outer fold by passage, so the
--- test items have no say. items: as for M.cross_validate. Returns the penalty and the mean macro-F1 of each.
function M.choose_l2(x, labels, plan, opt)
  local totals = {}
  for i = 1, #M.L2 do totals[i] = 0 end
  local tried = 0
  for _, fold in ipairs(plan.outer) do
    local learn, judge = folds.split(plan, fold.train, opt.seed)
    if #learn > 0 and #judge > 0 then
      tried = tried + 1
      local truth = {}
      for i, item in ipairs(judge) do truth[i] = labels[item] end
      for i, l2 in ipairs(M.L2) do
        local probe = M.fit(x, labels, learn, { classes = opt.classes, l2 = l2 })
        totals[i] = totals[i] + (M.score(truth, probe:predict(x, judge), opt.classes).macro_f1 or 0)
      end
    end
  end
  local best = 1
  for i = 1, #M.L2 do
    totals[i] = tried > 0 and totals[i] / tried or 0
    if totals[i] > totals[best] then best = i end
  end
  return M.L2[best], totals
end

--- Cross-validated predictions: each fold of the plan learns from x[train] and says what x_test[test] are. x_test is x
--- for "refit" (is it there?), another condition's states for "fit at 0" (is it still where it was?); several may be
--- given as a list, and cost one fit. opt: classes, l2. Returns predicted labels per item (array with nils where no
--- fold tests an item), or a list of such.
function M.cross_validate(x, labels, plan, opt, x_test)
  local several = x_test and not tensor.is(x_test)
  local list = several and x_test or { x_test or x }
  local out = {}
  for k = 1, #list do out[k] = {} end
  for _, fold in ipairs(plan.folds) do
    if #fold.train > 0 and #fold.test > 0 then
      local probe = M.fit(x, labels, fold.train, opt)
      for k, other in ipairs(list) do
        for i, label in ipairs((probe:predict(other, fold.test))) do out[k][fold.test[i]] = label end
      end
    end
  end
  return several and out or out[1]
end

--- Labels dealt anew among passages: what a probe finds where there is nothing to find.
function M.shuffled(labels, seed)
  local out = {}
  for i, v in ipairs(labels) do out[i] = v end
  return rng.new("probe/shuffled/" .. tostring(seed)):shuffle(out)
end

--- A control task: each type (a string per item, e.g. the subject's first word) gets a random class, always the same. A
--- probe that learns this as well as the real labels shows capacity, not structure.
--- Source: Hewitt & Liang, "Designing and Interpreting Probes with Control Tasks", EMNLP 2019.
function M.control_task(types, classes, seed)
  local out = {}
  for i, name in ipairs(types) do
    out[i] = rng.new(("probe/control/%s/%s"):format(tostring(seed), name)):int(1, classes)
  end
  return out
end

--- What a probe scores that has only seen the labels: each fold says the class that its learning items have most often.
function M.majority(labels, plan, classes)
  local out = {}
  for _, fold in ipairs(plan.folds) do
    local count, best = {}, 1
    for k = 1, classes do count[k] = 0 end
    for _, item in ipairs(fold.train) do count[labels[item]] = count[labels[item]] + 1 end
    for k = 2, classes do if count[k] > count[best] then best = k end end
    for _, item in ipairs(fold.test) do out[item] = best end
  end
  return out
end

return M
