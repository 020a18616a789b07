-- SPDX-License-Identifier: Apache-2.0
-- Can an uncertain model fetch what was evicted, without training?   (causal experiment 11)
--
-- The question is read under eviction; its last row is asked where it would look were everything there, and the k
-- tokens of most attention among those that most heads evicted come back in every head, with budgets exact: attention
-- averaged over all heads, or over the heads that look at answers (on other passages). Control: k random ones of the
-- evicted. Upper bound: the answer's tokens. Low margin = the smallest logit margin of the plain evicted answer is
-- under the median. Hypothesis: at low margin P(correct | re-fetched) - P(correct | random) > 0.
local kv = require "kvbench"
local append = require "kvbench.causal.append"
local causal = require "kvbench.causal"
local heads = require "kvbench.causal.heads"
local target = require "kvbench.causal.target"

local e = causal.experiment { name = "recovery", title = "Re-fetching evicted tokens by the question's attention",
  options = { treat = { .7, .9 }, k = 8, heads = 9, calibration = 6 }, docs = { treat = "ratios",
  k = "tokens that come back", heads = "cells that look at answers", calibration = "other passages for them" } }
local opt, model = e.opt, e:model()
local w = heads.answer_mass(e, heads.calibration(e, opt.task, opt.passages, opt.calibration))
local top_cells = heads.cells_of(heads.by_score(w), opt.heads, model.kv_heads)

local function evicted_mostly(keep)
  local counts, list = keep:layer_counts(), {}
  for t = keep.evictable[1], keep.evictable[2] - 1 do
    local kept = 0
    for l = 0, keep.layers - 1 do kept = kept + counts[l * keep.tokens + t] end
    if 2 * kept < keep.layers * keep.kv_heads then list[#list + 1] = t end
  end
  return list
end

local function interventions(v)
  local t = target.of(v)
  if not t then return nil end
  local gone = evicted_mostly(v.keep)
  local k = math.min(opt.k, #gone)
  if k == 0 then return nil end
  local answer, random = {}, { unpack(gone) }
  for _, x in ipairs(t.answer) do answer[x] = true end
  t.r:shuffle(random)
  local function force(name, tokens)
    local hits = 0
    for _, x in ipairs(tokens) do if answer[x] then hits = hits + 1 end end
    return { name = name, keep = v.keep:force(tokens, { partial = true }), columns = { hits = hits / #t.answer } }
  end
  local function best(cells)
    local received = append.received(v.ctx, model:ids(v.unit.prompt.suffix(v.question)), cells, v.keep)
    local list = { unpack(gone) }
    table.sort(list, function(a, b)
      if received[a] ~= received[b] then return received[a] > received[b] end
      return a < b
    end)
    return { unpack(list, 1, k) }
  end
  return { force("re-fetched", best()), force("re-fetched, top heads", best(top_cells)),
    force("random", { unpack(random, 1, k) }), force("answer", t.answer) }
end

local _, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = opt.treat, presses = { opt.press },
  id = ("recovery 2 k %d heads %d w %d"):format(opt.k, opt.heads, opt.calibration), passages = opt.passages })

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

local names = { { "", "press" }, { "random", "random" }, { "re-fetched", "all" },
  { "re-fetched, top heads", "top" }, { "answer", "V" } }
local rows, panels, verdicts = {}, {}, {}
for _, ratio in ipairs(opt.treat) do
  local margins = {}
  local function here(cell) return math.abs(cell.ratio - ratio) < 1e-9 and cell.by["re-fetched"] ~= nil end
  for _, cell in ipairs(cells) do
    if here(cell) and cell.by[""].margin then margins[#margins + 1] = cell.by[""].margin end
  end
  local middle = median(margins)
  local parts = {
    { "low margin", function(cell) return here(cell) and middle and cell.by[""].margin <= middle end },
    { "high margin", function(cell) return here(cell) and middle and cell.by[""].margin > middle end } }
  for i, part in ipairs(parts) do
    local levels = {}
    for _, name in ipairs(names) do
      local effect = causal.level(cells, causal.correct, name[1], { where = part[2] })
      levels[#levels + 1] = { label = name[2], effect = effect }
    end
    panels[#panels + 1] = causal.forest(levels, { title = ("%g evicted, %s"):format(ratio, part[1]), min = 0, max = 1,
      y_label = "P(correct)" })
    local function contrast(label, a, b)
      local effect, why = causal.paired(cells, causal.correct, a, b, { where = part[2] })
      rows[#rows + 1] = { label = ("%g, %s: %s"):format(ratio, part[1], label), effect = effect, why = why }
      return effect, why
    end
    local main, why = contrast("re-fetched - random", "re-fetched", "random")
    contrast("re-fetched - press", "re-fetched", "")
    local top, why_top = contrast("re-fetched by top heads - random", "re-fetched, top heads", "random")
    contrast("answer - re-fetched by top heads", "answer", "re-fetched, top heads")
    if i == 1 then verdicts[#verdicts + 1] = { ratio, main, why, top, why_top } end
  end
  for _, name in ipairs { "re-fetched", "re-fetched, top heads", "random" } do
    rows[#rows + 1] = { label = ("%g: share of the answer among the k %s"):format(ratio, name),
      effect = causal.level(cells, "hits", name, { where = here }) }
  end
end
e:save(kv.plot.small_multiples { columns = 2, width = 6.8, panels = panels,
  title = "Bringing evicted tokens back",
  caption = ("%s k = %d tokens come back, at random or by the question's attention in all or in top heads; V: the "
    .. "answer. %s Bars: 95 %% BCa, passages resampled."):format(e:setting(dataset, "press " .. opt.press), opt.k,
    causal.describe(gate)) }, "recovery")
e:table("recovery", causal.columns, causal.rows(rows), "Paired differences in P(correct)")
for _, v in ipairs(verdicts) do
  local all = ("at %g and low margin, re-fetching by attention beats random tokens"):format(v[1])
  causal.verdict(e, gate, all, v[2], v[3])
  local top = ("at %g and low margin, re-fetching by the attention of heads that look at answers does"):format(v[1])
  causal.verdict(e, gate, top, v[4], v[5])
end
e:finish()
