-- SPDX-License-Identifier: Apache-2.0
-- How do answers go wrong as the cache shrinks?                            (arXiv:2603.01426, figures 22 and 43)
--
-- Hallucination H (wrong, neither abstaining nor collapsed), abstention U (although answerable) and collapse of the
-- format, three curves that are never pooled; unanswerable questions apart. Claims judged: a cliff of H near .9; U
-- erratic under AdaKV; errors of small models concentrate in one type. Beside them what eviction did to the evidence of
-- every failure (decomposition).
local kv = require "kvbench"
local decomposition = require "kvbench.metric.decomposition"
local answer_class = require "kvbench.metric.answer_class"
local e = kv.experiment { name = "errors", title = "How answers fail", paper = "figures 22, 43", options = {
  tasks = { "base", "knowledge", "multi_entity", "coreference" }, regimes = { "agnostic" } } }
local opt = e.opt

local measures = { { "hallucination", "hallucination" }, { "abstention", "abstention" }, { "degenerate",
  "format collapse" } }
local classes, parts, given = {}, {}, {}

-- How often answers are wrong given that no head keeps any of the answer's tokens (E), that some of them are gone from
-- all heads, and that each is kept somewhere: Pr(F | E) beside what it has to be compared with.
local function conditional(task, label, rows, ratio)
  local n, wrong = { erased = 0, partly = 0, kept = 0 }, { erased = 0, partly = 0, kept = 0 }
  for _, row in ipairs(rows) do
    if row.e_all then
      local state = row.e_all == 1 and "erased" or row.e_any == 1 and "partly" or "kept"
      n[state], wrong[state] = n[state] + 1, wrong[state] + (row.correct == 1 and 0 or 1)
    end
  end
  local line = { task = task, press = e.shown(label), ratio = ratio }
  for state, count in pairs(n) do
    line[state], line["F | " .. state] = count, count > 0 and wrong[state] / count or nil
  end
  given[#given + 1] = line
end

-- Shares of answer classes and the evidence behind the failures, at one ratio.
local function count(task, label, rows, ratio)
  local zero, list, n = {}, {}, {}
  for _, row in ipairs(rows) do
    if row.ratio == 0 then zero[row.passage_id .. "|" .. row.question] = row end
    if math.abs(row.ratio - ratio) < 1e-9 and row.answerable then list[#list + 1] = row end
  end
  if #list == 0 then return end
  conditional(task, label, list, ratio)
  local failed = {}
  for _, row in ipairs(list) do
    n[row.class] = (n[row.class] or 0) + 1
    local before = zero[row.passage_id .. "|" .. row.question]
    failed[#failed + 1] = before and { failed = row.correct ~= 1, failed0 = before.correct ~= 1,
      evidence = row.evidence }
  end
  local line = { task = task, press = e.shown(label), ratio = ratio, questions = #list }
  for _, class in ipairs(answer_class.classes) do line[class] = (n[class] or 0) / #list end
  classes[#classes + 1] = line
  local d = decomposition.decompose(failed)
  local part = { task = task, press = e.shown(label), ratio = ratio, questions = d.n, ["more failures"] = d.total,
    losses = d.losses, gains = d.gains }
  for _, p in ipairs(d.parts) do part[p.class] = p.delta end
  parts[#parts + 1] = part
end

local steepest = {}
for _, regime in ipairs(opt.regimes) do
  for _, task in ipairs(opt.tasks) do
    local run, dataset = e:sweep { task = task, regime = regime, columns = { "answerable", "class", "correct", "e_all",
      "e_any", "evidence", "hallucination", "abstention", "degenerate", "false_answer" } }
    local gates = regime == opt.regimes[1] and e:gate(run, dataset) or {}
    local panels = {}
    for _, m in ipairs(measures) do
      local lines = {}
      for _, label in ipairs(run.presses) do lines[#lines + 1] = { rows = run:press_rows(label),
        label = e.shown(label) } end
      panels[#panels + 1] = e.panel(lines, { title = m[2], y = m[1], y_label = "share of questions", min = 0, max = 1 })
    end
    local lines = {}
    for _, label in ipairs(run.presses) do lines[#lines + 1] = { rows = run:press_rows(label),
      label = e.shown(label) } end
    panels[#panels + 1] = e.panel(lines, { title = "unanswerable: false answers", y = "false_answer",
      y_label = "share of questions", min = 0, max = 1,
        reason = ("task %s has no unanswerable question"):format(task) })
    e:save(kv.plot.small_multiples { columns = 2, panels = panels, title = ("%s, %s: how answers fail"):format(task,
      regime),
      caption = e:setting(dataset) .. " " .. e.bands }, task .. "_" .. regime)
    for _, label in ipairs(regime == opt.regimes[1] and run.presses or {}) do
      local rows = run:press_rows(label)
      for _, ratio in ipairs { .5, .9, .95, .98 } do count(task, label, rows, ratio) end
      local gate, answerable = gates[label], {}
      for _, row in ipairs(rows) do if row.hallucination then answerable[#answerable + 1] = row end end
      local seen, ratios = {}, 0
      for _, row in ipairs(answerable) do
        if not seen[row.ratio] then seen[row.ratio], ratios = true, ratios + 1 end
      end
      local line = { task = task, press = e.shown(label), ["may be judged"] = gate.ok and "yes" or gate.why }
      if ratios >= 3 then
        local _, peak = kv.stats.susceptibility(answerable, { y = "hallucination", seed = 1 })
        line["steepest at"], line.slope, line.peak = peak.x, peak.value, peak.is_peak and "yes" or peak.reason
      else
        line.peak = ("%d ratios: a slope needs 3"):format(ratios)
      end
      steepest[#steepest + 1] = line
    end
  end
end

e:table("classes", { "task", "press", "ratio", "questions", unpack(answer_class.classes) }, classes,
  "Shares of answer classes, answerable questions")
e:table("decomposition", { "task", "press", "ratio", "questions", "more failures", "losses", "gains",
  unpack(decomposition.classes) }, parts,
    "Failures beyond those of the full cache, by what eviction did to the evidence")
e:table("erasure",
  { "task", "press", "ratio", "erased", "F | erased", "partly", "F | partly", "kept", "F | kept" }, given,
  "Share of wrong answers by what is left of the answer: erased = no head keeps any of its tokens")
e:table("steepest", { "task", "press", "steepest at", "slope", "peak", "may be judged" }, steepest,
  "Where H rises fastest; a maximum on the last grid point is no peak (safety_cliff.lua extends the grid)")

local judged, last = 0, 0
for _, line in ipairs(steepest) do
  if line["may be judged"] == "yes" and line["steepest at"] then
    judged = judged + 1
    if line["steepest at"] >= 0.85 then last = last + 1 end
  end
end
if judged == 0 then
  e:verdict("cannot tell", "cliff of H near .9: no task and press passes the eligibility gate (see the table)")
else
  e:verdict("exploratory", ("H rises fastest at .9 for %d of %d curves that may be judged; where that is the last grid "
    .. "point it is no peak"):format(last, judged))
end
e:finish()
