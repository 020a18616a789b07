-- SPDX-License-Identifier: Apache-2.0
-- Which kind of heads must keep the passage?   (causal experiment 9)
--
-- (Layer, KV head) cells are scored on other passages: retrieval (attention of the rows that write the answer to the
-- answer's tokens), induction (on random tokens repeated: attention to what followed last time), sink (mass on the
-- first token) and local (mass on the last tokens), and the m best of each form a class; a cell may be in two. The
-- passage is evicted in the cells of one class and kept in all others; control: as many random cells of the same
-- layers. Hypothesis: evicting the passage in retrieval heads costs more than in the random ones, P(random) -
-- P(retrieval) > 0.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local heads = require "kvbench.causal.heads"

local e = causal.experiment { name = "heads", title = "Head classes", options = { m = 12, calibration = 8 },
  docs = { m = "cells of a class", calibration = "other passages for the scores" } }
local opt, model = e.opt, e:model()
local n_cells = model.layers * model.kv_heads
local m = math.min(opt.m, math.floor(n_cells / 2))
local other = heads.calibration(e, opt.task, opt.passages, opt.calibration)
local scores = { retrieval = heads.answer_mass(e, other), induction = heads.induction(e, 24, 2) }
scores.sink, scores["local"] = heads.sink_and_local(e, other, 16)
local classes, first = { "retrieval", "induction", "sink", "local" }, {}
for _, class in ipairs(classes) do first[class] = { unpack(heads.by_score(scores[class]), 1, m) } end

local function interventions(v)
  local list = {}
  local function drop(name, cells)
    list[#list + 1] = { name = name, keep = v.keep:drop({ v.index.passage }, { budget = false,
      cells = heads.cells_of(cells, #cells, model.kv_heads) }) }
  end
  for _, class in ipairs(classes) do
    drop(class, first[class])
    drop("random for " .. class, heads.matched(first[class], model.kv_heads, model.layers, class .. v.record.id .. v.q))
  end
  return list
end

local run, _, gate, dataset = causal.sweep(e, { make = interventions, treat = { 0 }, presses = { opt.press },
  teacher = true, id = ("heads 1 m %d w %d"):format(m, opt.calibration), passages = opt.passages })
local cells = causal.full_cells(run.rows)
local function asked(cell) return cell.by["retrieval"] ~= nil end

local full = causal.level(cells, causal.correct, "", { where = asked })
local levels, rows, found = { { label = "full cache", effect = full } }, {}, {}
for _, class in ipairs(classes) do
  local control = "random for " .. class
  levels[#levels + 1] = { label = class, effect = causal.level(cells, causal.correct, class) }
  levels[#levels + 1] = { label = "random", effect = causal.level(cells, causal.correct, control) }
  local effect, why = causal.paired(cells, causal.correct, control, class)
  rows[#rows + 1] = { label = "P(correct), random - " .. class, effect = effect, why = why }
  found[class] = { effect, why }
  local kl, why_kl = causal.paired(cells, "kl_full", class, control)
  rows[#rows + 1] = { label = "KL, " .. class .. " - random", effect = kl, why = why_kl }
end
for i = 1, #classes do
  for j = i + 1, #classes do
    local set, n = {}, 0
    for _, c in ipairs(first[classes[i]]) do set[c] = true end
    for _, c in ipairs(first[classes[j]]) do if set[c] then n = n + 1 end end
    rows[#rows + 1] = { label = ("cells in %s and %s: %d of %d"):format(classes[i], classes[j], n, m) }
  end
end

local maps = {}
for _, class in ipairs(classes) do
  local matrix, name = {}, class
  for l = 0, model.layers - 1 do
    matrix[l + 1] = {}
    for h = 0, model.kv_heads - 1 do matrix[l + 1][h + 1] = scores[class][l * model.kv_heads + h] end
  end
  maps[#maps + 1] = { kind = "heatmap", title = name, matrix = matrix, x = { label = "KV head" },
    y = { label = "layer" }, color = { label = "mean attention", min = 0 } }
end
local setting = e:setting(dataset)
e:save(kv.plot.small_multiples { columns = 4, width = 6.8, height = 3.4, panels = maps, share_color = false,
  title = "What heads look at", caption = ("%s Scores from %d other passages; induction from random tokens."):format(
  setting, #other) }, "head_scores")
e:save(kv.plot.small_multiples { columns = 1, width = 6.8, title = "Without the passage in some heads",
  panels = { causal.forest(levels, { title = ("passage evicted in %d of %d cells"):format(m, n_cells), min = 0, max = 1,
    y_label = "P(correct)" }) }, caption = setting .. " Random: as many cells of the same layers. "
    .. causal.describe(gate) .. " Bars: 95 % BCa, passages resampled." }, "heads")
e:table("heads", causal.columns, causal.rows(rows), "Paired differences, and how far classes overlap")
for _, class in ipairs(classes) do
  causal.verdict(e, gate, ("%s heads need the passage more than others of their layers"):format(class), found[class][1],
    found[class][2])
end
e:finish()
