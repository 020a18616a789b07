-- SPDX-License-Identifier: Apache-2.0
-- When does answering break under eviction, and is it because the evidence is gone?   (arXiv:2603.01426, figures 21-24)
--
-- Answers to the same questions while more and more of the passage's KV cache is evicted, for several presses; beside
-- them how much of the answer's evidence is globally evicted (GER), the same for other facts (placebo) and for
-- independent heads (null). The unit of every interval is the passage.
local kv = require "kvbench"
local library = require "kvbench.ffi"

local opt = kv.args {
  model = "smollm2", task = "base", passages = 48, seed = "A",
  presses = { "ea", "adakv", "chunk", "random_sinks" }, ratios = "cliff", evictable = "passage", style = "fewshot",
  idk_example = true, heatmap_press = "adakv", heatmap_ratio = 0.9, out = "out/safety_cliff",
}

local heatmap_press = kv.press(opt.heatmap_press)
kv.ratios.round(opt.heatmap_ratio) -- a wrong name or ratio should not cost a sweep first
local model = kv.model.load(opt.model)
local dataset = kv.dataset(opt.task, { size = opt.passages, seed = opt.seed })
local run = kv.sweep {
  model = model, dataset = dataset, presses = opt.presses, ratios = opt.ratios, evictable = opt.evictable,
  style = opt.style, idk_example = opt.idk_example, seed = opt.seed, out = opt.out, label = "safety cliff",
}

-- ---- figures ----

local names = {
  ea = "EA", adakv = "AdaKV(EA)", chunk = "Chunk(EA)", random_sinks = "random", streaming_llm = "StreamingLLM",
  snapkv = "SnapKV",
}
local setting = ("%s (%s), task %s seed %s, %d passages, %d questions; %s evictable, %s prompt. "):format(model.name,
  model.dtype, opt.task, opt.seed, #dataset.records, dataset.questions, opt.evictable, opt.style)
local bands = "Bands: 95 % sup-t over the passage bootstrap (2,000 replicates)."
local x = { label = "evicted share", min = 0, max = 1 }

local function answerable(row) return row.answerable end
local function curves(y) return run:curves(y, { filter = answerable, name = names }) end
local function panel(title, y, label)
  return { kind = "lines", title = title, x = x, y = { label = label, min = 0, max = 1 }, series = curves(y) }
end

local files = {}
local function save(figure, name)
  for _, file in ipairs(figure:save(opt.out .. "/" .. name)) do
    if file:find "%.png$" then files[#files + 1] = file end
  end
end

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

local function at(series, ratio)
  for i, value in ipairs(series.x) do
    if math.abs(value - ratio) < 1e-9 then return series.y[i] end
  end
end
print ""
print(("%-14s %8s %8s %8s %8s   %s"):format("press", "F1 at 0", "at 0.5", "at 0.9", "GER .9", "susceptibility peak"))
for i, series in ipairs(f1.series) do
  local peak = peaks[i].peak
  local where = "undefined"
  if peak then
    where = peak.is_peak and ("%.3g (slope %.2f; there in %.0f %% of resamples)"):format(peak.x, peak.value,
      100 * peak.shares[peak.index].share) or "none inside the grid (" .. tostring(peak.reason) .. ")"
  end
  local function show(v) return v and ("%8.2f"):format(v) or ("%8s"):format "-" end
  print(("%-14s %s %s %s %s   %s"):format(series.label, show(at(series, 0)), show(at(series, 0.5)),
    show(at(series, 0.9)), show(at(ger.series[i], 0.9)), where))
end
print(("\n%d continuations of %d passages%s; peak memory %.2f GiB"):format(#run.rows, #dataset.records,
  run.seconds and (" in %.0f s"):format(run.seconds) or " (already there)",
  tonumber(library.C.kvb_process_peak_bytes()) / 2 ^ 30))
print("rows: " .. opt.out .. "/rows.csv (JSON: rows.jsonl; what was run: run.json)")
print "figures (each also as .pdf, .svg and the drawn numbers as .csv):"
for _, file in ipairs(files) do print("  " .. file) end
