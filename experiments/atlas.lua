-- SPDX-License-Identifier: Apache-2.0
-- Where in the model does the answer live, and where does eviction strike? An atlas over layers, heads and positions.
--
-- Over several passages: the mass that each head of the question's last row puts on the answer (V) beside what it puts
-- on as many tokens of other facts (placebo), the share of its attention that a press keeps (recall), how far its
-- output moves (||o_a - o|| / ||o||), both beside their null (as many tokens of each head kept at random), and which
-- positions of the passage each KV head keeps. Queries are the full cache's. Question judged: do the presses
-- keep more of the attention of the heads that read the answer than of the others?
local kv = require "kvbench"
local attention = require "kvbench.metric.attention"
local contexts = require "kvbench.experiment.contexts"
local evidence = require "kvbench.metric.evidence"
local question_rows = require "kvbench.question_rows"
local e = kv.experiment { name = "atlas", title = "Atlas of attention and eviction", options = { task = "base",
  passages = 8, questions = 2, presses = { "adakv", "chunk" }, ratio = 0.9, regime = "agnostic", bins = 40, top = 10 },
  docs = { questions = "per passage", bins = "of the passage's length",
    top = "heads that count as reading the answer" } }
local opt = e.opt
local dataset = e:dataset(opt.task, opt.passages > 0 and opt.passages or 8)
local model = e:model()
local L, H, KV, D = model.layers, model.heads, model.kv_heads, model.head_dim

local function grid(rows, columns)
  local out = {}
  for i = 1, rows do
    out[i] = {}
    for j = 1, columns do out[i][j] = 0 end
  end
  return out
end
local mass, placebo, asked_in = grid(L, H), grid(L, H), 0
local recall, err, kept, seen, nulls = {}, {}, {}, {}, {}
local passages, labels = {}, {}
for i, press in ipairs(e:presses()) do
  labels[i] = press:label()
  recall[labels[i]], err[labels[i]] = grid(L, H), grid(L, H)
  kept[labels[i]], seen[labels[i]] = grid(L * KV, opt.bins), grid(L * KV, opt.bins)
end

-- Kept share of the answer's and of the placebo's tokens by cell, for route-weighted GER once the weights are known.
local function remember(c, p, question, sets)
  for k, press in ipairs(c.presses) do
    local keep, answer = c.keep(press, opt.ratio), evidence.of(c.index, question).answer
    local item = { press = labels[k], answer = {}, placebo = sets and #sets > 0 and {} or nil }
    for l = 0, L - 1 do
      for h = 0, KV - 1 do
        local function share(tokens)
          local n = 0
          for _, t in ipairs(tokens) do if keep:kept(l, h, t) then n = n + 1 end end
          return n / #tokens
        end
        item.answer[l * KV + h + 1] = share(answer)
        local sum = 0
        for _, set in ipairs(item.placebo and sets or {}) do sum = sum + share(set) / #sets end
        if item.placebo then item.placebo[l * KV + h + 1] = sum end
      end
    end
    p.kept[#p.kept + 1] = item
  end
end

local function one_question(c, p, question)
  local rows = question_rows.of(c.ctx, c.prompt.suffix(question))
  local sets = evidence.placebo(c.index, question).facts
  local answer, stride, i = evidence.of(c.index, question).answer, rows.rows * rows.keys, rows.rows - 1
  remember(c, p, question, sets)
  p.paired = p.paired + (sets and #sets > 0 and 1 or 0)
  for l = 0, L - 1 do
    local all, values = rows:weights(l), rows:values(l)
    local a = all + i * rows.keys
    for h, v in ipairs(attention.mass(a, H, answer, stride)) do
      mass[l + 1][h], p.mass[l * H + h] = mass[l + 1][h] + v, p.mass[l * H + h] + v
      if sets and #sets > 0 then p.excess[l * H + h] = p.excess[l * H + h] + v end
    end
    for _, set in ipairs(sets or {}) do
      for h, v in ipairs(attention.mass(a, H, set, stride)) do
        placebo[l + 1][h] = placebo[l + 1][h] + v / #sets
        p.excess[l * H + h] = p.excess[l * H + h] - v / #sets
      end
    end
    for k, press in ipairs(c.presses) do
      local keep, drawn = c.keep(press, opt.ratio), c.random(press, opt.ratio)
      local left, random = rows:weights(l, keep), rows:weights(l, drawn)
      for h = 0, H - 1 do
        local kv_head = math.floor(h * KV / H)
        local from = i * rows.keys + h * stride
        local r = attention.recall(all, from, rows.context, function(t) return keep:kept(l, kv_head, t) end)
        local o = attention.output_error(all, left, from, values, kv_head * rows.keys * D, rows.keys, D)
        local nr = attention.recall(all, from, rows.context, function(t) return drawn:kept(l, kv_head, t) end)
        local no = attention.output_error(all, random, from, values, kv_head * rows.keys * D, rows.keys, D)
        local sums = p.null[labels[k]]
        for j, v in ipairs { r or 0, nr or 0, o or 0, no or 0 } do sums[j] = (sums[j] or 0) + v / (L * H) end
        recall[labels[k]][l + 1][h + 1] = recall[labels[k]][l + 1][h + 1] + (r or 0)
        err[labels[k]][l + 1][h + 1] = err[labels[k]][l + 1][h + 1] + (o or 0)
        p.recall[labels[k]][l * H + h + 1] = (p.recall[labels[k]][l * H + h + 1] or 0) + (r or 0)
      end
    end
  end
  rows:close()
end

contexts.each(e, { dataset = dataset, presses = opt.presses, regime = opt.regime }, function(c)
  local p = { id = c.record.id, n = 0, mass = {}, excess = {}, paired = 0, recall = {}, kept = {}, null = {} }
  for i = 1, L * H do p.mass[i], p.excess[i] = 0, 0 end
  for _, label in ipairs(labels) do p.recall[label], p.null[label] = {}, {} end
  for _, asked in ipairs(contexts.questions(c, opt.questions)) do
    one_question(c, p, asked.question)
    p.n, asked_in = p.n + 1, asked_in + 1
  end
  if p.n > 0 then passages[#passages + 1] = p end
  for _, label in ipairs(p.n > 0 and labels or {}) do
    local s = p.null[label]
    nulls[#nulls + 1] = { passage_id = p.id, press = label, recall = s[1] / p.n, ["recall, random"] = s[2] / p.n,
      ["output error"] = s[3] / p.n, ["output error, random"] = s[4] / p.n, dr = (s[1] - s[2]) / p.n,
      de = (s[3] - s[4]) / p.n }
  end
  local from, to = c.index.passage[1], c.index.passage[2]
  for k, press in ipairs(c.presses) do
    local keep, rows, all = c.keep(press, opt.ratio), kept[labels[k]], seen[labels[k]]
    for l = 0, L - 1 do
      for h = 0, KV - 1 do
        local line = l * KV + h + 1
        for t = from, to - 1 do
          local bin = math.min(opt.bins, 1 + math.floor((t - from) * opt.bins / (to - from)))
          all[line][bin] = all[line][bin] + 1
          if keep:kept(l, h, t) then rows[line][bin] = rows[line][bin] + 1 end
        end
      end
    end
  end
end)

local function divide(g, n)
  for i, line in ipairs(g) do
    for j = 1, #line do
      local by = type(n) == "table" and n[i][j] or n
      line[j] = by > 0 and line[j] / by or 0 / 0
    end
  end
  return g
end

local setting = e:setting(dataset) .. (" %d questions a passage, last question row, full-cache queries."):format(
  opt.questions)
if asked_in == 0 then
  e:cannot("answer mass, recall and output error", "no question of this task is answerable and has provenance")
else
  divide(mass, asked_in)
  divide(placebo, asked_in)
  local top = 0
  for _, line in ipairs(mass) do for _, v in ipairs(line) do top = math.max(top, v) end end
  local function map(title, g, label, max)
    return { kind = "heatmap", title = title, matrix = g, x = { label = "query head" }, y = { label = "layer" },
      color = { label = label, min = 0, max = max } }
  end
  e:save(kv.plot.small_multiples { columns = 2, share_color = true, height = 4, panels = { map("on the answer (V)",
    mass,
    "attention", top), map("on other facts' values (placebo)", placebo, "attention", top) },
    title = "Which heads read the answer", caption = setting }, "answer_mass")
  local panels = {}
  for _, label in ipairs(labels) do
    panels[#panels + 1] = map(e.shown(label) .. ": recall", divide(recall[label], asked_in), "kept attention", 1)
  end
  e:save(kv.plot.small_multiples { columns = 2, height = 4, panels = panels, title = ("Attention that survives at %g")
    :format(opt.ratio), caption = setting }, "recall")
  panels = {}
  for _, label in ipairs(labels) do
    panels[#panels + 1] = map(e.shown(label) .. ": output error", divide(err[label], asked_in), "||o_a - o|| / ||o||",
      1)
  end
  e:save(kv.plot.small_multiples { columns = 2, height = 4, panels = panels, title = ("How far head outputs move at %g")
    :format(opt.ratio), caption = setting .. " Colours end at 1." }, "output_error")
end
local panels = {}
for _, label in ipairs(labels) do
  panels[#panels + 1] = { kind = "heatmap", title = e.shown(label), matrix = divide(kept[label], seen[label]),
    x = { label = ("position in the passage, %d bins"):format(opt.bins) },
    y = { label = ("layer x KV head (%d a layer)"):format(KV) }, color = { label = "share kept", min = 0, max = 1 } }
end
e:save(kv.plot.small_multiples { columns = 2, height = 4.5, panels = panels, title = ("What each KV head keeps at %g")
  :format(opt.ratio), caption = e:setting(dataset)
    .. " Layers from top to bottom, their KV heads one below the other." },
  "positions")

-- ---- do presses serve the reading heads? ----

-- Reading heads of one passage are chosen by the answer mass in the others.
local rows, weighted = {}, {}
for k, p in ipairs(#passages >= 5 and passages or {}) do
  local total, order = {}, {}
  for i = 1, L * H do
    total[i], order[i] = 0, i
    for j, other in ipairs(passages) do if j ~= k then total[i] = total[i] + other.mass[i] / other.n end end
  end
  table.sort(order, function(a, b)
    if total[a] ~= total[b] then return total[a] > total[b] end
    return a < b
  end)
  local weight, sum = {}, 0 -- of cells: the answer mass of their query heads
  for i = 1, L * H do
    local cell = math.floor((i - 1) / H) * KV + math.floor((i - 1) % H * KV / H) + 1
    weight[cell], sum = (weight[cell] or 0) + total[i], sum + total[i]
  end
  for _, item in ipairs(sum > 0 and p.kept or {}) do
    local function ger(shares)
      local left = 0
      for i = 1, L * KV do left = left + weight[i] * shares[i] / sum end
      return 1 - left
    end
    if item.placebo then
      local plain = { passage_id = p.id, press = item.press, answer = ger(item.answer), placebo = ger(item.placebo) }
      plain.y = plain.answer - plain.placebo
      weighted[#weighted + 1] = plain
    end
  end
  for _, label in ipairs(labels) do
    local reading, others = 0, 0
    for rank, i in ipairs(order) do
      local v = p.recall[label][i] / p.n
      if rank <= opt.top then reading = reading + v / opt.top else others = others + v / (L * H - opt.top) end
    end
    rows[#rows + 1] = { passage_id = p.id, press = label, y = reading - others, reading = reading, others = others }
  end
end
if #rows == 0 then
  e:verdict("cannot tell", ("%d passages with evidence, 5 are needed"):format(#passages))
end
local table_rows = {}
for _, label in ipairs(#rows > 0 and labels or {}) do
  local list = {}
  for _, row in ipairs(rows) do if row.press == label then list[#list + 1] = row end end
  local m = kv.stats.mean(list, { y = "y", indicator = false })
  local reading = kv.stats.mean(list, { y = "reading", indicator = false })
  local others = kv.stats.mean(list, { y = "others", indicator = false })
  table_rows[#table_rows + 1] = { press = e.shown(label), reading = reading.mean, others = others.mean,
    difference = m.mean, lo = m.lo, hi = m.hi, passages = m.clusters }
  e:verdict(m.lo > 0 and "supported" or "not supported",
    ("%s at %g keeps more of the attention of the %d heads that read "
    .. "the answer than of the others"):format(e.shown(label), opt.ratio, opt.top), m)
end
if #table_rows > 0 then
  e:table("recall", { "press", "reading", "others", "difference", "lo", "hi", "passages" }, table_rows,
    ("Attention recall at %g: heads that read the answer (chosen on the other passages) and the "
      .. "rest"):format(opt.ratio))
end
-- Which heads read the answer more than other facts' values: all heads are asked at once, so the largest t of a sign
-- flip is the yardstick (max-T).
local function reading_heads()
  local values, list = {}, {}
  for _, p in ipairs(passages) do
    if p.paired > 0 then
      local of = {}
      for c = 1, L * H do of[c] = p.excess[c] / p.paired end
      values[#values + 1] = of
    end
  end
  if #values < 6 then -- with five, no sign flip can be rarer than 2 in 32
    e:cannot("which heads read the answer", ("%d passages have a placebo, 6 are needed"):format(#values))
    return
  end
  local test = kv.stats.max_t(values)
  for c, cell in ipairs(test.cells) do
    if cell.p <= .05 and cell.estimate > 0 then
      list[#list + 1] = { layer = math.floor((c - 1) / H), head = (c - 1) % H, ["V - placebo"] = cell.estimate,
        p = cell.p, passages = cell.n }
    end
  end
  table.sort(list, function(a, b) return a["V - placebo"] > b["V - placebo"] end)
  e:verdict("exploratory", ("%d of %d heads put more attention on the answer than on other facts' values (max-T, %d "
    .. "passages)"):format(#list, L * H, #values))
  if #list == 0 then return end
  e:table("reading_heads", { "layer", "head", "V - placebo", "p", "passages" }, { unpack(list, 1, 30) },
    "Heads that read the answer more than other facts' values, p over all heads at once (max-T); at most 30")
end
reading_heads()
local null_rows = {}
for _, label in ipairs(#nulls > 0 and labels or {}) do
  local list = {}
  for _, row in ipairs(nulls) do if row.press == label then list[#list + 1] = row end end
  for _, m in ipairs { { "recall", "dr" }, { "output error", "de" } } do
    local d = kv.stats.mean(list, { y = m[2], indicator = false })
    null_rows[#null_rows + 1] = { press = e.shown(label), measure = m[1],
      value = kv.stats.mean(list, { y = m[1], indicator = false }).mean,
      null = kv.stats.mean(list, { y = m[1] .. ", random", indicator = false }).mean, difference = d.mean, lo = d.lo,
      hi = d.hi, passages = d.clusters }
  end
end
if #null_rows > 0 then
  e:table("null", { "press", "measure", "value", "null", "difference", "lo", "hi", "passages" }, null_rows,
    ("Attention recall and output error at %g, means over heads, beside the null: as many tokens of each head kept at "
    .. "random"):format(opt.ratio))
end
local ger_rows = {}
for _, label in ipairs(#weighted > 0 and labels or {}) do
  local list = {}
  for _, row in ipairs(weighted) do if row.press == label then list[#list + 1] = row end end
  local m = kv.stats.mean(list, { y = "y", indicator = false })
  ger_rows[#ger_rows + 1] = { press = e.shown(label), answer = kv.stats.mean(list, { y = "answer" }).mean,
    placebo = kv.stats.mean(list, { y = "placebo" }).mean, selectivity = m.mean, lo = m.lo, hi = m.hi, questions = m.n,
    passages = m.clusters }
end
if #ger_rows > 0 then
  e:table("weighted_ger", { "press", "answer", "placebo", "selectivity", "lo", "hi", "questions", "passages" },
    ger_rows,
    ("Route-weighted GER at %g: cells weigh as their heads read the answer on the other passages; selectivity = "
      .. "answer - "
    .. "placebo"):format(opt.ratio))
end
e:finish()
