-- SPDX-License-Identifier: Apache-2.0
-- What does compression cost, task by task, and does telling the questions beforehand help?
--                                                                          (arXiv:2603.01426, figures 2-8 and 27)
-- Token F1 over the share of the passage that is evicted, one figure a task: question-agnostic beside question-aware.
-- Unanswerable questions have no F1: for them the share of rightful abstentions is drawn, in panels of their own.
-- Claim judged: curves are not monotone ("spikes") where questions are known.
local kv = require "kvbench"
local e = kv.experiment { name = "tasks", title = "Answer quality of every task", paper = "figures 2-8, 27", options = {
  tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" },
  regimes = { "agnostic", "aware" },
} }
local opt = e.opt
local shown = { agnostic = "question-agnostic", aware = "question-aware", aware_one = "query-aware" }

-- The largest rise of a curve over what came before it, with the passages' own interval.
local function largest_rise(series)
  local best, low = nil, math.huge
  for i, y in ipairs(series.y) do
    if y - low > (best and best.rise or 0) then best = { rise = y - low, ratio = series.x[i] } end
    low = math.min(low, y)
  end
  return best
end

local spikes, judged, numbers = 0, 0, {}
for _, task in ipairs(opt.tasks) do
  local panels, abstain, dataset, any = {}, {}, nil, false
  for _, regime in ipairs(opt.regimes) do
    local run
    run, dataset = e:sweep { task = task, regime = regime }
    local gates = e:gate(run, dataset)
    local lines, declined = {}, {}
    for _, label in ipairs(run.presses) do
      local rows = run:press_rows(label)
      lines[#lines + 1] = { rows = rows, label = e.shown(label) }
      declined[#declined + 1] = { rows = rows, label = e.shown(label) }
      for _, row in ipairs(rows) do any = any or row.correct_abstention ~= nil end
    end
    local panel = e.panel(lines, { title = shown[regime], y = "f1", y_label = "token F1", min = 0, max = 1 })
    panels[#panels + 1] = panel
    abstain[#abstain + 1] = e.panel(declined, { title = shown[regime] .. ", unanswerable", y = "correct_abstention",
      y_label = "rightful abstentions", min = 0, max = 1, reason = "this task has no unanswerable question" })
    for i, s in ipairs(panel.series or {}) do
      local rise, gate = largest_rise(s), gates[run.presses[i]]
      judged = judged + (gate.ok and 1 or 0)
      if rise and s.lo and gate.ok then
        for k, x in ipairs(s.x) do
          if x == rise.ratio and s.lo[k] > s.y[1] then spikes = spikes + 1 end
        end
      end
      numbers[#numbers + 1] = { task = task, regime = regime, press = s.label, ["F1 at 0"] = s.y[1],
        ["at 0.5"] = e.at(s, 0.5), ["at 0.9"] = e.at(s, 0.9), ["largest rise"] = rise and rise.rise or 0,
        ["at ratio"] = rise and rise.ratio, ["may be judged"] = gate.ok and "yes" or gate.why }
    end
  end
  for _, panel in ipairs(any and abstain or {}) do panels[#panels + 1] = panel end
  e:save(kv.plot.small_multiples { columns = #opt.regimes, panels = panels, share_y = false,
    title = ("Task %s"):format(task), caption = e:setting(dataset) .. " " .. e.bands }, task)
end

e:table("numbers", { "task", "regime", "press", "F1 at 0", "at 0.5", "at 0.9", "largest rise", "at ratio",
  "may be judged" }, numbers,
  "Token F1, and the largest rise of a curve over its lowest point before")
if judged == 0 then
  e:verdict("cannot tell", "non-monotone spikes: no task, regime and press passes the eligibility gate (see the table)")
else
  e:verdict(spikes > 0 and "exploratory" or "not supported", ("non-monotone spikes: %d of %d curves that may be judged "
    .. "rise above their own uncompressed value by more than the simultaneous band"):format(spikes, judged))
end
e:finish()
