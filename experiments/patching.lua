-- SPDX-License-Identifier: Apache-2.0
-- Where does what was evicted enter the row that answers? (causal experiment 6)
--
-- The gold answer is fed token by token; the row is the one that predicts its first token that the full cache gets
-- right and the evicted cache does not (the last question row, when that is the first token). Its residual stream is
-- replaced, at one level at a time: the full cache's state into the evicted run (restores?), and the evicted one's
-- into the full run (breaks?). Outcome: the logit difference gold - what the evicted run says, as a share of the way
-- from evicted to full. Control: the full cache's state of another question of the same passage. Hypothesis: in the
-- upper half of the network, before its last fifth, the own state restores more than the control's, difference > 0.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local dose = require "kvbench.causal.dose"
local teacher = require "kvbench.teacher"

local e = causal.experiment { name = "patching", title = "Activation patching between full and evicted cache",
  options = { ratio = .7, step = 2, passages = 24 }, docs = { ratio = "evicted", step = "every step-th level" } }
local opt, model = e.opt, e:model()
local press = kv.press(opt.press)
local gate, dataset = causal.gate_of(e, press), e:dataset(opt.task)

local levels = {}
for l = 0, model.layers, math.max(1, opt.step) do levels[#levels + 1] = l end

-- Logits of the last question row for a list of {keep, patch}: one batch.
local function last_logits(ctx, ids, list)
  local batch, out = model:batch(), {}
  for i, x in ipairs(list) do
    batch:add { ctx = ctx, ids = ids, keep = x.keep, patch = x.patch, max_new_tokens = 0, logits = #ids - 1, tag = i }
  end
  for _, result in ipairs(batch:run()) do out[result.tag] = result.logits end
  batch:close()
  return out
end

-- The first gold token that the full cache predicts and the evicted one does not: its number and what is said instead.
local function first_flip(ctx, ids, gold, keep)
  local request = teacher.request(ids, gold)
  local batch, said = model:batch(), {}
  for name, kept in pairs { full = false, evicted = keep } do
    batch:add { ctx = ctx, ids = request.ids, keep = kept or nil, logits = request.logits, max_new_tokens = 0,
      tag = name }
  end
  for _, result in ipairs(batch:run()) do said[result.tag] = result.logits:argmax(-1):tolua() end
  batch:close()
  for j, id in ipairs(gold) do
    local foil = said.evicted[j] - 1
    if said.full[j] - 1 == id and foil ~= id then return j, foil end
  end
end

local function difference(logits, gold, foil)
  local p = logits:pointer()
  return p[gold] - p[foil]
end

local rows, asked, eligible = {}, 0, 0
for _, record in ipairs(dataset.records) do
  local p = kv.prompt.render(opt.style, record, { regime = "agnostic", idk_example = opt.idk_example, model = model })
  local ctx = model:prefill(p.context, press.needs)
  local index = require("kvbench.metric.evidence").index(record, ctx.spans, { base = p.passage_span[1] })
  local range = opt.evictable == "passage" and index.passage or { 0, ctx.tokens }
  ctx.seed = ("%s/%s"):format(opt.seed, record.id)
  local keep = press:keep(ctx, opt.ratio, { evictable = range })
  local states = {}
  for q, question in ipairs(record.questions) do
    if question.answerable ~= false then
      local suffix = p.suffix(question)
      local ids = model:ids(suffix)
      states[#states + 1] = { q = q, ids = ids, gold = teacher.gold_ids(model, suffix, question.a),
        full = ctx:hidden_of(ids, { layers = levels }) }
    end
  end
  for i, one in ipairs(states) do
    asked = asked + 1
    local flip, foil = first_flip(ctx, one.ids, one.gold, keep)
    local donor = states[i % #states + 1]
    if flip and donor ~= one then
      eligible = eligible + 1
      local ids, gold = { unpack(one.ids) }, one.gold[flip]
      for j = 1, flip - 1 do ids[#ids + 1] = one.gold[j] end
      local plain = last_logits(ctx, ids, { {}, { keep = keep } })
      local full = ctx:hidden_of(ids, { layers = levels })
      local evicted = ctx:hidden_of(ids, { layers = levels, keep = keep })
      local full_d, evicted_d = difference(plain[1], gold, foil), difference(plain[2], gold, foil)
      local list = {}
      for k, l in ipairs(levels) do
        list[#list + 1] = { keep = keep, patch = { layer = l, hidden = full[k][1] } }
        list[#list + 1] = { keep = keep, patch = { layer = l, hidden = donor.full[k][1] } }
        list[#list + 1] = { patch = { layer = l, hidden = evicted[k][1] } }
      end
      local out = last_logits(ctx, ids, list)
      for k, l in ipairs(levels) do
        local function share(x) return (difference(x, gold, foil) - evicted_d) / (full_d - evicted_d) end
        rows[#rows + 1] = { passage_id = record.id, question = one.q, level = l, restored = share(out[3 * k - 2]),
          donor = share(out[3 * k - 1]), broken = 1 - share(out[3 * k]) }
      end
    end
  end
  ctx:close()
end

local function at_level(column, l)
  local cells = {}
  for _, row in ipairs(rows) do
    if row.level == l then cells[#cells + 1] = { passage_id = row.passage_id, row = row } end
  end
  return causal.mean(cells, function(cell) return cell.row[column] end, { exact = true })
end

local series, tables, curves = {}, {}, {}
for _, part in ipairs { { "restored", "full into evicted" }, { "broken", "evicted into full" },
  { "donor", "another question's full state into evicted (control)" } } do
  local s = { label = part[2], style = part[1] == "donor" and "reference" or "line", x = {}, y = {}, lo = {}, hi = {} }
  for _, l in ipairs(levels) do
    local m = at_level(part[1], l)
    if m then
      local i = #s.x + 1
      s.x[i], s.y[i], s.lo[i], s.hi[i] = l, m.estimate, m.lo, m.hi
      tables[#tables + 1] = { label = ("%s, level %d"):format(part[2], l), effect = m }
    end
  end
  if #s.x > 0 then series[#series + 1] = s end
  curves[part[1]] = s
end

-- One value a question: the mean of restored - donor over the levels of the upper half before the last fifth.
local by_question, order = {}, {}
for _, row in ipairs(rows) do
  if row.level >= model.layers / 2 and row.level <= .8 * model.layers then
    local key = row.passage_id .. "|" .. row.question
    if not by_question[key] then
      by_question[key] = { passage_id = row.passage_id, sum = 0, n = 0 }
      order[#order + 1] = by_question[key]
    end
    by_question[key].sum, by_question[key].n = by_question[key].sum + row.restored - row.donor, by_question[key].n + 1
  end
end
local effect, why = causal.mean(order, function(cell) return cell.sum / cell.n end)
tables[#tables + 1] = { label = "restored - control, upper half", effect = effect, why = why }
local half = #curves.restored.x > 0 and dose.half(curves.restored.x, dose.isotonic(curves.restored.y, (function()
  local w = {}
  for i = 1, #curves.restored.y do w[i] = 1 end
  return w
end)()))

local setting = e:setting(dataset, ("press %s at %g"):format(press:label(), opt.ratio))
local caption = ("%s %d of %d questions have a gold token that only the full cache predicts. %s Bands: 95 %% "
  .. "BCa, each level by itself, passages resampled."):format(setting, eligible, asked, causal.describe(gate))
local axes = { label = "level: what enters this layer" }
if #series > 0 then
  e:save(kv.plot.lines { title = "The state of the row that answers, exchanged", width = 5.2, legend = "below",
    x = axes, y = { label = "share of the logit difference" }, series = series, hlines = { { y = 0 }, { y = 1 } },
    caption = caption }, "patching")
else
  e:cannot("activation patching", ("no gold token of %d questions is right with the full cache only"):format(asked))
end
e:table("patching", causal.columns, causal.rows(tables), "Shares of the way from evicted (0) to full (1)")
if half then e:verdict("exploratory", ("half of the difference is restored from level %.1f on"):format(half)) end
causal.verdict(e, gate, "in the upper half the row's own full state restores more than another question's", effect, why,
  { margin = .1 })
e:finish()
