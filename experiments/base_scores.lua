-- SPDX-License-Identifier: Apache-2.0
-- How well does the model answer without any compression?                            (arXiv:2603.01426, Table 2)
--
-- Token F1 of every task, question-agnostic and question-aware, with passage intervals; what the model knows without
-- the passage (closed book), and for tasks with unanswerable questions the two trivial baselines: always answer, always
-- abstain. The rows of tasks.lua are used where they are there.
local kv = require "kvbench"
local e = kv.experiment { name = "base_scores", title = "Scores without compression", paper = "table 2", options = {
  tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" },
  regimes = { "agnostic", "aware" } } }
local opt = e.opt

local rows, series = {}, {}
local templates = { knowledge = true, coreference = true } -- their values are drawn from lists, and resampled too
local function mean(list, y)
  local has = {}
  for _, row in ipairs(list) do if row[y] ~= nil then has[#has + 1] = row end end
  return #has > 0 and kv.stats.mean(has, { y = y }) or nil
end
for r, regime in ipairs(opt.regimes) do
  local s = { label = regime, style = "points", x = {}, y = {}, lo = {}, hi = {}, gaps = {} }
  for i, task in ipairs(opt.tasks) do
    local run, dataset = e:sweep { task = task, regime = regime }
    local full = run:select({ "answerable", "f1", "correct", "correct_abstention", "truncated", "gold" },
      { press = "full", variant = "" })
    local answerable, total = 0, #full
    for _, row in ipairs(full) do answerable = answerable + (row.answerable and 1 or 0) end
    local f1, right, abstains = mean(full, "f1"), mean(full, "correct"), mean(full, "correct_abstention")
    local truncated = mean(full, "truncated")
    local gates, range = e:gate(run, dataset)
    local slots = templates[task] and f1 and kv.stats.crossed(full, { y = "f1" }) or {}
    local may = 0
    for _, g in pairs(gates) do may = may + (g.ok and 1 or 0) end
    rows[#rows + 1] = { task = task, regime = regime, passages = #dataset.records, questions = total, F1 = f1
      and f1.mean,
      lo = f1 and f1.lo, hi = f1 and f1.hi, ["slots lo"] = slots.lo, ["slots hi"] = slots.hi,
      correct = right and right.mean, abstains = abstains and abstains.mean,
      truncated = truncated and truncated.mean, ["closed book"] = range and range.closed,
      ["with - without"] = range and range.mean, ["its lo"] = range and range.lo,
      ["always answer"] = answerable < total and answerable / total or nil,
      ["always abstain"] = answerable < total and 1 - answerable / total or nil,
      ["presses to judge"] = ("%d of %d"):format(may, #run.presses) }
    if f1 then
      local at = #s.x + 1
      s.x[at], s.y[at], s.lo[at], s.hi[at] = i + (r - 1) * 0.15, f1.mean, f1.lo or f1.mean, f1.hi or f1.mean
      s.x[at + 1], s.y[at + 1], s.lo[at + 1], s.hi[at + 1] = i + 0.5 + r * 0.01, 0 / 0, 0 / 0, 0 / 0
      s.gaps[at + 1] = true -- no band from task to task
    end
  end
  if #s.x > 0 then series[#series + 1] = s end
end

local ticks, labels = {}, {}
for i, task in ipairs(opt.tasks) do ticks[i], labels[i] = i, (task:gsub("_", " ")) end
e:save(#series > 0 and kv.plot.lines { title = "Token F1 without compression", width = 6.5, series = series,
  x = { ticks = ticks, labels = labels, min = 0.5, max = #ticks + 0.7 }, y = { label = "token F1", min = 0, max = 1 },
  caption = ("%s (%s), seed %s, %s prompt; passages and questions in the table. Bars: 95 %% BCa intervals over "
    .. "passages."):format(e:model().name, e:model().dtype, opt.seed, opt.style) }
  or kv.plot.small_multiples { panels = { e.note("F1", "no answerable question") } }, "base_scores")
e:table("scores", { "task", "regime", "passages", "questions", "F1", "lo", "hi", "slots lo", "slots hi", "correct",
  "closed book",
  "with - without", "its lo", "abstains", "always answer", "always abstain", "truncated", "presses to judge" }, rows,
  "Without compression. slots lo, hi: template tasks, passages and slot values both resampled; abstains: share of "
    .. "unanswerable questions declined; always answer / always abstain: accuracy "
    .. "of "
  .. "these rules; presses to judge: how many pass the eligibility gate")
local ok = 0
for _, row in ipairs(rows) do if not row["presses to judge"]:find "^0" then ok = ok + 1 end end
e:verdict("exploratory",
  ("%d of %d task x regime pairs have a press whose claims may be judged on this model"):format(ok,
  #rows))
e:finish()
