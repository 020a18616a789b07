-- SPDX-License-Identifier: Apache-2.0
-- Teacher-forced scores against a plain softmax over the logits that a request of its own returns, the hook for metrics
-- of one's own, and what must not change them: company, order, sharing of questions.
local t = require "kvbench.testing"
local kv = require "kvbench"
local ffi = require "ffi"
local library = require "kvbench.ffi"
local teacher = require "kvbench.teacher"
local tensor = require "kvbench.tensor"
local tiny = dofile(require("kvbench.paths").at "tests/lua/tiny_sweep.lua")

local model, data = tiny.model(), tiny.data(2, 3)

-- A matrix as Lua arrays.
local function numbers(x)
  local out = {}
  for i = 1, x:size(1) do
    out[i] = {}
    for j = 1, x:size(2) do out[i][j] = x:at(i, j) end
  end
  return out
end

local function sweep(more)
  local o = { model = model, dataset = data, presses = { "knorm", { press = "snapkv", window_size = 16 } },
    ratios = { 0, .5, .9 }, max_new_tokens = 3, quiet = true, teacher = true }
  for name, value in pairs(more or {}) do o[name] = value end
  return kv.sweep(o)
end

-- ---- the two formulas ----

t.case("log-probabilities and divergence by hand", function()
  local p = tensor.from({ { 0, math.log(3), -math.huge }, { 5, 5, 5 } })
  local q = tensor.from({ { math.log(2), math.log(2), 0 }, { 5, 5, 5 } })
  local a, b = teacher.score(p, { 1, 2 }), teacher.score(q, { 0, 0 })
  t.near(a.logprob[1], math.log(3 / 4), 1e-6)
  t.near(a.logprob[2], math.log(1 / 3), 1e-6)
  t.near(a.total, math.log(3 / 4) + math.log(1 / 3), 1e-6)
  t.near(a.per_token, a.total / 2, 1e-12)
  local mean, rows = teacher.kl(a, b)
  t.near(rows[1], .25 * math.log(.25 / .4) + .75 * math.log(.75 / .4), 1e-6)
  t.eq(rows[2], 0)
  t.near(mean, rows[1] / 2, 1e-12)
  t.eq(teacher.kl(a, a), 0)
end)

t.case("a wide distribution agrees with Lua's own exponential", function()
  local r, n = kv.rng.new("wide"), 5001
  local x, y, sum_x, sum_y = {}, {}, 0, 0
  for i = 1, n do x[i], y[i] = 8 * r:normal(), 8 * r:normal() end
  local p, q = tensor.from { x }, tensor.from { y }
  x, y = numbers(p)[1], numbers(q)[1] -- as f32 has them
  for i = 1, n do
    sum_x, sum_y = sum_x + math.exp(x[i]), sum_y + math.exp(y[i])
  end
  local kl = 0
  for i = 1, n do
    local log_p, log_q = x[i] - math.log(sum_x), y[i] - math.log(sum_y)
    kl = kl + math.exp(log_p) * (log_p - log_q)
  end
  local a, b = teacher.score(p, { 17 }), teacher.score(q, { 17 })
  t.near(a.total, x[18] - math.log(sum_x), 1e-10)
  t.near(teacher.kl(a, b), kl, 1e-9 * kl)
end)

t.case("a token outside the vocabulary and shapes that do not fit are errors", function()
  local p, q = tensor.from { { 1, 2 } }, tensor.from { { 1, 2, 3 } }
  t.fails(function() teacher.score(p, { 2 }) end, "token 2 of a vocabulary of 2")
  t.fails(function() teacher.kl(teacher.score(p, { 0 }), teacher.score(q, { 0 })) end, "q")
end)

-- ---- the sweep ----

local rows = tiny.by_key(sweep())

-- Logits of the gold rows from a request of its own, and their softmax in plain Lua.
local function by_hand(record, q, keep, ctx, prompt)
  local question = record.questions[q]
  local ids = model:ids(prompt.suffix(question))
  local gold = model:ids(" " .. question.a)
  local all = {}
  for _, id in ipairs(ids) do all[#all + 1] = id end
  for i = 1, #gold do all[#all + 1] = gold[i] end
  local logits = numbers(ctx:logits(all, { keep = keep }))
  local out = { total = 0 }
  for i = 1, #gold do
    local row, largest, sum = logits[#ids - 1 + i], -math.huge, 0
    for _, v in ipairs(row) do largest = math.max(largest, v) end
    for _, v in ipairs(row) do sum = sum + math.exp(v - largest) end
    out[i] = {}
    for j, v in ipairs(row) do out[i][j] = v - largest - math.log(sum) end
    out.total = out.total + out[i][gold[i] + 1]
  end
  return out
end

t.case("rows hold the gold's log-probability and the divergence from the full cache", function()
  local checked = 0
  for _, record in ipairs(data.records) do
    local prompt = kv.prompt.render("fewshot", record, { idk_example = true, model = model })
    local ctx = model:prefill(prompt.context, { window_queries = 16 })
    local index = kv.metric.evidence.index(record, ctx.spans, { base = prompt.passage_span[1] })
    local press = kv.press("snapkv", { window_size = 16 })
    local keep = press:keep(ctx, .5, { evictable = index.passage })
    for q = 1, #record.questions do
      local full, half = by_hand(record, q, nil, ctx, prompt), by_hand(record, q, keep, ctx, prompt)
      local kl = 0
      for i = 1, #full do
        for j = 1, #full[i] do kl = kl + math.exp(full[i][j]) * (full[i][j] - half[i][j]) / #full end
      end
      local a = rows[("%s|%d|full|0|agnostic"):format(record.id, q)]
      local b = rows[("%s|%d|%s|0.5|agnostic"):format(record.id, q, press:label())]
      t.near(a.gold_logprob, full.total, 1e-5)
      t.near(b.gold_logprob, half.total, 1e-5)
      t.near(b.gold_logprob_per_token, half.total / #half, 1e-5)
      t.near(b.kl_full, kl, 1e-5 + 1e-4 * kl)
      t.ok(kl > 1e-6, "nothing was lost: the comparison says nothing")
      t.eq(b.gold_tokens, #half)
      t.eq(a.kl_full, 0)
      checked = checked + 1
    end
  end
  t.eq(checked, 6)
end)

local function same_scores(other, what)
  local seen = 0
  for _, row in ipairs(other.rows) do
    local was = rows[row.key]
    t.eq(row.gold_logprob, was.gold_logprob, what)
    t.eq(row.kl_full, was.kl_full, what)
    t.eq(row.answer, was.answer, what)
    seen = seen + 1
  end
  t.eq(seen, 30, what)
end

t.case("sharing of question tokens, deduplication and group size change nothing", function()
  same_scores(sweep { trunk = false }, "no trunk")
  same_scores(sweep { dedupe = false }, "no dedupe")
  same_scores(sweep { group = 1 }, "one passage at once")
end)

t.case("answers are those of a sweep without teacher", function()
  for _, row in ipairs(sweep({ teacher = false }).rows) do
    t.eq(row.answer, rows[row.key].answer)
    t.eq(row.margin, rows[row.key].margin)
    t.eq(row.gold_logprob, nil)
  end
end)

t.case("without the full cache among the ratios it is still the reference", function()
  for _, row in ipairs(sweep({ ratios = { .5 } }).rows) do t.eq(row.kl_full, rows[row.key].kl_full) end
end)

t.case("a press that evicts while it decodes has no teacher-forced score", function()
  local run = sweep { presses = { { press = "decoding", of = "knorm" } }, ratios = { 0, .5 } }
  local without = 0
  for _, row in ipairs(run.rows) do
    if row.press == "full" then
      t.eq(row.kl_full, 0)
    else
      t.eq(row.gold_logprob, nil)
      without = without + 1
    end
  end
  t.eq(without, 6)
end)

t.case("one question at a time: ctx:logprob", function()
  local ctx = model:prefill("The Salt Gate was designed by Nyla Soren in the spring of a cold year")
  local keep = kv.press("knorm"):keep(ctx, .6)
  local full, half = ctx:logprob("Who? A:", "Nyla Soren"), ctx:logprob("Who? A:", "Nyla Soren",
    { keep = keep, kl = true })
  t.eq(#full.logprob, #model:ids " Nyla Soren")
  t.ok(half.kl > 0 and half.total ~= full.total, "eviction changed nothing")
  t.eq(ctx:logprob("Who? A:", "Nyla Soren", { kl = true }).kl, 0)
  t.eq(ctx:logprob(model:ids "Who? A:", model:ids " Nyla Soren").total, full.total)
  t.fails(function() ctx:logprob("Who?", {}) end, "no tokens")
end)

-- ---- metrics of one's own ----

t.case("a metric sees row, result, question, condition and keep-set, and adds columns", function()
  local seen = 0
  local run = sweep { metrics = { { name = "mine", columns = function(view)
    seen = seen + 1
    t.ok(view.row.key and view.result.ids and view.unit.ctx and view.record.passage and view.index.passage)
    t.eq(view.question, view.record.questions[view.row.question])
    t.eq(view.condition.ratio, view.row.ratio)
    t.eq(view.keep == nil, view.row.press == "full")
    return { kept = view.keep and view.keep:count(0, 0, 0, view.keep.tokens) or view.row.context_tokens }
  end } } }
  t.eq(seen, 30)
  for _, row in ipairs(run.rows) do t.ok(row.kept > 0 and (row.ratio == 0) == (row.kept == row.context_tokens)) end
end)

t.case("a metric that fails or takes a column that exists is named", function()
  local function with(columns) return function() sweep { metrics = { { name = "mine", columns = columns } } } end end
  t.fails(with(function() error "no such thing" end), "metric 'mine' at .*no such thing")
  t.fails(with(function() return { answer = 1 } end), "metric 'mine': column 'answer' is there already")
  t.fails(function() sweep { metrics = { { name = "mine" } } } end, "metrics%[1%] is not a metric")
  local twice = { name = "mine", columns = function() end }
  t.fails(function() sweep { metrics = { twice, twice } } end, "listed twice")
end)

t.case("rows with and without scores are never mixed in one folder", function()
  local folder = os.tmpname()
  os.remove(folder)
  sweep { out = folder, ratios = { 0 } }
  t.fails(function() sweep { out = folder, ratios = { 0 }, teacher = false } end, "teacher was true")
  t.fails(function() sweep { out = folder, ratios = { 0 }, metrics = { { name = "mine",
    columns = function() end } } } end,
    "metrics was null")
  for _, name in ipairs { "rows.jsonl", "rows.csv", "run.json" } do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end)

t.case("logits are given from a row on", function()
  local ctx = model:prefill "one two three four five six seven"
  local batch = model:batch()
  batch:add { ctx = ctx, ids = { 5, 6, 7, 8 }, logits = true, max_new_tokens = 0, tag = "all" }
  batch:add { ctx = ctx, ids = { 5, 6, 7, 8 }, logits = 2, max_new_tokens = 0, tag = "some" }
  local found = {}
  for _, result in ipairs(batch:run()) do found[result.tag] = numbers(result.logits) end
  t.eq(found.some, { found.all[3], found.all[4] })
  t.fails(function() batch:add { ctx = ctx, ids = { 5 }, logits = 1, max_new_tokens = 0 } end, "logits_from is 1")
  t.ok(library.C.kvb_sizeof("kvb_request") == ffi.sizeof "kvb_request")
end)
