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

local names = e.names
local setting = e:setting(dataset) .. " "
local bands = e.bands
local x = { label = "evicted share", min = 0, max = 1 }

local function answerable(row) return row.answerable end
local function curves(y) return run:curves(y, { filter = answerable, name = names }) end
local function panel(title, y, label)
  return { kind = "lines", title = title, x = x, y = { label = label, min = 0, max = 1 }, series = curves(y) }
end

local function save(figure, name) e:save(figure, name) end

local f1 = panel("Answer quality", "word_f1", "word F1")
local hallucination = panel("Hallucination", "hallucination", "share of questions")
local abstention = panel("Abstention", "abstention", "share of questions")
local degenerate = panel("Format collapse", "degenerate", "share of questions")
local ger = panel("Answer tokens evicted in every head", "ger_model", "GER (model)")
local placebo = panel("Placebo: other facts' values", "ger_model_placebo", "GER (model)")
placebo.y, placebo.series = ger.y, curves "ger_model_placebo"

-- Susceptibility: the slope of the hallucination rate. A maximum at the end of the grid is no peak.
local slopes, peaks = {}, {}
for _, label in ipairs(run.presses) do
  local rows = {}
  for _, row in ipairs(run:press_rows(label)) do
    if row.answerable then rows[#rows + 1] = row end
  end
  local points, peak = kv.stats.susceptibility(rows, { y = "hallucination", seed = 1 })
  local series = { label = names[label] or label, x = {}, y = {}, lo = {}, hi = {} }
  for i, p in ipairs(points) do
    series.x[i], series.y[i], series.lo[i], series.hi[i] = p.x, p.mean, p.lo or p.mean, p.hi or p.mean
  end
  slopes[#slopes + 1] = series
  peaks[#peaks + 1] = { press = names[label] or label, peak = peak }
end

save(kv.plot.small_multiples {
  columns = 2, panels = { f1, hallucination, abstention, ger }, share_y = false,
  title = "What eviction costs, and what it evicts", caption = setting .. bands,
}, "safety_cliff")
save(kv.plot.small_multiples {
  columns = 3, panels = { hallucination, abstention, degenerate }, title = "How answers fail",
  caption = setting .. bands .. " A hallucination is wrong, neither an abstention nor a collapse of the format.",
}, "error_rates")
save(kv.plot.lines {
  title = f1.title, x = x, y = f1.y, series = f1.series, caption = setting .. bands,
}, "f1")

-- GER beside its two controls, one panel a press.
local controls = {}
for _, label in ipairs(run.presses) do
  local function one(column, shown)
    return run:curves(column, { presses = { label }, filter = answerable, name = { [label] = shown } })[1]
  end
  controls[#controls + 1] = {
    kind = "lines", title = names[label] or label, x = x, y = { label = "GER (model)", min = 0, max = 1 },
    series = {
      one("ger_model", "answer"), one("ger_model_placebo", "placebo"), one("eviction_rate", "all tokens"),
      one("null_model", "independent heads"),
    },
  }
end
save(kv.plot.small_multiples {
  columns = 2, panels = controls, title = "Is it the answer that is evicted?",
  caption = setting .. "Share of tokens that no head of any layer keeps: the answer's tokens; values of other facts of "
    .. "equal length (placebo); all passage tokens; and what independent heads with the same shares would give. "
    .. bands,
}, "ger")
save(kv.plot.lines {
  title = "Susceptibility", x = x, y = { label = "d(hallucination) / d(evicted share)" }, series = slopes,
  hlines = { { y = 0 } },
  caption = setting .. "Three-point slopes on the uneven grid. " .. bands,
}, "susceptibility")

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
    title = ("%s at %g: what is left of one passage"):format(names[opt.heatmap_press] or opt.heatmap_press,
      opt.heatmap_ratio),
    caption = ("%s (%s), record %s. A1, A2, ...: where the answers stand."):format(model.name, model.dtype, record.id),
  }, "eviction_heatmap")
end
heatmap()

-- ---- what it says ----

local rows, gates = {}, e:gate(run, dataset)
for i, series in ipairs(f1.series) do
  local peak, gate = peaks[i].peak, gates[run.presses[i]]
  local where = peak and (peak.is_peak and ("%.3g (slope %.2f; there in %.0f %% of resamples)"):format(peak.x,
    peak.value,
    100 * peak.shares[peak.index].share) or "none inside the grid (" .. tostring(peak.reason) .. ")") or "undefined"
  rows[i] = { press = series.label, ["F1 at 0"] = e.at(series, 0), ["at 0.5"] = e.at(series, 0.5),
    ["at 0.9"] = e.at(series, 0.9), ["GER at 0.9"] = e.at(ger.series[i], 0.9),
    ["placebo"] = e.at(placebo.series[i], 0.9), ["susceptibility peak"] = where,
    ["may be judged"] = gate.ok and "yes" or gate.why }
end
e:table("numbers", { "press", "F1 at 0", "at 0.5", "at 0.9", "GER at 0.9", "placebo", "susceptibility peak",
  "may be judged" }, rows, "Word F1, GER of the answer and of the placebo, and where hallucination rises fastest")

-- A cliff needs a peak inside the grid that most resamples agree on; random eviction has none to explain.
local judged, peaked = 0, {}
for i, label in ipairs(run.presses) do
  local peak = peaks[i].peak
  if gates[label].ok and not label:find "^random" then
    judged = judged + 1
    if peak and peak.is_peak and peak.x >= 0.8 and peak.shares[peak.index].share >= 0.5 then
      peaked[#peaked + 1] = peaks[i].press
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
