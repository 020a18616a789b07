-- SPDX-License-Identifier: Apache-2.0
-- Does an answer depend on a route to its tokens, and is there a small set of heads that carries it?
--                                                              (arXiv:2603.01426, section 6: Propositions 1, 2, TR-LT)
-- Widest path from the last question row to the answer's tokens, in the direct graph (read at their own keys) and in
-- the leaky one (through what passage tokens gathered before eviction), beside the same to other facts' values
-- (placebo); it is compared between answers that stay right and that go wrong. Proposition 1's independence is tested
-- on the keep-sets. Token-route tickets: the value is evicted everywhere but in some (layer, KV head) cells; ddmin
-- finds a 1-minimal set that still answers, and 50 random sets of the same size and layer profile are its control: no
-- ticket without the gap. Queries are the full cache's.
local kv = require "kvbench"
local contexts = require "kvbench.experiment.contexts"
local ddmin = require "kvbench.ddmin"
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local keepset = require "kvbench.keep"
local rng = require "kvbench.rng"
local route, route_rows = kv.metric.route, require "kvbench.route_rows"
local e = kv.experiment { name = "routes", title = "Routes to the answer", paper = "section 6", options = {
  task = "base", passages = 6, questions = 1, presses = { "adakv", "chunk" }, ratios = "0.5,0.7,0.9",
    regime = "agnostic",
  epsilon = 0.01, tickets = 2, tests = 150, random_sets = 50, leaky = true }, docs = { questions = "per passage",
  epsilon = "weight from which an edge counts", tickets = "questions to look for one", tests = "per ticket, at most",
  leaky = "the leaky graph too (slower)" } }
local opt = e.opt
local dataset = e:dataset(opt.task, opt.passages > 0 and opt.passages or 6)

local function right(c, question, text)
  local class = kv.metric.answer_class.classify({ answer = text, question = question, record = c.record,
    stop = c.prompt.stop, examples = c.prompt.examples })
  return class == "correct"
end
local function answers(c, question, keeps)
  local batch, texts = e:model():batch(), {}
  local ids = e:model():ids(c.prompt.suffix(question))
  for i, keep in ipairs(keeps) do
    batch:add { ctx = c.ctx, keep = keep, ids = ids, max_new_tokens = math.max(12, #e:model():ids(question.a) + 4),
      tag = i }
  end
  for _, result in ipairs(batch:run()) do
    texts[result.tag] = right(c, question, e:model().tokenizer:decode(result.ids, { skip_special = true }))
  end
  batch:close()
  return texts
end

-- ---- widths ----

local rows, propositions, candidates = {}, {}, {} -- rows: of presses, and their null (null = true)
local function widths(c, asked, conditions)
  local question = asked.question
  local tokens = { answer = evidence.of(c.index, question).answer,
    placebo = (evidence.placebo(c.index, question).facts or {})[1] }
  route_rows.measure(c.ctx, c.prompt.suffix(question), tokens, conditions, { epsilon = opt.epsilon, leaky = opt.leaky })
  for _, w in ipairs(conditions) do
    rows[#rows + 1] = { passage_id = c.record.id, question = asked.index, press = w.press, ratio = w.ratio,
      null = w.null or false, direct = w.direct, placebo = w.placebo, leaky = w.leaky, leaky_placebo = w.leaky_placebo,
      flow = w.flow, heads = w.heads, reach = w.reach, correct = not w.null and (w.correct and 1 or 0) or nil }
  end
end

contexts.each(e, { dataset = dataset, presses = opt.presses, regime = opt.regime }, function(c)
  for _, press in ipairs(c.presses) do
    for _, ratio in ipairs(opt.ratios) do
      local p = route.proposition(eviction.view(c.keep(press, ratio)), c.index.x)
      p.passage_id, p.press, p.ratio = c.record.id, press:label(), ratio
      propositions[#propositions + 1] = p
    end
  end
  for _, asked in ipairs(contexts.questions(c, opt.questions)) do
    local conditions, keeps = { { press = "full", ratio = 0 } }, { keepset.all(c.ctx.layers, c.ctx.kv_heads,
      c.ctx.tokens) }
    for _, press in ipairs(c.presses) do
      for _, ratio in ipairs(opt.ratios) do
        keeps[#keeps + 1] = c.keep(press, ratio)
        conditions[#conditions + 1] = { press = press:label(), ratio = ratio, keep = keeps[#keeps] }
      end
    end
    for i, ok in ipairs(answers(c, asked.question, keeps)) do conditions[i].correct = ok end
    for _, press in ipairs(c.presses) do -- the null answers nothing: only its routes are asked for
      for _, ratio in ipairs(opt.ratios) do
        conditions[#conditions + 1] = { press = press:label(), ratio = ratio, keep = c.random(press, ratio),
          null = true }
      end
    end
    widths(c, asked, conditions)
    if conditions[1].correct then candidates[#candidates + 1] = { id = c.record.id, question = asked.index } end
  end
end)

-- ---- tickets ----

local tickets = {}
local function without_value(c, mentions, cells)
  local keep = keepset.all(c.ctx.layers, c.ctx.kv_heads, c.ctx.tokens)
  for _, m in ipairs(mentions) do
    keep:set(nil, nil, m[1], m[2], false)
    for _, cell in ipairs(cells) do keep:set(cell.l, cell.h, m[1], m[2], true) end
  end
  return keep
end
local function search(c, index)
  local question = c.record.questions[index]
  local mentions, cells = evidence.of(c.index, question).mentions, {}
  for l = 0, c.ctx.layers - 1 do
    for h = 0, c.ctx.kv_heads - 1 do cells[#cells + 1] = { l = l, h = h } end
  end
  local function test(list) return answers(c, question, { without_value(c, mentions, list) })[1] end
  local line = { record = c.record.id, question = index, cells = #cells }
  tickets[#tickets + 1] = line
  if test {} then
    line.outcome = "right without the value in any head: leaked, nothing to look for"
    return
  end
  local part, runs, minimal = ddmin.find(cells, test, opt.tests)
  line.ticket, line.tests = #part, runs
  local draw, sets = rng.new("tickets/" .. c.record.id .. index), {}
  local per_layer = {}
  for _, cell in ipairs(part) do per_layer[cell.l] = (per_layer[cell.l] or 0) + 1 end
  for i = 1, opt.random_sets do
    local list = {}
    for l = 0, c.ctx.layers - 1 do
      local order = {}
      for h = 0, c.ctx.kv_heads - 1 do order[#order + 1] = h end
      draw:shuffle(order)
      for k = 1, per_layer[l] or 0 do list[#list + 1] = { l = l, h = order[k] } end
    end
    sets[i] = without_value(c, mentions, list)
  end
  local n = 0
  for _, ok in ipairs(answers(c, question, sets)) do n = n + (ok and 1 or 0) end
  local lo, hi = kv.stats.wilson(n, opt.random_sets)
  line["random sets right"], line.lo, line.hi = n / opt.random_sets, lo, hi
  line.outcome = not minimal and "the limit of tests was reached: not known to be minimal"
    or hi < 0.5 and "1-minimal, and under half of random sets do as well" or "1-minimal, but random sets do as well"
end
local wanted = {}
for i = 1, math.min(opt.tickets, #candidates) do
  wanted[candidates[i].id] = wanted[candidates[i].id] or {}
  table.insert(wanted[candidates[i].id], candidates[i].question)
end
local some = dataset:filter(function(record) return wanted[record.id] end)
if #some.records > 0 then
  contexts.each(e, { dataset = some, presses = { opt.presses[1] }, regime = opt.regime }, function(c)
    for _, index in ipairs(wanted[c.record.id]) do search(c, index) end
  end)
else
  e:cannot("tickets", "no question is right with the full cache")
end

-- ---- figures and tables ----

local caption = e:setting(dataset) .. (" %d questions a passage; full-cache queries; an edge weighs A ||W_o v||, "
  .. "normalised per row. "):format(opt.questions) .. e.bands
local labels, panels = {}, {}
for i, press in ipairs(e:presses()) do labels[i] = press:label() end
for _, label in ipairs(labels) do
  local list, lines = e.of_press(rows, label, function(row) return not row.null end), {}
  lines[1] = { rows = e.of_press(rows, label, function(row) return row.null end), y = "direct",
    label = "direct, random set (null)", style = "reference" }
  for _, m in ipairs { { "direct", "direct" }, { "leaky", "leaky" }, { "placebo", "direct, placebo", "reference" },
    { "leaky_placebo", "leaky, placebo", "reference" } } do
    lines[#lines + 1] = { rows = list, y = m[1], label = m[2], style = m[3] }
  end
  panels[#panels + 1] = e.panel(lines, { title = e.shown(label), y_label = "widest path", min = 0, indicator = false,
    reason = "no question is answerable and has provenance" })
end
e:save(kv.plot.small_multiples { columns = 2, panels = panels, title = "Widest path from the question to the answer",
  caption = caption }, "widest_path")

local summary = {}
local function mean(list, y)
  local sum, n = 0, 0
  for _, row in ipairs(list) do if row[y] then sum, n = sum + row[y], n + 1 end end
  return n > 0 and sum / n or nil
end
for _, label in ipairs { "full", unpack(labels) } do
  for _, ratio in ipairs { 0, unpack(opt.ratios) } do
    local list, good, bad, null = {}, {}, {}, {}
    for _, row in ipairs(rows) do
      if row.press == label and row.ratio == ratio and row.null then
        null[#null + 1] = row
      elseif row.press == label and row.ratio == ratio then
        list[#list + 1] = row
        table.insert(row.correct == 1 and good or bad, row)
      end
    end
    if #list > 0 then
      summary[#summary + 1] = { press = e.shown(label), ratio = ratio, questions = #list, correct = mean(list,
        "correct"),
        direct = mean(list, "direct"), placebo = mean(list, "placebo"), leaky = mean(list, "leaky"),
        reach = mean(list, "reach"), flow = mean(list, "flow"), ["flow, random"] = mean(null, "flow"),
        heads = mean(list, "heads"),
        ["heads, random"] = mean(null, "heads"), ["direct if right"] = mean(good, "direct"),
        ["if wrong"] = mean(bad, "direct") }
    end
  end
end
e:table("routes", { "press", "ratio", "questions", "correct", "direct", "placebo", "leaky", "reach", "flow",
  "flow, random",  "heads", "heads, random",
  "direct if right", "if wrong" }, summary,
    ("Widest paths; reach, flow and heads at epsilon = %g: share that reaches the "
  .. "answer, max-flow, (layer, head) cells that read it from the last row; random: as many tokens "
  .. "of each head kept at random"):format(opt.epsilon))

local prop, cells = {}, {}
for _, p in ipairs(propositions) do
  local key = p.press .. p.ratio
  if not cells[key] then
    cells[key] = {}
    prop[#prop + 1] = { press = e.shown(p.press), ratio = p.ratio, list = cells[key] }
  end
  table.insert(cells[key], p)
end
for _, line in ipairs(prop) do
  for _, name in ipairs { "observed", "general", "bound", "phi", "k_eff" } do line[name] = mean(line.list, name) end
  line.passages, line.list = #line.list, nil
end
e:table("proposition_1", { "press", "ratio", "passages", "observed", "general", "bound", "phi", "k_eff" }, prop,
  "Share of passage tokens that some head keeps: observed, for independent heads (1 - prod(1 - p_h)), and the stated "
    .. "bound "
  .. "with the smallest p_h; phi: mean correlation of two cells' keep bits (0 if independent); k_eff: independent "
    .. "heads "
  .. "that would do as well")
if #tickets > 0 then
  e:table("tickets", { "record", "question", "cells", "ticket", "tests", "random sets right", "lo", "hi", "outcome" },
    tickets, "Token-route tickets: smallest sets of (layer, KV head) cells found that must keep the value; Wilson "
      .. "intervals")
end

-- ---- verdicts ----

local passage_phi = {}
for _, p in ipairs(propositions) do
  if p.ratio == opt.ratios[#opt.ratios] and p.phi then passage_phi[#passage_phi + 1] = { passage_id = p.passage_id,
    y = p.phi } end
end
if #passage_phi == 0 then
  e:verdict("cannot tell", "independence of heads (Proposition 1): fewer than two heads vary")
else
  local m = kv.stats.mean(passage_phi, { y = "y", indicator = false })
  e:verdict(m.lo and m.clusters >= 5 and ((m.lo > 0 or m.hi < 0) and "not supported" or "supported") or "cannot tell",
    ("heads keep tokens independently (Proposition 1), phi at %g"):format(opt.ratios[#opt.ratios]), m)
end
local pairs_ = {}
for _, row in ipairs(rows) do
  if row.press ~= "full" and not row.null and row.placebo then pairs_[#pairs_ + 1] = row end
end
-- Within press and ratio: mean of right minus mean of wrong, answer minus placebo.
local items, by = {}, {}
for _, row in ipairs(pairs_) do
  if not by[row.passage_id] then
    by[row.passage_id] = {}
    items[#items + 1] = by[row.passage_id]
  end
  table.insert(by[row.passage_id], row)
end
local function contrast(list)
  local groups, sum, weight, keys = {}, 0, 0, {}
  for _, p in ipairs(list) do
    for _, row in ipairs(p) do
      local key = row.press .. row.ratio
      if not groups[key] then groups[key], keys[#keys + 1] = { [0] = { 0, 0 }, [1] = { 0, 0 } }, key end
      local g = groups[key][row.correct]
      g[1], g[2] = g[1] + row.direct - row.placebo, g[2] + 1
    end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local good, bad = groups[key][1], groups[key][0]
    local w = math.min(good[2], bad[2])
    if w > 0 then sum, weight = sum + w * (good[1] / good[2] - bad[1] / bad[2]), weight + w end
  end
  return weight > 0 and sum / weight or nil
end
local value = contrast(items)
if not value or #items < 5 then
  e:verdict("cannot tell", not value and "width and success: no press and ratio has right and wrong answers"
    or ("width and success: %d passages, 5 are needed"):format(#items))
else
  local b = kv.stats.bootstrap(items, function(list) return contrast(list) or 0 end, { method = "percentile" })
  e:verdict(b.lo > 0 and "supported" or "not supported",
    "answers that stay right have wider direct routes than those that "
    .. "go wrong, beyond the placebo's", { mean = b.value, lo = b.lo, hi = b.hi, n = #pairs_, clusters = #items })
end
e:finish()
