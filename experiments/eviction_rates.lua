-- SPDX-License-Identifier: Apache-2.0
-- What share of the passage does no head keep any more, and is it the same for every task?
--                                                                          (arXiv:2603.01426, figures 21 and 42)
-- EvictionRate over X without sinks. Claim judged: eviction rates are equal across tasks, by two one-sided tests
-- (Welch) of every pair of tasks at a margin of 3 points: all must pass. Drawn beside what independent heads with
-- the same shares would give (null), and beside the same within single layers.
local kv = require "kvbench"
local e = kv.experiment { name = "eviction_rates", title = "Eviction rates", paper = "figures 21, 42", options = {
  tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" },
  regimes = { "agnostic", "aware" }, margin = 0.03 } }
local opt = e.opt

local datasets, runs = {}, {}
for i, task in ipairs(opt.tasks) do
  for _, regime in ipairs(opt.regimes) do
    local run
    run, datasets[i] = e:sweep { task = task, regime = regime, columns = { "eviction_rate", "null_model",
      "eviction_rate_layer", "null_layer" } }
    runs[regime] = runs[regime] or {}
    runs[regime][task] = run
  end
end
local labels = runs[opt.regimes[1]][opt.tasks[1]].presses

local function per_press(y, y_label, null)
  local panels = {}
  for _, regime in ipairs(opt.regimes) do
    for _, label in ipairs(labels) do
      local lines, all = {}, {}
      for _, task in ipairs(opt.tasks) do
        local rows = runs[regime][task]:press_rows(label)
        lines[#lines + 1] = { rows = rows, label = task }
        for _, row in ipairs(rows) do all[#all + 1] = row end
      end
      if null then lines[#lines + 1] = { rows = all, label = "independent heads", y = null, style = "reference" } end
      panels[#panels + 1] = e.panel(lines, { title = ("%s, %s"):format(e.shown(label), regime), y = y,
        y_label = y_label, indicator = false,
        min = 0, max = 1 })
    end
  end
  return panels
end
local columns = math.min(4, #labels)
e:save(kv.plot.small_multiples { columns = columns, panels = per_press("eviction_rate", "eviction rate", "null_model"),
  title = "Share of passage tokens that no head of any layer keeps", caption = e:setting(datasets) .. " Null: "
    .. "independent heads with the same shares kept. " .. e.bands }, "eviction_rates")
e:save(kv.plot.small_multiples { columns = columns,
  panels = per_press("eviction_rate_layer", "within a layer", "null_layer"),
  title = "The same within a layer, averaged over layers", caption = e:setting(datasets) .. " Null: independent heads "
    .. "with the same shares kept. " .. e.bands }, "eviction_rates_layer")

-- Every pair of tasks at some ratios: equal within the margin, apart by more, or neither is known.
local AT = { 0.5, 0.7, 0.8, 0.9 }
local columns_of = { "press", "ratio", "tasks", "estimate", "lo", "hi", "p", "passages", "equal" }
local function rates(task, label, ratio)
  local list = {}
  for _, row in ipairs(runs[opt.regimes[1]][task]:press_rows(label)) do
    if math.abs(row.ratio - ratio) < 1e-9 and row.eviction_rate then list[#list + 1] = row end
  end
  return list
end
local rows, tested, unknown, apart, worst = {}, 0, 0, 0, nil
for _, label in ipairs(labels) do
  for _, ratio in ipairs(AT) do
    for i = 1, #opt.tasks do
      for j = i + 1, #opt.tasks do
        local a, b = rates(opt.tasks[i], label, ratio), rates(opt.tasks[j], label, ratio)
        if #a > 0 and #b > 0 then
          local d = kv.stats.tost_between(a, b, { y = "eviction_rate", margin = opt.margin })
          local differ = d.lo and (d.lo > opt.margin or d.hi < -opt.margin)
          rows[#rows + 1] = { press = e.shown(label), ratio = ratio, tasks = opt.tasks[i] .. " - " .. opt.tasks[j],
            estimate = d.estimate, lo = d.lo, hi = d.hi, p = d.p, passages = d.clusters,
            equal = d.reason or d.equivalent and "yes" or differ and "no" or "cannot tell" }
          if not label:find "^random" then -- evicts the same share of everything by construction
            tested, unknown = tested + 1, unknown + ((d.reason or not (d.equivalent or differ)) and 1 or 0)
            apart = apart + (differ and 1 or 0)
            if d.estimate and (not worst or math.abs(d.estimate) > math.abs(worst.estimate)) then
              worst = { estimate = d.estimate, lo = d.lo, hi = d.hi, n = d.n, clusters = d.clusters,
                what = ("%s at %g, %s"):format(e.shown(label), ratio, rows[#rows].tasks) }
            end
          end
        end
      end
    end
  end
end
e:table("differences", columns_of, rows, ("Eviction rates of every pair of tasks: difference, 90 %% interval, and TOST "
  .. "at a margin of %g"):format(opt.margin))
if #opt.tasks < 2 then
  e:verdict("cannot tell", "one task compares with nothing")
elseif not worst then
  e:verdict("cannot tell", "no press has three passages of two tasks: more passages are needed")
else
  local status = apart > 0 and "not supported" or unknown > 0 and "cannot tell" or "supported"
  e:verdict(status, ("eviction rates are equal across tasks within %g: %d of %d comparisons are equal, %d are apart, "
    .. "%d cannot be told; the largest (%s)"):format(opt.margin, tested - unknown - apart, tested, apart, unknown,
    worst.what), worst)
end
e:finish()
