-- SPDX-License-Identifier: Apache-2.0
-- From which layer on do the rows that answer know the answer, and what does eviction take away? (causal experiment 10)
--
-- Logit lens: the final norm and the LM head on what enters each layer, at the rows that predict the gold answer's
-- tokens (fed one by one), with the full cache and under the press at several ratios: mean ln p of the gold's tokens.
-- Control: the same for another fact's value of the passage (decoy), to see whether the loss is the answer's own.
-- Hypothesis: the loss arises in the upper half of the network, (full - evicted) of the upper levels minus that of the
-- lower ones > 0.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local target = require "kvbench.causal.target"
local teacher = require "kvbench.teacher"

local e = causal.experiment { name = "lens", title = "Logit lens under eviction",
  options = { treat = { .5, .7, .9 }, passages = 24 }, docs = { treat = "ratios" } }
local opt, model = e.opt, e:model()
local press = kv.press(opt.press)
local gate, dataset = causal.gate_of(e, press), e:dataset(opt.task)

-- Mean ln p of an answer's tokens at every level, from 0.
local function lens(ctx, ids, keep, answer)
  local request, rows, repeated, out = teacher.request(ids, answer), {}, {}, {}
  for j = 1, #answer do rows[j] = #ids - 2 + j end
  local hidden = ctx:hidden_of(request.ids, { keep = keep, rows = rows })
  local logits = model:lens(hidden:view((model.layers + 1) * #answer, model.hidden))
  for l = 0, model.layers do
    for j = 1, #answer do repeated[l * #answer + j] = answer[j] end
  end
  local score = teacher.score(logits, repeated)
  for l = 0, model.layers do
    out[l] = 0
    for j = 1, #answer do out[l] = out[l] + score.logprob[l * #answer + j] / #answer end
  end
  logits:close()
  return out
end

local function both(ctx, ids, keep, gold, decoy)
  return { gold = lens(ctx, ids, keep, gold), decoy = lens(ctx, ids, keep, decoy) }
end

local cells = {}
for _, record in ipairs(dataset.records) do
  local p = kv.prompt.render(opt.style, record, { regime = "agnostic", idk_example = opt.idk_example, model = model })
  local ctx = model:prefill(p.context, press.needs)
  local index = require("kvbench.metric.evidence").index(record, ctx.spans, { base = p.passage_span[1] })
  ctx.seed = ("%s/%s"):format(opt.seed, record.id)
  local keeps = press:keeps(ctx, opt.treat, { evictable = opt.evictable == "passage" and index.passage
    or { 0, ctx.tokens } })
  for q, question in ipairs(record.questions) do
    local t = question.answerable ~= false and target.of { index = index, question = question, record = record }
    local suffix = p.suffix(question)
    local gold = t and teacher.gold_ids(model, suffix, question.a)
    local decoy = t and t.decoy and teacher.gold_ids(model, suffix, t.decoy.value)
    if gold and decoy then
      local ids = model:ids(suffix)
      local cell = { passage_id = record.id, question = q, full = both(ctx, ids, nil, gold, decoy), at = {} }
      for i, keep in ipairs(keeps) do cell.at[opt.treat[i]] = both(ctx, ids, keep, gold, decoy) end
      cells[#cells + 1] = cell
    end
  end
  ctx:close()
end

local function curve(label, value)
  local s = { label = label, x = {}, y = {}, lo = {}, hi = {} }
  for l = 0, model.layers do
    local m = causal.mean(cells, function(cell) return value(cell, l) end, { exact = true })
    if m then
      local i = #s.x + 1
      s.x[i], s.y[i], s.lo[i], s.hi[i] = l, m.estimate, m.lo, m.hi
    end
  end
  return #s.x > 0 and s or nil
end
local gold, decoy = {}, {}
for _, part in ipairs { { "gold", gold }, { "decoy", decoy } } do
  for _, ratio in ipairs(opt.treat) do
    part[2][#part[2] + 1] = curve(("%g evicted"):format(ratio), function(cell, l)
      return cell.full[part[1]][l] - cell.at[ratio][part[1]][l]
    end)
  end
end

local rows, verdicts = {}, {}
for _, ratio in ipairs(opt.treat) do
  local function loss(which, from, to)
    return function(cell)
      local sum, n = 0, 0
      for l = from, to do
        sum, n = sum + cell.full[which][l] - cell.at[ratio][which][l], n + 1
      end
      return sum / n
    end
  end
  local middle = math.ceil(model.layers / 2)
  local parts = { { "lower half", 0, middle - 1 }, { "upper half", middle, model.layers },
    { "last level", model.layers, model.layers } }
  for _, part in ipairs(parts) do
    local g, d = loss("gold", part[2], part[3]), loss("decoy", part[2], part[3])
    rows[#rows + 1] = { label = ("%g: nats of the gold lost, %s"):format(ratio, part[1]),
      effect = causal.mean(cells, g) }
    local m, why = causal.mean(cells, function(cell) return g(cell) - d(cell) end)
    rows[#rows + 1] = { label = ("%g: gold - decoy, %s"):format(ratio, part[1]), effect = m, why = why }
  end
  local upper, lower = loss("gold", middle, model.layers), loss("gold", 0, middle - 1)
  local m, why = causal.mean(cells, function(cell) return upper(cell) - lower(cell) end)
  rows[#rows + 1] = { label = ("%g: gold, upper - lower half"):format(ratio), effect = m, why = why }
  verdicts[#verdicts + 1] = { ratio, m, why }
end

local setting = e:setting(dataset, "press " .. press:label())
if #gold > 0 then
  local x = { label = "level: what enters this layer" }
  local y = { label = "nats per token lost, logit lens" }
  e:save(kv.plot.small_multiples { columns = 2, width = 6.8,
    title = "What eviction takes from the rows that answer, level by level",
    panels = { { kind = "lines", title = "the gold answer", x = x, y = y, series = gold },
      { kind = "lines", title = "another value of the passage", x = x, y = y, series = decoy } },
    caption = ("%s %d questions. %s Bands: 95 %% BCa, each level by itself, passages resampled."):format(setting,
      #cells, causal.describe(gate)) }, "lens")
else
  e:cannot("logit lens", "no question has both an answer and a decoy")
end
e:table("lens", causal.columns, causal.rows(rows), "Nats per token lost to eviction, by level")
for _, v in ipairs(verdicts) do
  causal.verdict(e, gate, ("at %g, the loss arises in the upper half (nats per token)"):format(v[1]), v[2], v[3],
    { margin = .1 })
end
e:finish()
