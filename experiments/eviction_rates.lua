-- SPDX-License-Identifier: Apache-2.0
-- What share of the passage does no head keep any more, and is it the same for every task?
--                                                                          (arXiv:2603.01426, figures 21 and 42)
-- EvictionRate over X without sinks. Claim judged: eviction rates are equal across tasks. Drawn beside what independent
-- heads with the same shares would give (null), and beside the same within single layers.
local kv = require "kvbench"
local e = kv.experiment { name = "eviction_rates", title = "Eviction rates", paper = "figures 21, 42", options = {
  tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" },
  regimes = { "agnostic", "aware" }, margin = 0.03 } }
local opt = e.opt

local datasets, runs = {}, {}
for i, task in ipairs(opt.tasks) do
  for _, regime in ipairs(opt.regimes) do
    local run
    run, datasets[i] = e:sweep { task = task, regime = regime }
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

-- Largest difference of two tasks at each ratio, on passage means.
local rows, worst = {}, nil
for _, label in ipairs(labels) do
  for _, ratio in ipairs { 0.5, 0.7, 0.8, 0.9 } do
    local lo, hi
    for _, task in ipairs(opt.tasks) do
      local list = {}
      for _, row in ipairs(runs[opt.regimes[1]][task]:press_rows(label)) do
        if math.abs(row.ratio - ratio) < 1e-9 and row.eviction_rate then list[#list + 1] = row end
      end
      local m = #list > 0 and kv.stats.mean(list, { y = "eviction_rate", indicator = false })
      if m then
        m.task = task
        if not lo or m.mean < lo.mean then lo = m end
        if not hi or m.mean > hi.mean then hi = m end
      end
    end
    if lo then
      local apart = lo.hi and hi.lo and hi.lo - lo.hi
      rows[#rows + 1] = { press = e.shown(label), ratio = ratio, lowest = lo.task, ["rate"] = lo.mean, ["hi"] = lo.hi,
        highest = hi.task, ["rate "] = hi.mean, lo = hi.lo, ["gap of intervals"] = apart }
      local random = label:find "^random" ~= nil
      if apart and not random and (not worst or apart > worst.apart) then
        worst = { apart = apart, ratio = ratio, press = label, lo = lo, hi = hi }
      end
    end
  end
end
e:table("differences", { "press", "ratio", "lowest", "rate", "hi", "highest", "rate ", "lo", "gap of intervals" }, rows,
  "The tasks with the lowest and highest rate, with the limits of their 95 % intervals that face each other")
if #opt.tasks < 2 then
  e:verdict("cannot tell", "one task compares with nothing")
elseif not worst then
  e:verdict("cannot tell", "no press has intervals on two tasks: more passages are needed")
elseif worst.apart > opt.margin then
  e:verdict("not supported", ("eviction rates are equal across tasks: under %s at %g the intervals of %s (%.2f) and %s "
    .. "(%.2f) are %.2f apart"):format(e.shown(worst.press), worst.ratio, worst.lo.task, worst.lo.mean, worst.hi.task,
    worst.hi.mean, worst.apart))
else
  e:verdict("cannot tell", ("no two tasks' intervals are more than %g apart, which is no proof that they are equal")
    :format(opt.margin))
end
e:finish()
