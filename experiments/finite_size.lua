-- SPDX-License-Identifier: Apache-2.0
-- Is the cliff a transition? Does it become sharper as the passage grows?     (arXiv:2603.01426, "phase transition")
--
-- Hypothesis: the fall of answers over log2(kept tokens) narrows as the passage grows, in F1 and in the gold's log-
-- probability alike, as a transition does; a smooth response keeps its width. The same facts stand in passages of
-- --sizes tokens, padded with sentences that say nothing of them, and are asked for while the passage is evicted in
-- half doublings down to two tokens. The null is random eviction, which has no mechanism that could sharpen. Beside
-- the width: where the middle of the fall goes. If a fixed number of tokens decides, it stays where it is (shift 0);
-- if the evicted share decides, it grows with the passage (shift 1).
local kv = require "kvbench"
local padded = require "kvbench.experiment.padded"
local e = kv.experiment { name = "finite_size", title = "Does the cliff sharpen with size?",
  paper = "the phase transition",
  options = { task = "knowledge", sizes = { 64, 256, 1024 }, presses = { "ea", "random_sinks" }, ratios = false,
    haystack = "noise", question_type = "standard", direction = "reverse", questions = 4 },
  docs = { sizes = "tokens of the passages",
    haystack = "noise (five sentences) or prose (about other things: small models lose the facts in it)",
    question_type = "questions that are asked (all: every type)", direction = "forward, reverse or all",
    questions = "of a passage, at most" } }
local opt = e.opt
local model = e:model()

local function log2(x) return math.log(x) / math.log(2) end

-- Half doublings of what is left, from everything to two tokens.
local function ratios_of(tokens)
  local list = { 0 }
  for i = 1, math.floor(2 * (log2(tokens) - 1) + 1e-9) do list[#list + 1] = 1 - 2 ^ (-i / 2) end
  return list
end

local function asked(question)
  return question.answerable ~= false and (opt.question_type == "all" or question.question_type == opt.question_type)
    and (opt.direction == "all" or question.direction == opt.direction)
end

-- Passages of one size differ by a sentence: a ratio's answers share the mean of what it leaves.
local function share_points(rows)
  local sums = {}
  for _, row in ipairs(rows) do
    if row.log2_kept then
      local s = sums[row.ratio] or { 0, 0 }
      sums[row.ratio] = s
      s[1], s[2] = s[1] + row.log2_kept, s[2] + 1
    end
  end
  for _, row in ipairs(rows) do row.log2_point = row.log2_kept and sums[row.ratio][1] / sums[row.ratio][2] end
end

-- ---- one sweep a size ----

local source = e:dataset(opt.task, opt.passages > 0 and opt.passages or 24)
local sizes, datasets = {}, {}
for i, tokens in ipairs(opt.sizes) do
  if tokens % 1 ~= 0 or tokens < 16 then
    error(("--sizes holds %s -> whole numbers of tokens, from 16"):format(tokens), 0)
  end
  local dataset, mean = padded.dataset(source, tokens, { measure = function(text) return #model:ids(text) end,
    haystack = opt.haystack, seed = opt.seed, keep = asked, most = opt.questions })
  if not dataset then
    error(("task %s has no %s question of direction %s -> --question-type all --direction all"):format(opt.task,
      opt.question_type, opt.direction), 0)
  end
  local run = e:sweep { dataset = dataset, ratios = ratios_of(tokens), teacher = true,
    label = ("%d tokens"):format(tokens) }
  share_points(e.kept(run.rows, dataset, model))
  sizes[i], datasets[i] = { tokens = tokens, mean = mean, run = run, gates = e:gate(run, dataset) }, dataset
end

-- ---- curves ----

-- The gate is about answers: where they are at the floor, F1 has no fall to look at. Log-probability has no floor.
local measures = { { y = "f1", label = "token F1", min = 0, max = 1, gated = true },
  { y = "gold_logprob_per_token", label = "ln p(gold) a token" } }
local presses = sizes[1].run.presses

local function rows_of(size, press)
  local out = {}
  for _, row in ipairs(size.run:press_rows(press)) do
    if row.answerable and row.log2_kept then out[#out + 1] = row end
  end
  return out
end

local panels = {}
for _, m in ipairs(measures) do
  for _, press in ipairs(presses) do
    local lines = {}
    for i, size in ipairs(sizes) do
      lines[i] = { rows = rows_of(size, press), label = ("%.0f tokens"):format(size.mean) }
    end
    panels[#panels + 1] = e.panel(lines, { title = ("%s, %s"):format(e.shown(press), m.label), y = m.y,
      y_label = m.label, x = "log2_point", x_label = "log2 of passage tokens kept in a head",
      x_max = math.ceil(log2(sizes[#sizes].mean)), min = m.min, max = m.max, reason = "no answer has this measure" })
  end
end

-- ---- widths ----

local numbers, fits, gaps = {}, {}, {}
for _, press in ipairs(presses) do
  fits[press] = {}
  for _, m in ipairs(measures) do
    local groups = {}
    for i, size in ipairs(sizes) do
      local gate = size.gates[press]
      groups[i] = { size = size.mean, rows = rows_of(size, press),
        refused = m.gated and not gate.ok and not press:find "^random" and gate.why or nil }
    end
    local fit = kv.stats.finite_size(groups, { x = "log2_kept", y = m.y })
    for i, line in ipairs(fit.sizes) do
      local fall = line.high and line.high - line.low
      numbers[#numbers + 1] = { press = e.shown(press), of = m.label, tokens = sizes[i].mean, middle = line.middle,
        lo = line.lo, hi = line.hi, width = line.width, ["width lo"] = line.width_lo, ["width hi"] = line.width_hi,
        fall = fall, counts = line.reason or "yes" }
    end
    fits[press][m.y] = fit
    gaps[#gaps + 1] = { press = e.shown(press), of = m.label, sizes = fit.width_exponent and fit.width_exponent.n,
      ["width exponent"] = fit.width_exponent and fit.width_exponent.estimate,
      lo = fit.width_exponent and fit.width_exponent.lo, hi = fit.width_exponent and fit.width_exponent.hi,
      shift = fit.shift and fit.shift.estimate,
      ["shift lo"] = fit.shift and fit.shift.lo, ["shift hi"] = fit.shift and fit.shift.hi, note = fit.reason or "" }
  end
end

-- Width and middle over log2(size), sizes that count.
local function scaling(title, label, value, lo, hi)
  local series = {}
  for _, press in ipairs(presses) do
    for _, m in ipairs(measures) do
      local s = { label = ("%s, %s"):format(e.shown(press), m.y == "f1" and "F1" or "log p"), x = {}, y = {}, lo = {},
        hi = {} }
      for _, line in ipairs(fits[press][m.y].sizes) do
        if not line.reason then
          local n = #s.x + 1
          s.x[n], s.y[n], s.lo[n], s.hi[n] = log2(line.size), value(line), lo(line), hi(line)
        end
      end
      if #s.x > 0 then series[#series + 1] = s end
    end
  end
  if #series == 0 then return e.note(title, "no size has a step") end
  return { kind = "lines", title = title, x = { label = "log2 of passage tokens" }, y = { label = label },
    series = series }
end
local caption = ("%s Sizes: %s tokens, padded with %s."):format(e:setting(datasets[#datasets]),
  table.concat(opt.sizes, ", "), opt.haystack)
e:save(kv.plot.small_multiples { columns = #presses, panels = panels, share_y = false,
  title = "The same facts in longer passages",
  caption = ("%s Kept tokens: mean over heads, in half doublings. %s"):format(caption, e.bands) }, "curves")
e:save(kv.plot.small_multiples { columns = 2, share_y = false, title = "Finite-size scaling", panels = {
  scaling("Width of the fall", "log2 of width in doublings", function(s) return log2(s.width) end,
    function(s) return log2(s.width_lo) end, function(s) return log2(s.width_hi) end),
  scaling("Middle of the fall", "log2 of kept tokens", function(s) return s.middle end, function(s) return s.lo end,
    function(s) return s.hi end) },
  caption = caption .. " Width: doublings of kept tokens from 25 to 75 % of the fall, off the isotonic curve; a "
    .. "transition's shrinks with size. Null: random eviction. Bands: 95 % t intervals over the passage bootstrap, the "
    .. "same at all sizes."
  }, "scaling")
e:table("steps", { "press", "of", "tokens", "middle", "lo", "hi", "width", "width lo", "width hi", "fall", "counts" },
  numbers, "The step at each size: middle (log2 of kept tokens), width (doublings of them, 25 to 75 % of the fall)")
e:table("scaling",
  { "press", "of", "sizes", "width exponent", "lo", "hi", "shift", "shift lo", "shift hi", "note" }, gaps,
  "d log2(width) / d log2(size): below 0 it narrows; d middle / d log2(size): 0 a number of tokens, 1 a share decides")

-- ---- what it says ----

local ROOM = -.1 -- a width that shrinks by less than 7 % a doubling of the passage is no transition to speak of
for _, press in ipairs(presses) do
  if not press:find "^random" then
    local f1, logp = fits[press].f1, fits[press].gold_logprob_per_token
    local name = e.shown(press)
    local smooth = logp.width_exponent and logp.width_exponent.lo > ROOM -- it would have to show in log-probability too
    if not f1.width_exponent and smooth then
      e:verdict("not supported", ("%s: the fall narrows with the passage (F1: %s); in log-probability"):format(name,
        f1.reason), logp.width_exponent)
      e:verdict("exploratory", ("%s: shift of the middle in log-probability (0: kept tokens decide, 1: the evicted "
        .. "share)"):format(name), logp.shift)
    elseif not f1.width_exponent or not logp.width_exponent then
      e:verdict("cannot tell", ("%s: the fall narrows with the passage: %s"):format(name, f1.reason or logp.reason))
    else
      local a, b = f1.width_exponent, logp.width_exponent
      local status = a.hi < 0 and b.hi < 0 and "supported" or (a.lo > ROOM or b.lo > ROOM) and "not supported"
        or "cannot tell"
      e:verdict(status, ("%s: the fall narrows with the passage, in log-probability too (%.2f [%.2f, %.2f]); in F1")
        :format(name, b.estimate, b.lo, b.hi), a)
      e:verdict("exploratory", ("%s: shift of the middle of F1 (0: kept tokens decide, 1: the evicted share)")
        :format(name), f1.shift)
    end
  end
end
e:finish()
