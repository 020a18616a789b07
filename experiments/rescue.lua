-- SPDX-License-Identifier: Apache-2.0
-- Is a lost answer lost because its tokens were evicted?   (causal experiment 1)
--
-- At the press's own ratio and with every head's budget held exact, (a) the answer's tokens V are forced to stay in
-- every head. Beside it (b) a decoy: the value of another fact of the same type; (c) a random window of V's length;
-- (d) the binding tokens B alone; (e) V and B; (f) V in the k heads that look most at answers (on other passages) and
-- in k random ones. Hypothesis: P(correct | a) > P(correct | c). The copying index P(decoy is output | b) - P(decoy |
-- c) says how much of a rescue could be copying whatever survived, whatever the question.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local heads = require "kvbench.causal.heads"
local target = require "kvbench.causal.target"
local text = require "kvbench.metric.text"

local e = causal.experiment { name = "rescue", title = "Rescue by forcing the answer's tokens",
  options = { treat = { .7, .9 }, heads = 9, calibration = 6 },
  docs = { treat = "ratios at which tokens are forced", heads = "k of (f)", calibration = "other passages for w" } }
local opt, model = e.opt, e:model()

local w = heads.answer_mass(e, heads.calibration(e, opt.task, opt.passages, opt.calibration))
local top = heads.by_score(w)
local top_cells = heads.cells_of(top, opt.heads, model.kv_heads)

local function interventions(v)
  local t = target.of(v)
  if not t or not t.windows[1] then return nil end
  local list = {}
  local function force(name, tokens, more)
    local o = { partial = true }
    for key, value in pairs(more or {}) do o[key] = value end
    local keep = v.keep:force(tokens, o)
    list[#list + 1] = { name = name, keep = keep,
      columns = { decoy = t.decoy and t.decoy.value, short = keep.short,
      decoy_same_type = t.decoy and t.decoy.same_type } }
  end
  force("a answer", t.answer)
  if t.decoy then force("b decoy", t.decoy.tokens) end
  force("c window", t.windows[1])
  if #t.binding > 0 then
    force("d binding", t.binding)
    force("e answer+binding", target.join(t.answer, t.binding))
  end
  force("f top heads", t.answer, { cells = top_cells })
  local random = heads.random_order(model.layers * model.kv_heads, v.record.id .. "/" .. v.q)
  force("f random heads", t.answer, { cells = heads.cells_of(random, opt.heads, model.kv_heads) })
  return list
end

local run, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = opt.treat, presses = { opt.press },
  id = ("rescue 1 k %d w %d"):format(opt.heads, opt.calibration), passages = opt.passages })

local names = { "a answer", "b decoy", "c window", "d binding", "e answer+binding", "f top heads", "f random heads" }
local shown = { ["a answer"] = "V", ["b decoy"] = "decoy", ["c window"] = "window", ["d binding"] = "B",
  ["e answer+binding"] = "V+B", ["f top heads"] = "V, top heads", ["f random heads"] = "V, random heads" }

local function outputs_decoy(row)
  if not row.decoy then return nil end
  return text.contains(row.answer or "", row.decoy)
end

-- A window from the same cell carries the decoy's name, so both sides ask for the same text.
local function same_type(cell) return cell.by["b decoy"] and cell.by["b decoy"].decoy_same_type end

local panels, rows, effects = {}, {}, {}
for _, ratio in ipairs(opt.treat) do
  local function here(cell) return cell.ratio == ratio end
  local levels = { { label = "press", effect = causal.level(cells, causal.correct, "", { where = function(cell)
    return here(cell) and cell.by["a answer"] ~= nil
  end }) } }
  for _, name in ipairs(names) do
    levels[#levels + 1] = { label = shown[name], effect = causal.level(cells, causal.correct, name, { where = here }) }
  end
  panels[#panels + 1] = causal.forest(levels, { title = ("%g evicted"):format(ratio), y_label = "P(correct)", min = 0,
    max = 1, hlines = gate.full and { { y = gate.full, label = "full cache" } } })
  local function contrast(label, y, a, b, where)
    local effect, why = causal.paired(cells, y, a, b, { where = function(cell)
      return here(cell) and (not where or where(cell))
    end })
    effects[ratio .. label] = { effect = effect, why = why }
    rows[#rows + 1] = { label = ("%g: %s"):format(ratio, label), effect = effect, why = why }
  end
  contrast("V - window", causal.correct, "a answer", "c window")
  contrast("V - press", causal.correct, "a answer", "")
  contrast("window - press", causal.correct, "c window", "")
  contrast("decoy - window", causal.correct, "b decoy", "c window")
  contrast("B - window", causal.correct, "d binding", "c window")
  contrast("V+B - V", causal.correct, "e answer+binding", "a answer")
  contrast("top heads - random heads", causal.correct, "f top heads", "f random heads")
  contrast("copying index", outputs_decoy, "b decoy", "c window")
  contrast("copying index, same type", outputs_decoy, "b decoy", "c window", same_type)
end

local setting = e:setting(dataset, "press " .. opt.press)
e:save(kv.plot.small_multiples { columns = 1, width = 6.8, height = 1.9 * #panels, panels = panels,
  title = "What forcing tokens to stay rescues",
  caption = setting .. " Head budgets exact. " .. causal.describe(gate)
    .. " Bars: 95 % BCa, passages resampled. Control: window (a random one of V's length)." }, "rescue")
e:table("rescue", causal.columns, causal.rows(rows), "Paired differences in P(correct); copying: P(decoy is output)")
local last = opt.treat[#opt.treat]
for _, ratio in ipairs(opt.treat) do
  local a, f, c = effects[ratio .. "V - window"], effects[ratio .. "top heads - random heads"],
    effects[ratio .. "copying index"]
  causal.verdict(e, gate, ("at %g, forcing the answer rescues it (V - window)"):format(ratio), a.effect, a.why)
  causal.verdict(e, gate, ("at %g, a lone surviving value is copied (copying index)"):format(ratio), c.effect, c.why)
  if ratio == last then
    causal.verdict(e, gate, ("at %g, V in the heads that look at answers beats V in random ones"):format(ratio),
      f.effect, f.why)
  end
end
e:finish()
