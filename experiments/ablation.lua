-- SPDX-License-Identifier: Apache-2.0
-- Are the answer's tokens needed, or only some tokens of the passage?   (causal experiment 2)
--
-- Nothing is evicted but what is named: V (the answer's tokens) after the dense prefill, against windows of V's
-- lengths that receive as much attention from the question's last row (mean over all heads) and against random
-- windows; B (the binding tokens) against as many single tokens matched likewise; V in the k heads that look at
-- answers against k random heads. Hypothesis: P(correct | matched window gone) - P(correct | V gone) > 0. Windows
-- whose mass is not within a factor of two of V's count as unmatched: the contrast is also given without them.
local kv = require "kvbench"
local append = require "kvbench.causal.append"
local causal = require "kvbench.causal"
local heads = require "kvbench.causal.heads"
local target = require "kvbench.causal.target"

local e = causal.experiment { name = "ablation", title = "Ablation of the answer's tokens at the full cache",
  options = { heads = 9, calibration = 6 }, docs = { heads = "k heads", calibration = "other passages for w" } }
local opt, model = e.opt, e:model()
local w = heads.answer_mass(e, heads.calibration(e, opt.task, opt.passages, opt.calibration))
local top_cells = heads.cells_of(heads.by_score(w), opt.heads, model.kv_heads)

local function mass_of(received, from, to)
  local sum = 0
  for t = from, to - 1 do sum = sum + received[t] end
  return sum
end

-- For every mention a free window of its length whose mass is nearest; nil where the passage has no room.
local function matched_windows(v, t, received)
  local taken, list, mass = {}, {}, 0
  for _, m in ipairs(t.mentions) do
    local wanted, best, gap = mass_of(received, m[1], m[2]), nil, math.huge
    for _, window in ipairs(target.windows(v, t, m[2] - m[1])) do
      local free = true
      for x = window[1], window[2] - 1 do free = free and not taken[x] end
      local d = math.abs(math.log((mass_of(received, window[1], window[2]) + 1e-9) / (wanted + 1e-9)))
      if free and d < gap then best, gap = window, d end
    end
    if not best then return nil end
    for x = best[1], best[2] - 1 do
      taken[x] = true
      list[#list + 1] = x
    end
    mass = mass + mass_of(received, best[1], best[2])
  end
  return list, mass
end

local function matched_tokens(v, t, received)
  local taken, list = {}, {}
  for _, b in ipairs(t.binding) do
    local best, gap = nil, math.huge
    for _, window in ipairs(target.windows(v, t, 1)) do
      local x = window[1]
      local d = math.abs(received[x] - received[b])
      if not taken[x] and d < gap then best, gap = x, d end
    end
    if not best then return nil end
    taken[best] = true
    list[#list + 1] = best
  end
  return list
end

local function interventions(v)
  local t = target.of(v)
  if not t then return nil end
  local received = append.received(v.ctx, model:ids(v.unit.prompt.suffix(v.question)))
  local window, window_mass = matched_windows(v, t, received)
  local mass, list = 0, {}
  for _, x in ipairs(t.answer) do mass = mass + received[x] end
  local function drop(name, tokens, cells)
    if not tokens or #tokens == 0 then return end
    list[#list + 1] = { name = name, keep = v.keep:drop(tokens, { budget = false, cells = cells }),
      columns = { mass_answer = mass, mass_window = window_mass } }
  end
  drop("V", t.answer)
  drop("matched window", window)
  drop("random window", t.windows[1])
  drop("B", t.binding)
  drop("matched to B", matched_tokens(v, t, received))
  drop("V, top heads", t.answer, top_cells)
  local random = heads.random_order(model.layers * model.kv_heads, v.record.id .. "/" .. v.q)
  drop("V, random heads", t.answer, heads.cells_of(random, opt.heads, model.kv_heads))
  return list
end

local run, _, gate, dataset = causal.sweep(e, { make = interventions, treat = { 0 }, presses = { opt.press },
  id = ("ablation 1 k %d w %d"):format(opt.heads, opt.calibration), passages = opt.passages })
local cells = causal.full_cells(run.rows)

local order = { "", "V", "matched window", "random window", "B", "matched to B", "V, top heads", "V, random heads" }
local levels = {}
for _, name in ipairs(order) do
  local effect = causal.level(cells, causal.correct, name, { where = function(cell) return cell.by["V"] ~= nil end })
  levels[#levels + 1] = { label = name == "" and "full cache" or name, effect = effect }
end

local function matched(cell)
  local row = cell.by["V"]
  local ratio = row and row.mass_window and row.mass_window / math.max(1e-12, row.mass_answer)
  return ratio and ratio >= .5 and ratio <= 2
end
local function right_before(cell) return cell.by[""] and causal.correct(cell.by[""]) end

local rows, main, main_why = {}, nil, nil
local function contrast(label, a, b, where)
  local effect, why = causal.paired(cells, causal.correct, a, b, { where = where })
  rows[#rows + 1] = { label = label, effect = effect, why = why }
  return effect, why
end
main, main_why = contrast("matched window - V", "matched window", "V")
local strict, strict_why = contrast("matched window - V, mass within x2", "matched window", "V", matched)
contrast("matched window - V, right at full", "matched window", "V", right_before)
contrast("random window - V", "random window", "V")
contrast("full - matched window", "", "matched window")
contrast("matched to B - B", "matched to B", "B")
contrast("V, random heads - V, top heads", "V, random heads", "V, top heads")
local share = causal.mean(cells, function(cell)
  return cell.by["V"] and cell.by["V"].mass_window and (matched(cell) and 1 or 0)
end)
rows[#rows + 1] = { label = "share of questions with a window within x2", effect = share }

e:save(kv.plot.small_multiples { columns = 1, width = 6.8, title = "What the full cache cannot do without",
  panels = { causal.forest(levels, { title = "evicted, of the full cache", y_label = "P(correct)", min = 0,
    max = 1 }) },
  caption = e:setting(dataset) .. " Only the named tokens are evicted. " .. causal.describe(gate)
    .. " Bars: 95 % BCa, passages resampled." }, "ablation")
e:table("ablation", causal.columns, causal.rows(rows), "Paired differences in P(correct)")
causal.verdict(e, gate, "the answer's tokens are needed (matched window gone - V gone)", main, main_why)
causal.verdict(e, gate, "the same where the window's attention is within a factor of two", strict, strict_why)
e:finish()
