-- SPDX-License-Identifier: Apache-2.0
-- Where does a little more eviction cost most, and is that a cliff or a slope?            (arXiv:2603.01426, figure 23)
--
-- chi = d(hallucination) / d(evicted share) on the grid that goes on past .9, task by task; a maximum on the last point
-- is no peak. Then the same answers against what is left, log2 of the passage tokens kept: on an axis of ratios every
-- curve must fall near 1. Linear, one-kink and logistic fits of F1 there are compared by passages held out. Claim
-- judged: the middle of the fall is a cliff (a logistic or kink that clearly beats the line).
local kv = require "kvbench"
local e = kv.experiment { name = "susceptibility", title = "Susceptibility: cliff or slope", paper = "figure 23",
  options = { tasks = { "base", "knowledge" }, ratios = "cliff", regime = "agnostic" } }
local opt = e.opt

local function answerable(run, label)
  local out = {}
  for _, row in ipairs(run:press_rows(label)) do if row.hallucination then out[#out + 1] = row end end
  return out
end

local function count_ratios(rows)
  local seen, n = {}, 0
  for _, row in ipairs(rows) do
    if not seen[row.ratio] then seen[row.ratio], n = true, n + 1 end
  end
  return n
end

local function slope(rows, label, line)
  if count_ratios(rows) < 3 then
    line.peak = ("%d ratios: a slope needs 3"):format(count_ratios(rows))
    return nil
  end
  local points, peak = kv.stats.susceptibility(rows, { y = "hallucination", seed = 1 })
  local s = { label = label, x = {}, y = {}, lo = {}, hi = {} }
  for i, p in ipairs(points) do s.x[i], s.y[i], s.lo[i], s.hi[i] = p.x, p.mean, p.lo or p.mean, p.hi or p.mean end
  line["steepest at"], line.slope = peak.x, peak.value
  line.share = peak.shares[peak.index].share
  line.peak = peak.is_peak and "yes" or peak.reason
  return s
end

local function shape(rows, line)
  local fit = kv.stats.curve_fit(rows, { x = "log2_kept", y = "f1", replicates = 200 })
  line.shape, line.clear = fit.chosen or fit.reason, fit.chosen and (fit.clear and "yes" or "no") or nil
  if fit.chosen then line["half at log2"], line.lo, line.hi = fit.estimate, fit.lo, fit.hi end
  return fit
end

-- Rows at steps that several passages reach: of one passage there is no interval, and a curve with one such point has a
-- band over everything.
local LEAST = 5
local function shared(rows)
  local passages, seen, out = {}, {}, {}
  for _, row in ipairs(rows) do
    local key = row.log2_step .. "|" .. row.passage_id
    if not seen[key] then
      seen[key], passages[row.log2_step] = true, (passages[row.log2_step] or 0) + 1
    end
  end
  for _, row in ipairs(rows) do if passages[row.log2_step] >= LEAST then out[#out + 1] = row end end
  return out
end

local panels, left, numbers, datasets, verdicts = {}, {}, {}, {}, {}
for i, task in ipairs(opt.tasks) do
  local run, dataset = e:sweep { task = task, regime = opt.regime,
    columns = { "hallucination", "f1", "effective_ratio" } }
  datasets[i] = dataset
  e.kept(run.rows, dataset, e:model())
  local gates = e:gate(run, dataset)
  local series, lines, most = {}, {}, 0
  for _, label in ipairs(run.presses) do
    local rows, line = answerable(run, label), { task = task, press = e.shown(label) }
    local gate = gates[label]
    line["may be judged"] = gate.ok and "yes" or gate.why
    series[#series + 1] = #rows > 0 and slope(rows, e.shown(label), line) or nil
    local some = {}
    for _, row in ipairs(rows) do
      if row.log2_kept and row.f1 then some[#some + 1], most = row, math.max(most, row.log2_kept) end
    end
    local fit = #some > 0 and shape(some, line) or { reason = "no answer has an F1" }
    lines[#lines + 1] = { rows = shared(some), label = e.shown(label), y = "f1" }
    numbers[#numbers + 1] = line
    if not label:find "^random" then
      verdicts[#verdicts + 1] = { ok = gate.ok and fit.chosen, why = gate.ok and fit.reason or gate.why,
        cliff = fit.chosen and fit.chosen ~= "linear" and fit.clear, line = fit.chosen == "linear",
        what = line.press .. ", " .. task }
    end
  end
  panels[i] = #series == 0 and e.note(task, "fewer than 3 ratios have answers") or { kind = "lines", title = task,
    x = { label = "evicted share", min = 0, max = 1 }, y = { label = "d(hallucination) / d(evicted share)" },
    series = series, hlines = { { y = 0 } } }
  left[i] = e.panel(lines, { title = task, x = "log2_step", x_label = "log2 of passage tokens kept in a head",
    x_max = math.ceil(most + .5), y_label = "token F1", min = 0, max = 1,
    reason = ("no number of kept tokens is shared by %d passages"):format(LEAST) })
end
local caption = e:setting(datasets)
e:save(kv.plot.small_multiples { columns = 2, panels = panels, share_y = false, title = "Susceptibility",
  caption = caption .. " Three-point slopes on the uneven grid. " .. e.bands }, "susceptibility")
e:save(kv.plot.small_multiples { columns = 2, panels = left, title = "Answers against what is left of the passage",
  caption = caption .. (" Kept tokens are the mean over heads, in steps of half a doubling that %d passages reach. ")
    :format(LEAST) .. e.bands }, "kept")
e:table("numbers", { "task", "press", "steepest at", "slope", "share", "peak", "shape", "clear", "half at log2", "lo",
  "hi", "may be judged" }, numbers, "Where hallucination rises fastest (share: of resamples that agree), and the "
    .. "shape of F1 over log2(kept tokens) that predicts passages held out best (clear: by 2 standard errors over "
    .. "simpler ones)")

local judged, straight, cliffs, why = 0, 0, {}, nil
for _, v in ipairs(verdicts) do
  why = why or not v.ok and v.why
  judged, straight = judged + (v.ok and 1 or 0), straight + (v.ok and v.line and 1 or 0)
  if v.ok and v.cliff then cliffs[#cliffs + 1] = v.what end
end
if judged == 0 then
  e:verdict("cannot tell", "a cliff rather than a slope: " .. (why or "no press was run"))
else
  local which = #cliffs > 0 and " (" .. table.concat(cliffs, "; ") .. ")" or ""
  local status = #cliffs > 0 and "supported" or straight == judged and "not supported" or "cannot tell"
  e:verdict(status, ("F1 over log2(kept tokens) is a cliff or kink rather than "
    .. "a line: %d of %d curves%s; a line predicts best for %d"):format(#cliffs, judged, which, straight))
end
e:finish()
