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
local shown = { agnostic = "question-agnostic", aware = "question-aware", aware_one = "query-aware",
  aware_other = "other passages' questions listed" }

-- The largest rise of a curve over what came before it, with the passages' own interval.
local function largest_rise(series)
  local best, low = nil, math.huge
  for i, y in ipairs(series.y) do
    if y - low > (best and best.rise or 0) then best = { rise = y - low, ratio = series.x[i] } end
    low = math.min(low, y)
  end
  return best
end

local ps, numbers = {}, {}
for _, task in ipairs(opt.tasks) do
  local panels, abstain, dataset, any = {}, {}, nil, false
  for _, regime in ipairs(opt.regimes) do
    local run
    run, dataset = e:sweep { task = task, regime = regime }
    local gates = e:gate(run, dataset)
    local lines, declined = {}, {}
    for i, label in ipairs(run.presses) do
      local function of(y, answerable)
        return { rows = run:data(label, y, { answerable = answerable, optional = true }), label = e.shown(label) }
      end
      lines[i], declined[i] = of("f1", true), of("correct_abstention", false)
    end
    local panel = e.panel(lines, { title = shown[regime], y = "f1", y_label = "token F1", min = 0, max = 1 })
    panels[#panels + 1] = panel
    for _, record in ipairs(dataset.records) do
      for _, question in ipairs(record.questions) do any = any or question.answerable == false end
    end
    abstain[#abstain + 1] = e.panel(declined, { title = shown[regime] .. ", unanswerable", y = "correct_abstention",
      y_label = "rightful abstentions", min = 0, max = 1, reason = "this task has no unanswerable question" })
    for i, s in ipairs(panel.series or {}) do
      local rise, gate = largest_rise(s), gates[run.presses[i]]
      local spike = kv.stats.isotonic(lines[i].rows, { y = "f1", x = "ratio", cluster = "passage_id",
        decreasing = true })
      local line = { task = task, regime = regime, press = s.label, ["F1 at 0"] = s.y[1], ["at 0.5"] = e.at(s, 0.5),
        ["at 0.9"] = e.at(s, 0.9), ["largest rise"] = rise and rise.rise or 0, ["at ratio"] = rise and rise.ratio,
        excess = spike.estimate, p = spike.p or spike.reason, ["may be judged"] = gate.ok and "yes" or gate.why }
      numbers[#numbers + 1] = line
      if gate.ok and spike.p then ps[#ps + 1], line.judged = spike.p, #ps + 1 end
    end
  end
  for _, panel in ipairs(any and abstain or {}) do panels[#panels + 1] = panel end
  e:save(kv.plot.small_multiples { columns = #opt.regimes, panels = panels, share_y = false,
    title = ("Task %s"):format(task), caption = e:setting(dataset) .. " " .. e.bands }, task)
end

local adjusted, spikes = #ps > 0 and kv.stats.holm(ps) or {}, 0
for _, line in ipairs(numbers) do
  line["p (Holm)"] = line.judged and adjusted[line.judged]
  if line.judged and adjusted[line.judged] <= .05 then spikes = spikes + 1 end
end
e:table("numbers", { "task", "regime", "press", "F1 at 0", "at 0.5", "at 0.9", "largest rise", "at ratio", "excess",
  "p",
  "p (Holm)", "may be judged" }, numbers,
    "Token F1; largest rise over the lowest point before; excess over the falling "
  .. "isotonic fit with its wild-bootstrap p, and after Holm over the curves that may be judged")
if #ps == 0 then
  e:verdict("cannot tell", "non-monotone spikes: no task, regime and press passes the eligibility gate (see the table)")
else
  e:verdict(spikes > 0 and "supported" or "not supported",
    ("non-monotone spikes: %d of %d curves that may be judged stick "
    .. "out of their isotonic fit (Holm)"):format(spikes, #ps))
end
e:finish()
