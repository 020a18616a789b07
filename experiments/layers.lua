-- SPDX-License-Identifier: Apache-2.0
-- Which layers cannot spare tokens, and does giving them more help?   (causal experiment 7)
--
-- (1) On calibration passages the press evicts in one layer only: KL_l = KL(full || evicted) of the gold answer under
-- teacher forcing; beside it the same with a random set (sinks kept) in that layer. (2) On the experiment's passages
-- all layers share the same bytes in five ways: uniform, pyramid (lower layers more), inverse pyramid, proportional to
-- KL_l, and proportional to KL_l shuffled over layers (control). Hypothesis: KL(shuffled) - KL(proportional) > 0, and
-- KL(uniform) - KL(proportional) > 0.
local kv = require "kvbench"
local budgets = require "kvbench.causal.budgets"
local causal = require "kvbench.causal"
local heads = require "kvbench.causal.heads"

local e = causal.experiment { name = "layers", title = "Layer sensitivity and layer budgets", options = { ratio = .9,
  treat = { .7, .8 }, calibration = 4 }, docs = { ratio = "evicted in the one layer", treat = "ratios of the budgets",
  calibration = "passages for KL_l" } }
local opt, model = e.opt, e:model()
local press, random = kv.press(opt.press), kv.press "random_sinks"

-- ---- one layer at a time ----

local function one_layer(v)
  local list = {}
  for l = 0, model.layers - 1 do
    list[#list + 1] = { name = "layer " .. l, keep = budgets.only_in(v.keep, function(x) return x == l end),
      columns = { layer = l } }
  end
  return list
end
local first = require "kvbench.dataset"(heads.calibration(e, opt.task, opt.passages, opt.calibration))
local run1 = causal.sweep(e, { make = one_layer, treat = { opt.ratio }, gate = false, dataset = first,
  presses = { press, random }, teacher = true, max_new_tokens = 1, id = "layers one 1 " .. opt.passages })

local function sensitivity(label)
  local s, weights = { x = {}, y = {}, lo = {}, hi = {} }, {}
  for l = 0, model.layers - 1 do
    local cells = {}
    for _, row in ipairs(run1.rows) do
      if row.press == label and row.layer == l and row.kl_full then
        cells[#cells + 1] = { passage_id = row.passage_id, by = { row = row } }
      end
    end
    local m = causal.mean(cells, function(cell) return cell.by.row.kl_full end)
    weights[l + 1] = m and math.max(1e-6, m.estimate) or 1e-6
    if m then
      local i = #s.x + 1
      s.x[i], s.y[i], s.lo[i], s.hi[i] = l, m.estimate, m.lo, m.hi
    end
  end
  return s, weights
end
local by_press, weights = sensitivity(press:label())
local by_random = sensitivity(random:label())
by_press.label, by_random.label, by_random.style = kv.experiment.shown(press:label()), "random set", "dashed"

-- ---- equal bytes ----

local shuffled = { unpack(weights) }
kv.rng.new("layers"):shuffle(shuffled)
local pyramid, inverse, uniform = {}, {}, {}
for l = 1, model.layers do
  local at = model.layers > 1 and (l - 1) / (model.layers - 1) or .5
  pyramid[l], inverse[l], uniform[l] = 1.95 - 1.9 * at, .05 + 1.9 * at, 1
end
local shapes = { { "uniform", uniform }, { "pyramid", pyramid }, { "inverse", inverse }, { "proportional", weights },
  { "shuffled", shuffled } }

local function shared(v)
  local n, list = v.keep.evictable[2] - v.keep.evictable[1], {}
  local total = model.layers * kv.ratios.n_kept(n, v.ratio)
  for i, shape in ipairs(shapes) do
    local b = budgets.proportional(shape[2], total, n, 1)
    list[i] = { name = shape[1], keep = budgets.keep(v.keep, b) }
  end
  return list
end
local _, cells, gate, dataset = causal.sweep(e, { make = shared, treat = opt.treat, presses = { press }, teacher = true,
  id = ("layers shared 1 %g %d"):format(opt.ratio, opt.calibration), passages = opt.passages })

local rows, kl_panels, verdicts = {}, {}, {}
for _, ratio in ipairs(opt.treat) do
  local function here(cell) return math.abs(cell.ratio - ratio) < 1e-9 end
  local levels = {}
  for i, shape in ipairs(shapes) do
    levels[i] = { label = shape[1] == "proportional" and "by KL" or shape[1],
      effect = causal.level(cells, "kl_full", shape[1], { where = here }) }
  end
  kl_panels[#kl_panels + 1] = causal.forest(levels, { title = ("%g evicted, equal bytes"):format(ratio), min = 0,
    y_label = "KL(full || evicted), nats" })
  local function contrast(label, y, a, b)
    local effect, why = causal.paired(cells, y, a, b, { where = here })
    rows[#rows + 1] = { label = ("%g: %s"):format(ratio, label), effect = effect, why = why }
    return effect, why
  end
  local control, why_control = contrast("KL, shuffled - proportional", "kl_full", "shuffled", "proportional")
  local plain, why_plain = contrast("KL, uniform - proportional", "kl_full", "uniform", "proportional")
  contrast("KL, uniform - pyramid", "kl_full", "uniform", "pyramid")
  contrast("KL, uniform - inverse", "kl_full", "uniform", "inverse")
  contrast("P(correct), proportional - uniform", causal.correct, "proportional", "uniform")
  contrast("P(correct), pyramid - uniform", causal.correct, "pyramid", "uniform")
  contrast("P(correct), inverse - uniform", causal.correct, "inverse", "uniform")
  verdicts[#verdicts + 1] = { ratio, control, why_control, plain, why_plain }
end
local setting = e:setting(dataset, "press " .. press:label())
if #by_press.x > 0 then
  e:save(kv.plot.lines { title = "One layer evicted", width = 5.2, x = { label = "layer" }, legend = "below",
    y = { label = "KL(full || evicted), nats", min = 0 }, series = { by_press, by_random },
    caption = ("%s Here %d other passages of the task, %g of each evicted in one layer only. Bands: 95 %% BCa, each "
      .. "layer by itself, passages resampled."):format(setting, #first.records, opt.ratio) }, "layer_sensitivity")
end
e:save(kv.plot.small_multiples { columns = #kl_panels, width = 6.8, panels = kl_panels, share_y = false,
  title = "Five ways to share the same bytes", caption = setting .. " " .. causal.describe(gate)
    .. " Bars: 95 % BCa, passages resampled. By KL: proportional to the KL of evicting in that layer only, on other "
    .. "passages." },
  "layer_budgets")
e:table("layers", causal.columns, causal.rows(rows), "Paired differences between layer budgets")
for _, v in ipairs(verdicts) do
  local control = ("at %g, budgets by sensitivity beat the same budgets shuffled (KL)"):format(v[1])
  causal.verdict(e, gate, control, v[2], v[3])
  causal.verdict(e, gate, ("at %g, budgets by sensitivity beat uniform ones (KL)"):format(v[1]), v[4], v[5])
end
e:finish()
