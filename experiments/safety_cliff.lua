-- SPDX-License-Identifier: Apache-2.0
-- When does answering break under eviction, and is it because the evidence is gone?   (arXiv:2603.01426, figures 21-24)
--
-- Answers to the same questions while more and more of the passage's KV cache is evicted, for several presses; beside
-- them how much of the answer's evidence is globally evicted (GER), the same for other facts (placebo) and for
-- independent heads (null). The unit of every interval is the passage.
local kv = require "kvbench"
local e = kv.experiment { name = "safety_cliff", title = "The safety cliff", paper = "figures 21-24", options = {
  task = "base", passages = 48, ratios = "cliff", heatmap_press = "adakv", heatmap_ratio = 0.9 } }
local opt = e.opt

local heatmap_press = e:presses({ opt.heatmap_press })[1]
kv.ratios.round(opt.heatmap_ratio) -- a wrong name or ratio should not cost a sweep first
local model = e:model()
local run, dataset = e:sweep { task = opt.task, passages = opt.passages > 0 and opt.passages or 48, out = opt.out,
  label = "safety cliff" }

-- ---- figures ----

local setting = e:setting(dataset) .. " "
local bands = e.bands
local x = { label = "evicted share", min = 0, max = 1 }
local answerable = { answerable = true, optional = true }

-- run:data gives the sums of a large run instead of its rows, so that millions of answers are never in memory at once.
local function panel(title, y, label, indicator)
  local lines = {}
  for i, press in ipairs(run.presses) do
    lines[i] = { rows = run:data(press, y, answerable), label = e.shown(press) }
  end
  return e.panel(lines, { title = title, y = y, y_label = label, min = 0, max = 1, indicator = indicator,
    reason = "no answerable question has " .. y })
end

local function save(figure, name) e:save(figure, name) end

local f1 = panel("Answer quality", "word_f1", "word F1")
local hallucination = panel("Hallucination", "hallucination", "share of questions")
local abstention = panel("Abstention", "abstention", "share of questions")
local degenerate = panel("Format collapse", "degenerate", "share of questions")
local ger = panel("Answer tokens evicted in every head", "ger_model", "GER (model)", false) -- a share of tokens
local placebo = panel("Placebo: other facts' values", "ger_model_placebo", "GER (model)", false)

-- A panel as a figure of its own.
local function alone(p, title, caption)
  if p.kind ~= "lines" then
    return kv.plot.small_multiples { columns = 1, panels = { p }, title = title, caption = caption }
  end
  return kv.plot.lines { title = title, x = p.x, y = p.y, series = p.series, hlines = p.hlines, caption = caption }
end

local function series_of(p, press)
  for _, s in ipairs(p.series or {}) do
    if s.label == e.shown(press) then return s end
  end
end

-- Susceptibility: the slope of the hallucination rate. A maximum at the end of the grid is no peak.
local slopes, peaks = {}, {}
for i, press in ipairs(run.presses) do
  local s = series_of(hallucination, press)
  if not s or #s.x < 3 then
    peaks[i] = { reason = ("%d ratios have answers, a slope needs 3"):format(s and #s.x or 0) }
  else
    local points, peak = kv.stats.susceptibility(run:data(press, "hallucination", answerable),
      { y = "hallucination", seed = 1 })
    local line = { label = e.shown(press), x = {}, y = {}, lo = {}, hi = {} }
    for j, p in ipairs(points) do
      line.x[j], line.y[j], line.lo[j], line.hi[j] = p.x, p.mean, p.lo or p.mean, p.hi or p.mean
    end
    slopes[#slopes + 1], peaks[i] = line, peak
  end
end

save(kv.plot.small_multiples {
  columns = 2, panels = { f1, hallucination, abstention, ger }, share_y = false,
  title = "What eviction costs, and what it evicts", caption = setting .. bands,
}, "safety_cliff")
save(kv.plot.small_multiples {
  columns = 3, panels = { hallucination, abstention, degenerate }, title = "How answers fail",
  caption = setting .. bands .. " A hallucination is wrong, neither an abstention nor a collapse of the format.",
}, "error_rates")
save(alone(f1, f1.title, setting .. bands), "f1")

-- GER beside its two controls, one panel a press.
local controls = {}
for i, press in ipairs(run.presses) do
  local lines = {}
  for j, of in ipairs { { "ger_model", "answer" }, { "ger_model_placebo", "placebo" },
    { "eviction_rate", "all tokens" }, { "null_model", "independent heads" } } do
    lines[j] = { rows = run:data(press, of[1], answerable), y = of[1], label = of[2] }
  end
  controls[i] = e.panel(lines, { title = e.shown(press), y_label = "GER (model)", min = 0, max = 1, indicator = false,
    reason = "no question says where its answer stands" })
end
save(kv.plot.small_multiples {
  columns = 2, panels = controls, title = "Is it the answer that is evicted?",
  caption = setting .. "Share of tokens that no head of any layer keeps: the answer's tokens; values of other facts of "
    .. "equal length (placebo); all passage tokens; and what independent heads with the same shares would give."
    .. e.unanswerable(dataset) .. " " .. bands,
}, "ger")
save(alone(#slopes == 0 and e.note("Susceptibility", peaks[1].reason) or { kind = "lines", x = x, series = slopes,
  y = { label = "d(hallucination) / d(evicted share)" }, hlines = { { y = 0 } } }, "Susceptibility",
  setting .. "Three-point slopes on the uneven grid. " .. bands), "susceptibility")

-- Which tokens of one passage are left, layer by layer.
local function heatmap()
  local record = dataset.records[1]
  local prompt = kv.prompt.render(opt.style, record, { idk_example = opt.idk_example, model = model })
  local ctx = model:prefill(prompt.context, heatmap_press.needs)
  local evidence = require "kvbench.metric.evidence"
  local index = evidence.index(record, ctx.spans, { base = prompt.passage_span[1] })
  local from, to = index.passage[1], index.passage[2]
  if opt.evictable == "context" then from, to = 0, ctx.tokens end
  local keep = heatmap_press:keep(ctx, opt.heatmap_ratio, { evictable = { from, to } })
  local counts, matrix, spans = keep:layer_counts(), {}, {}
  for l = 0, model.layers - 1 do
    matrix[l + 1] = {}
    for t = from, to - 1 do matrix[l + 1][t - from + 1] = 1 - counts[l * ctx.tokens + t] / model.kv_heads end
  end
  for i, question in ipairs(record.questions) do
    for _, mention in ipairs(question.answerable and evidence.of(index, question).mentions or {}) do
      spans[#spans + 1] = { from = mention[1] - from, to = mention[2] - from, label = "A" .. i }
    end
  end
  save(kv.plot.heatmap {
    matrix = matrix, x = { label = "token of the passage" }, y = { label = "layer" }, spans = spans, width = 6.8,
    color = { label = "share of KV heads that evicted it", min = 0, max = 1 },
    title = ("%s at %g: what is left of one passage"):format(e.shown(opt.heatmap_press),
      opt.heatmap_ratio),
    caption = ("%s (%s), record %s. A1, A2, ...: where the answers stand."):format(model.name, model.dtype, record.id),
  }, "eviction_heatmap")
end
heatmap()

-- ---- what it says ----

local rows, gates = {}, e:gate(run, dataset)
local function at(p, press, ratio)
  local s = series_of(p, press)
  return s and e.at(s, ratio)
end
for i, press in ipairs(run.presses) do
  local peak, gate = peaks[i], gates[press]
  local where = peak.is_peak and ("%.3g (slope %.2f; there in %.0f %% of resamples)"):format(peak.x, peak.value,
    100 * peak.shares[peak.index].share) or "none inside the grid (" .. tostring(peak.reason) .. ")"
  rows[i] = { press = e.shown(press), ["F1 at 0"] = at(f1, press, 0), ["at 0.5"] = at(f1, press, 0.5),
    ["at 0.9"] = at(f1, press, 0.9), ["GER at 0.9"] = at(ger, press, 0.9),
    ["placebo"] = at(placebo, press, 0.9), ["susceptibility peak"] = where,
    ["may be judged"] = gate.ok and "yes" or gate.why }
end
e:table("numbers", { "press", "F1 at 0", "at 0.5", "at 0.9", "GER at 0.9", "placebo", "susceptibility peak",
  "may be judged" }, rows, "Word F1, GER of the answer and of the placebo, and where hallucination rises fastest")

-- A cliff needs a peak inside the grid that most resamples agree on; random eviction has none to explain.
local judged, peaked = 0, {}
for i, label in ipairs(run.presses) do
  local peak = peaks[i]
  if gates[label].ok and not label:find "^random" then
    judged = judged + 1
    if peak.is_peak and peak.x >= 0.8 and peak.shares[peak.index].share >= 0.5 then
      peaked[#peaked + 1] = e.shown(label)
    end
  end
end
if judged == 0 then
  local _, why = next(gates)
  e:verdict("cannot tell", "a cliff near .9: no press passes the eligibility gate (" .. tostring(why and why.why)
    .. ")")
elseif #peaked > 0 then
  e:verdict("supported",
    ("hallucination rises fastest at a ratio of .8 or more, inside the grid, in at least half of the "
    .. "resamples: %s"):format(table.concat(peaked, ", ")))
else
  e:verdict("not supported",
    ("a cliff near .9: none of %d presses has a peak of d(hallucination)/d(ratio) at .8 or more "
    .. "that half of the resamples agree on"):format(judged))
end
print("rows: " .. opt.out .. "/rows.csv (what was run: run.json)")
e:finish()
