-- SPDX-License-Identifier: Apache-2.0
-- What causal experiments share: a sweep with interventions beside its plain conditions, the gate that says whether a
-- claim can be tested at all, and verdicts. Built on kv.experiment; see docs/causal.md.
--
--   local run, cells, gate = causal.sweep(e, { make = function(v) ... end, id = "rescue", treat = { .7 } })
--   local effect, why = causal.paired(cells, causal.correct, "answer forced", "window forced")
--   causal.verdict(e, gate, "forcing the answer rescues it", effect, why)
local contrast = require "kvbench.causal.contrast"
local keepset = require "kvbench.keep"
local experiment = require "kvbench.experiment"
local panels = require "kvbench.experiment.panels"
local variants = require "kvbench.sweep.variants"

local M = { cells = contrast.cells, full_cells = contrast.full_cells, paired = contrast.paired, mean = contrast.mean,
  level = contrast.level }

--- The outcome of most experiments: is the answer's class "correct"? nil for unanswerable questions.
function M.correct(row)
  if not row.answerable then return nil end
  return row.class == "correct"
end

--- Passages under which no verdict is given: a bootstrap over fewer is too sure of itself.
M.least_passages = 8

--- The smallest difference in accuracy that counts: an effect whose interval stays under it is "not supported".
M.margin = 0.03

-- Why nothing can be said about an effect, or nil.
local function doubt(gate, effect)
  if gate and not gate.ok then return gate.reason end
  if (effect.clusters or math.huge) < M.least_passages then
    return ("floor: %d passages, %d are wanted"):format(effect.clusters, M.least_passages)
  end
end

-- The ratios at which the gate looks for the cliff.
local GRID = { 0, .1, .3, .5, .6, .7, .8, .9 }

--- Everything from the passage on evicted: what the model answers from the prompt and the question alone.
local function closed_book(v)
  local keep = keepset.all(v.ctx.layers, v.ctx.kv_heads, v.ctx.tokens)
  return { name = "closed book", keep = keep:set(nil, nil, v.index.passage[1], v.ctx.tokens, false) }
end

local function contains(list, x)
  for _, value in ipairs(list) do if math.abs(value - x) < 1e-9 then return true end end
  return false
end

--- The gate of a task and press: a sweep of its own over --gate passages, which all causal scripts share through the
--- folder of sweeps. The gate is about model, task and press, so it may rest on more passages than an experiment.
function M.gate_of(e, press, task)
  local closed = variants.of { id = "gate", make = function(v) return v.ratio == 0 and { closed_book(v) } or nil end }
  local run = e:sweep { task = task or e.opt.task, passages = math.max(2, e.opt.gate), presses = { press },
    ratios = GRID, variants = closed, name = "gate", label = "gate" }
  return M.gate(run, contrast.cells(run.rows)), run
end

--- A sweep with interventions. o: make(v) -> list of variants (or nil), called where v.ratio is one of `treat` (0 too,
--- if listed) for answerable questions; id (with its parameters); task, presses, passages, needs, and what else e:sweep
--- takes; gate = false: none is wanted. Returns run, cells (contrast.cells), gate (of the first press), dataset.
function M.sweep(e, o)
  local grid = { unpack(o.treat) }
  if not contains(grid, 0) then grid[#grid + 1] = 0 end
  table.sort(grid)
  local gate = o.gate ~= false and M.gate_of(e, o.presses[1], o.task) or nil
  local made = variants.of { id = ("%s %s"):format(o.id, table.concat(o.treat, " ")), needs = o.needs,
    make = function(v)
      return contains(o.treat, v.ratio) and v.question.answerable ~= false and o.make(v) or nil
    end }
  local settings = { ratios = grid, variants = made, name = made.id }
  for name, value in pairs(o) do
    if not ({ make = 1, id = 1, treat = 1, needs = 1, gate = 1 })[name] then settings[name] = value end
  end
  settings.task = settings.task or e.opt.task
  local run, dataset = e:sweep(settings)
  return run, contrast.cells(run.rows), gate, dataset
end

--- May a claim be tested here? Full-cache minus closed-book accuracy must have a lower bound over .3, and three ratios
--- of the press (default: the run's first) must lie between 10 and 90 % of that range. Returns {ok, reason, full,
--- closed, inside = {ratios}}.
function M.gate(run, cells, press)
  press = press or run.presses[1]
  local range, why = contrast.paired(contrast.full_cells(run.rows), M.correct, "", "closed book")
  if not range then return { ok = false, reason = "floor: " .. why } end
  local gate = { full = range.a, closed = range.b, range = range, inside = {} }
  if range.lo <= .3 then
    gate.reason = ("floor: full-cache minus closed-book accuracy is %.2f [%.2f, %.2f], not surely over .3"):format(
      range.estimate, range.lo, range.hi)
    return gate
  end
  local at = {}
  for _, cell in ipairs(cells) do
    local row = cell.press == press and cell.by[""]
    local y = row and M.correct(row)
    if y ~= nil and row then
      at[cell.ratio] = at[cell.ratio] or { 0, 0 }
      at[cell.ratio][1], at[cell.ratio][2] = at[cell.ratio][1] + (y and 1 or 0), at[cell.ratio][2] + 1
    end
  end
  for ratio, count in pairs(at) do
    local share = (count[1] / count[2] - range.b) / range.estimate
    if share > .1 and share < .9 then gate.inside[#gate.inside + 1] = ratio end
  end
  table.sort(gate.inside)
  gate.ok = #gate.inside >= 3
  if not gate.ok then
    local text = "floor: %d ratios of %s lie between 10 and 90 %% of the range [%.2f, %.2f], three are wanted"
    gate.reason = text:format(#gate.inside, press, range.b, range.a)
  end
  return gate
end

--- Gate in one line, for captions.
function M.describe(gate)
  if not gate.full then return gate.reason .. "." end
  return ("Full cache %.2f, closed book %.2f%s."):format(gate.full, gate.closed, gate.ok and "" or "; " .. gate.reason)
end

-- Few gains and no loss: no resample reaches 0, and the interval excludes it whatever their number. Sign flips do not.
local function excludes_zero(effect, lo) return lo > 0 and not (effect.p and effect.p > .05) end

--- Judges a claim "effect > 0" (opt.direction = -1: < 0): supported when the interval lies on the claimed side and sign
--- flips, where there are any, agree (p <= .05); not supported when the interval excludes effects of opt.margin
--- (M.margin) on that side, else cannot tell. A gate that is not ok and a missing effect give "cannot tell" with the
--- reason. Returns the status.
function M.verdict(e, gate, claim, effect, why, opt)
  local margin, sign = opt and opt.margin or M.margin, opt and opt.direction or 1
  local status, text = "cannot tell", claim
  if not effect then
    text = ("%s: %s"):format(claim, why or "no data")
  elseif doubt(gate, effect) then
    text = ("%s: %s; as it is"):format(claim, doubt(gate, effect))
  else
    local lo, hi = effect.lo, effect.hi
    if sign < 0 then lo, hi = -hi, -lo end
    if excludes_zero(effect, lo) then status = "supported" elseif hi < margin then status = "not supported" end
  end
  e:verdict(status, text, effect)
  return status
end

--- Judges a two-sided claim "there is a difference": supported as above on either side, not supported when it lies
--- within opt.margin (M.margin) of 0 (equivalence; the interval is 95 %, so this is stricter than TOST at 5 %), else
--- cannot tell.
function M.two_sided(e, gate, claim, effect, why, opt)
  local margin = opt and opt.margin or M.margin
  if not effect or doubt(gate, effect) or effect.lo <= 0 and effect.hi >= 0 then
    if effect and not doubt(gate, effect) and effect.lo > -margin and effect.hi < margin then
      e:verdict("not supported", claim, effect)
      return "not supported"
    end
    return M.verdict(e, gate or { ok = true }, claim, effect, why, { margin = -math.huge })
  end
  local status = excludes_zero(effect, math.max(effect.lo, -effect.hi)) and "supported" or "cannot tell"
  e:verdict(status, claim, effect)
  return status
end

--- A panel of conditions side by side: points with intervals. list: {{label =, effect = {estimate, lo, hi} or nil},
--- ...}; o: title, y_label, min, max, hlines. Conditions without data are left out; a panel without any says why.
function M.forest(list, o)
  local labels, ticks, s = {}, {}, { label = o.series or "", style = "points", x = {}, y = {}, lo = {}, hi = {} }
  for _, item in ipairs(list) do
    if item.effect then
      local i = #s.x + 1
      s.x[i], s.y[i], s.lo[i], s.hi[i] = i, item.effect.estimate, item.effect.lo, item.effect.hi
      ticks[i], labels[i] = i, item.label
    end
  end
  if #s.x == 0 then return panels.note(o.title, o.reason or "no question has these conditions") end
  local series = {}
  for i = 1, #s.x do -- one each: neighbours are not joined by a band
    series[i] = { label = "", style = "points", color = 1, marker = "circle", x = { s.x[i] }, y = { s.y[i] },
      lo = { s.lo[i] }, hi = { s.hi[i] } }
  end
  return { kind = "lines", title = o.title, x = { ticks = ticks, labels = labels, min = .5, max = #s.x + .5 },
    y = { label = o.y_label, min = o.min, max = o.max }, series = series, hlines = o.hlines }
end

--- Effects as rows of a table: {condition =, estimate =, lo =, hi =, p =, n =, passages =, why =}.
function M.rows(list)
  local rows = {}
  for i, item in ipairs(list) do
    local f = item.effect
    rows[i] = { condition = item.label, estimate = f and f.estimate, lo = f and f.lo, hi = f and f.hi, p = f and f.p,
      n = f and f.n, passages = f and f.clusters, note = item.why }
  end
  return rows
end

M.columns = { "condition", "estimate", "lo", "hi", "p", "n", "passages", "note" }

--- A kv.experiment with the options causal experiments share: task, press, passages, gate.
function M.experiment(spec)
  local options = { task = "base", passages = 40, press = "ea", gate = 60, presses = false, ratios = false }
  for name, value in pairs(spec.options or {}) do options[name] = value end
  spec.options = options
  spec.docs = spec.docs or {}
  spec.docs.task, spec.docs.press = spec.docs.task or "task of the dataset", spec.docs.press or "press that evicts"
  spec.docs.gate = "passages on which it is judged whether a claim can be tested"
  return experiment(spec)
end

return M
