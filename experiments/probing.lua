-- SPDX-License-Identifier: Apache-2.0
-- What can be read off the question's hidden states after eviction, and does it vanish before the answers do?
--                                                                          (arXiv:2603.01426, figures 25, 26, 40, 41)
-- Linear probes (Algorithm 2) on the residual stream of the rows that read the evicted cache. Two targets: the paper's,
-- the answer's tag, which a question such as "Who ..." gives away by itself; and *which value* a slot has, among ten or
-- more, asked by one question template, which only the passage knows. Every number stands beside its controls: the same
-- probe where the whole passage is evicted (question only), majority, shuffled labels, a control task. Protocols: refit
-- per ratio (is it still there?) and fit at 0 (is it still where it was?). Tags are probed on each of --tag-tasks in
-- each of --regimes (the paper's figures: base and multi_entity, agnostic and aware); the value target agnostic only.
-- Hypotheses: (1) the tag is read from the question: probe minus question-only at ratio 0 is near 0; (2) the value
-- probe is over question-only at ratio 0, and (3) at ratio .9 it is lower than at 0.
local kv = require "kvbench"
local collect = require "kvbench.probe.collect"
local items_of = require "kvbench.probe.items"
local measure = require "kvbench.probe.measure"
local e = kv.experiment { name = "probing", title = "What a linear reader finds", paper = "figures 25, 26, 40, 41",
  options = { tag_tasks = { "base", "multi_entity" }, regimes = { "agnostic", "aware" }, tag_passages = 60,
    value_task = "knowledge", relation = "occupation", values = 12,
    per_value = 32, least = 30, layer_step = 6, pool = "last", ratios = { 0, .5, .7, .9 }, presses = { "ea", "adakv" },
    passages = false, evictable = false, radar_ratios = { 0, .5, .9 }, confirm = .9 },
  docs = { tag_tasks = "whose answer tags are probed", tag_passages = "of each of them (passages of 500 words: half)",
    regimes = "of the tag target: agnostic, aware", value_task = "whose slot values are probed",
    relation = "the slot", values = "classes of the value target", per_value = "passages a value",
    pool = "rows: last, mean or answer", layer_step = "every how many layers", least = "test items a class needs" } }
local opt, model = e.opt, e:model()

local layers = {}
for l = 0, model.layers, opt.layer_step do layers[#layers + 1] = l end
if layers[#layers] ~= model.layers then layers[#layers + 1] = model.layers end

local presses = {}
for i, press in ipairs(e:presses()) do presses[i] = press:label() end
local ratios = kv.ratios.list(opt.ratios)

-- All that is measured of one target: cells by press, ratio and level at the chosen pool.
local function study(name, title, items, regime)
  local t = items_of.prepare(items, opt.least, opt.seed)
  t.name, t.title = name, title
  if t.reason then
    e:cannot(title, t.reason)
    return t
  end
  t.states = collect.run { model = model, items = t.items, presses = e:presses(), ratios = ratios, layers = layers,
    folder = opt.out .. "/states-" .. name, style = opt.style, idk_example = opt.idk_example, seed = opt.seed,
    regime = regime, label = "states, " .. name }
  t.passages = {}
  for i, item in ipairs(t.items) do t.passages[i] = item.passage end
  local ok, err = pcall(measure.run, t, { presses = presses, ratios = ratios, pool = opt.pool, seed = opt.seed,
    progress = "probes, " .. name })
  t.states:remove()
  if not ok then error(err, 0) end
  return t
end

local LONG = { multi_entity = true, multi_presence = true, long_context = true, hops = true }
local function tag_items(task)
  local n = LONG[task] and math.max(1, math.floor(opt.tag_passages / 2)) or opt.tag_passages
  return items_of.tags(kv.dataset(task, { size = n, seed = opt.seed }).records)
end

local function value_items()
  local ds = kv.dataset(opt.value_task, { seed = opt.seed })
  local items, there = items_of.values(ds.records, opt.relation, opt.values, opt.per_value)
  if there < 10 then
    e:cannot("value target", ("slot '%s' of %s has %d values, at least 10 are wanted"):format(opt.relation,
      opt.value_task, there))
  end
  return items
end

local studies = { study("values", ("%s, %s"):format(opt.relation, opt.value_task), value_items(), "agnostic") }
for _, task in ipairs(opt.tag_tasks) do
  for _, regime in ipairs(opt.regimes) do
    local t = study(("tags-%s-%s"):format(task, regime), ("answer tag, %s, %s"):format(task, regime), tag_items(task),
      regime)
    t.task, t.regime = task, regime
    studies[#studies + 1] = t
  end
end

-- ---- figures ----

local setting = ("%s (%s), seed %s, %s prompt, %s row; "):format(model.name, model.dtype, opt.seed, opt.style, opt.pool)
local folds = "grouped folds by passage and sentence template, penalty chosen by inner folds at 0. "
local function about(t)
  local dropped = {}
  for i, d in ipairs(t.dropped) do dropped[i] = ("%s (%d)"):format(d.name, d.n) end
  return setting .. ("%d items of %d passages, %d classes; "):format(#t.items, t.n_passages, #t.names) .. folds
    .. (t.plan.note and t.plan.note .. ". " or "")
    .. (#dropped > 0 and "Dropped, under " .. opt.least .. " items: " .. table.concat(dropped, ", ", 1,
      math.min(8, #dropped)) .. (#dropped > 8 and (" and %d more"):format(#dropped - 8) or "") .. ". " or "")
end

local function heatmaps(t)
  local panels = {}
  for _, press in ipairs(presses) do
    for _, protocol in ipairs { "refit", "fit at 0" } do
      local matrix, labels = {}, {}
      for i, layer in ipairs(layers) do
        matrix[i], labels[i] = {}, tostring(layer)
        for j, ratio in ipairs(ratios) do matrix[i][j] = t.cell(press, ratio, i)[protocol].over.estimate end
      end
      local columns = {}
      for j, ratio in ipairs(ratios) do columns[j] = ("%g"):format(ratio) end
      panels[#panels + 1] = { kind = "heatmap", title = ("%s, %s"):format(e.shown(press), protocol), matrix = matrix,
        x = { label = "evicted share", labels = columns }, y = { label = "layer", labels = labels, origin = "bottom" },
        color = { label = "macro-F1 over question only", map = "diverging" }, annotate = "%.2f" }
    end
  end
  e:save(kv.plot.small_multiples { columns = 2, panels = panels, title = t.title .. ": what the passage adds",
    caption = about(t) .. "Macro-F1 minus that of the same probe where the whole passage is evicted." },
    "layers_" .. t.name)
end

local function line(label, get, style)
  local s = { label = label, style = style, x = {}, y = {} }
  for i, ratio in ipairs(ratios) do
    local v = get(ratio)
    s.x[i], s.y[i] = ratio, type(v) == "table" and v.estimate or v
    if type(v) == "table" then
      s.lo, s.hi = s.lo or {}, s.hi or {}
      s.lo[i], s.hi[i] = v.lo, v.hi
    end
  end
  return s
end

local function curves(t)
  local panels = {}
  for _, press in ipairs(presses) do
    local function at(ratio) return t.cell(press, ratio, t.level) end
    panels[#panels + 1] = { kind = "lines", title = e.shown(press), x = { label = "evicted share", min = 0, max = 1 },
      y = { label = "macro-F1", min = 0, max = 1 }, series = {
        line("refit per ratio", function(r) return at(r).refit.f1 end),
        line("fit at 0", function(r) return at(r)["fit at 0"].f1 end),
        line("question only", function() return t.controls.question_only.macro_f1 end, "reference"),
        line("control task", function(r) return at(r).control end, "reference"),
        line("shuffled labels", function(r) return at(r).shuffled end, "reference"),
        line("majority", function() return t.controls.majority.macro_f1 end, "reference"),
      } }
  end
  e:save(kv.plot.small_multiples { columns = #panels, panels = panels,
    title = ("%s: probe and controls, layer %d"):format(t.title, layers[t.level]), caption = about(t)
      .. "The layer is the best of the inner folds at 0. Bands: 95 %, passage bootstrap of held-out predictions." },
    "curves_" .. t.name)
end

local function radars(t)
  if #t.names < 3 then
    e:cannot("radar of " .. t.title, ("%d classes, a radar needs 3"):format(#t.names))
    return
  end
  local panels = {}
  for _, press in ipairs(presses) do
    local series = {}
    for _, ratio in ipairs(kv.ratios.list(opt.radar_ratios)) do
      local cell = t.cell(press, ratio, t.level)
      if cell then series[#series + 1] = { label = ("evicted %g"):format(ratio), y = cell.refit.score.f1 } end
    end
    series[#series + 1] = { label = "question only", y = t.controls.question_only.f1, style = "reference" }
    panels[#panels + 1] = { kind = "radar", title = e.shown(press), categories = t.names, series = series }
  end
  e:save(kv.plot.small_multiples { columns = #panels, panels = panels, height = 2.9,
    title = ("%s: F1 by class, layer %d"):format(t.title, layers[t.level]), caption = about(t)
      .. "Refit per ratio. Question only: the whole passage evicted." }, "radar_" .. t.name)
end

local numbers = {}
for _, t in ipairs(studies) do
  if not t.reason then
    heatmaps(t)
    curves(t)
    radars(t)
    for _, press in ipairs(presses) do
      for _, ratio in ipairs(ratios) do
        local cell = t.cell(press, ratio, t.level)
        numbers[#numbers + 1] = { target = t.name, press = press, ratio = ratio, layer = layers[t.level],
          refit = cell.refit.f1.estimate, over_question = cell.refit.over.estimate, lo = cell.refit.over.lo,
          hi = cell.refit.over.hi, ["fit at 0"] = cell["fit at 0"].f1.estimate, control = cell.control,
          shuffled = cell.shuffled, question_only = t.controls.question_only.macro_f1,
          majority = t.controls.majority.macro_f1, n = #t.items }
      end
    end
  end
end
if #numbers > 0 then
  e:table("numbers", { "target", "press", "ratio", "layer", "refit", "over_question", "lo", "hi", "fit at 0",
    "question_only", "control", "shuffled", "majority", "n" }, numbers,
    "Macro-F1 of held-out items; lo, hi: 95 % of refit minus question only")
end

-- ---- what it says ----

local values, tags = studies[1], {}
for i = 2, #studies do
  local t = studies[i]
  tags[t.task .. t.regime] = t
  local what = ("the tag is read from the question (%s, %s): "):format(t.task, t.regime)
  if t.reason then
    e:verdict("cannot tell", what .. t.reason)
  else
    local over = t.cell(presses[1], 0, t.level).refit.over
    e:verdict(over.lo > .05 and "not supported" or over.hi < .1 and "supported" or "cannot tell",
      what .. "what the passage adds at ratio 0", over)
  end
end
for _, task in ipairs(opt.tag_tasks) do -- the same items in both regimes; the probes are different ones
  local a, b = tags[task .. "agnostic"], tags[task .. "aware"]
  for _, press in ipairs(a and b and not a.reason and not b.reason and presses or {}) do
    local with, without = b.cell(press, kv.ratios.round(opt.confirm), b.level),
      a.cell(press, kv.ratios.round(opt.confirm), a.level)
    if with and without then
      local d = with.refit.over.estimate - without.refit.over.estimate
      e:verdict("exploratory", ("%s, %s at %g: what the passage adds to the tag, aware minus agnostic (intervals: "
        .. "table)"):format(task, e.shown(press), opt.confirm), { estimate = d, n = #b.items })
    end
  end
end
if values.reason then
  e:verdict("cannot tell", "the value is read from the passage: " .. values.reason)
else
  local over = values.cell(presses[1], 0, values.level).refit.over
  e:verdict(over.lo > 0 and "supported" or "not supported", "the value is read from the passage: probe minus question "
    .. "only at ratio 0", over)
  for _, press in ipairs(presses) do
    local what = ("the value fades with eviction (%s): refit at %g minus at 0"):format(press, opt.confirm)
    local cell = values.cell(press, kv.ratios.round(opt.confirm), values.level)
    if not cell then e:verdict("cannot tell", what .. ": the ratio was not collected")
    elseif over.lo <= 0 then e:verdict("cannot tell", what .. ": there is nothing at ratio 0 that could fade")
    else e:verdict(cell.fall.hi < 0 and "supported" or "not supported", what, cell.fall) end
  end
end
e:finish()
