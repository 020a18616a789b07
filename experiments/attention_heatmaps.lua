-- SPDX-License-Identifier: Apache-2.0
-- What do the heads look at, and what do presses take away from them?   (arXiv:2603.01426, figures 19, 20 and 36-39)
--
-- One passage, layer by token: attention of the question's last row (mean over heads) as the full cache answers, and
-- as each press's run does at a mild and an extreme ratio (observed, not recomputed); beside it the share of heads
-- that lost the token. Short passages show their tokens. Claim judged, over several passages: presses differ at .1
-- and agree at .9, by kappa on X without sinks (Jaccard of independent sets is already p / (2 - p)).
local kv = require "kvbench"
local contexts = require "kvbench.experiment.contexts"
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local e = kv.experiment { name = "attention_heatmaps", title = "Attention and eviction maps",
  paper = "figures 19, 20, 36-39",
  options = { task = "knowledge", passages = 8, presses = { "chunk", "adakv" }, ratios = "0.1,0.9", regime = "agnostic",
    question = 1 }, docs = { question = "of the first passage, whose attention is drawn" } }
local opt = e.opt
local dataset = e:dataset(opt.task, opt.passages > 0 and opt.passages or 8)

local function token_labels(c, from, to)
  if to - from > 60 then return nil end
  local out = {}
  for t = from, to - 1 do
    local span = c.ctx.spans[t + 1]
    out[#out + 1] = (c.prompt.context:sub(span[1] + 1, span[2]):gsub("%s+", "·"))
  end
  return out
end

-- Mean over heads of an observed row's attention to [from, to), by layer.
local function attention_map(seen, from, to)
  local out, model = {}, e:model()
  for l = 0, model.layers - 1 do
    local a, line = seen.layer(l, 0), {}
    for t = from, to - 1 do
      local sum = 0
      for h = 0, model.heads - 1 do sum = sum + a[h * seen.width + t] end
      line[#line + 1] = sum / model.heads
    end
    out[l + 1] = line
  end
  return out
end

local function eviction_map(c, keep, from, to)
  local counts, out = keep:layer_counts(), {}
  for l = 0, keep.layers - 1 do
    local line = {}
    for t = from, to - 1 do line[#line + 1] = 1 - counts[l * c.ctx.tokens + t] / keep.kv_heads end
    out[l + 1] = line
  end
  return out
end

local function draw(c)
  local asked = contexts.questions(c, 99)[opt.question]
  if not asked then
    e:cannot("maps", ("the first passage has no question %d with evidence"):format(opt.question))
    return
  end
  local keeps, number = { false }, {}
  for _, ratio in ipairs(opt.ratios) do
    number[ratio] = {}
    for _, press in ipairs(c.presses) do
      keeps[#keeps + 1] = c.keep(press, ratio)
      number[ratio][press] = #keeps
    end
  end
  local seen = contexts.observed(c, asked.question, keeps, 1)
  local from, to = c.index.passage[1], c.index.passage[2]
  local x = { label = "token of the passage", labels = token_labels(c, from, to) }
  local spans = {}
  for _, m in ipairs(evidence.of(c.index, asked.question).mentions) do
    spans[#spans + 1] = { from = m[1] - from, to = m[2] - from, label = "answer" }
  end
  local caption = ("%s (%s), record %s, question: %s Mean over heads of the last question row of each run; "
    .. "colours end at the 98th percentile."):format(e:model().name, e:model().dtype, c.record.id, asked.question.q)
  local full = attention_map(seen[1], from, to)
  local all = {}
  for _, line in ipairs(full) do for _, v in ipairs(line) do all[#all + 1] = v end end
  table.sort(all)
  local top = math.max(1e-6, all[math.ceil(0.98 * #all)])
  local y, width = { label = "layer" }, x.labels and 7 or 6.8
  e:save(kv.plot.heatmap { matrix = full, x = x, y = y, spans = spans, width = width, height = 3.4,
    color = { label = "attention", min = 0, max = top }, title = "Attention with the full cache", caption = caption },
    "attention_full")
  for _, ratio in ipairs(opt.ratios) do
    local attention, gone = {}, {}
    for _, press in ipairs(c.presses) do
      local keep = c.keep(press, ratio)
      local title = ("%s at %g"):format(e.shown(press:label()), ratio)
      attention[#attention + 1] = { kind = "heatmap", title = title,
        matrix = attention_map(seen[number[ratio][press]], from, to),
        x = { label = x.label }, y = y, spans = spans, color = { label = "attention", min = 0, max = top } }
      gone[#gone + 1] = { kind = "heatmap", title = title, matrix = eviction_map(c, keep, from, to),
        x = { label = x.label }, y = y, spans = spans, color = { label = "share of heads", min = 0, max = 1 } }
    end
    local columns = math.min(2, #attention)
    e:save(kv.plot.small_multiples { columns = columns, panels = attention, caption = caption,
      title = ("Attention at %g"):format(ratio) }, ("attention_%g"):format(100 * ratio))
    e:save(kv.plot.small_multiples { columns = columns, panels = gone, caption = ("%s (%s), record %s. Share of the "
      .. "layer's KV heads that evicted the token."):format(e:model().name, e:model().dtype, c.record.id),
      title = ("Evicted at %g"):format(ratio) }, ("evicted_%g"):format(100 * ratio))
  end
end

-- ---- agreement of presses ----

local agreed, first = {}, true
contexts.each(e, { dataset = dataset, presses = opt.presses, regime = opt.regime }, function(c)
  if first then draw(c) end
  first = false
  for i = 1, #c.presses do
    for j = i + 1, #c.presses do
      for _, ratio in ipairs(opt.ratios) do
        local a, b = eviction.view(c.keep(c.presses[i], ratio)), eviction.view(c.keep(c.presses[j], ratio))
        local m = eviction.agreement(a, b, c.index.x)
        agreed[#agreed + 1] = { passage_id = c.record.id, ratio = ratio, kappa = m.kappa, jaccard = m.jaccard,
          pair = e.shown(c.presses[i]:label()) .. " and " .. e.shown(c.presses[j]:label()) }
      end
    end
  end
end)
local cells, by = {}, {}
for _, row in ipairs(agreed) do
  local key = row.pair .. row.ratio
  if not by[key] then
    by[key] = { pair = row.pair, ratio = row.ratio, rows = {} }
    cells[#cells + 1] = by[key]
  end
  table.insert(by[key].rows, row)
end
local table_rows = {}
for _, cell in ipairs(cells) do
  local defined = {}
  for _, row in ipairs(cell.rows) do if row.kappa then defined[#defined + 1] = row end end
  local kappa = #defined > 0 and kv.stats.mean(defined, { y = "kappa", indicator = false })
  local jaccard = kv.stats.mean(cell.rows, { y = "jaccard", indicator = false })
  local p = 1 - cell.ratio
  table_rows[#table_rows + 1] = { presses = cell.pair, ratio = cell.ratio, kappa = kappa and kappa.mean,
    lo = kappa and kappa.lo, hi = kappa and kappa.hi, jaccard = jaccard.mean, ["jaccard by chance"] = p / (2 - p),
    passages = #cell.rows }
  cell.kappa = kappa
end
e:table("agreement", { "presses", "ratio", "kappa", "lo", "hi", "jaccard", "jaccard by chance", "passages" },
  table_rows,
  "Agreement of the keep-sets of two presses on X without sinks, " .. e:setting(dataset))
local low, high = cells[1], cells[#opt.ratios]
if not low or not low.kappa or not high.kappa or high == low or low.kappa.clusters < 5 then
  e:verdict("cannot tell", "presses differ at low ratios and agree at high ones: needs two presses, two ratios and 5 "
    .. "passages")
else
  local d, at = {}, {}
  for _, row in ipairs(low.rows) do at[row.passage_id] = row.kappa end
  for _, row in ipairs(high.rows) do
    if row.kappa and at[row.passage_id] then
      d[#d + 1] = { passage_id = row.passage_id, y = row.kappa - at[row.passage_id] }
    end
  end
  local m = kv.stats.mean(d, { y = "y", indicator = false })
  e:verdict(m.lo > 0 and "supported" or "not supported", ("%s agree more at %g than at %g (kappa)"):format(low.pair,
    high.ratio, low.ratio), m)
end
e:finish()
