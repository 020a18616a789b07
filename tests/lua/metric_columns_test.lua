-- SPDX-License-Identifier: Apache-2.0
-- Metrics as columns of a sweep's rows: each against the function it calls, or against numbers worked out by hand, on a
-- model of random weights and on rows written by hand.
local t = require "kvbench.testing"
local kv = require "kvbench"
local paths = require "kvbench.paths"
local ffi = require "ffi"
local columns = kv.metric.columns
local eviction, evidence = kv.metric.eviction, kv.metric.evidence
local heads_columns = require "kvbench.metric.heads_columns"
local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
local model = tiny.model "llama"

local function sweep(more)
  local o = { model = model, dataset = tiny.data(2, 3), presses = { "knorm", "random" }, ratios = { 0, .5 },
    max_new_tokens = 3, quiet = true }
  for name, value in pairs(more) do o[name] = value end
  return kv.sweep(o)
end

-- A row in which only what a metric reads is there.
local function view_of(fields)
  fields.row = fields.row or {}
  fields.row.variant = ""
  return fields
end

t.case("selectivity is GER of the answer minus that of the placebo, and absent where one is", function()
  local m = columns.selectivity()
  local out = m.columns(view_of { row = { ger_model = .5, ger_model_placebo = .125, ger_layer = 1,
    ger_frac_placebo = .5 } })
  t.eq(out, { selectivity_model = .375 })
  for _, row in ipairs(sweep({ metrics = { "selectivity" } }).rows) do
    t.eq(row.selectivity_frac ~= nil, row.ger_frac ~= nil and row.ger_frac_placebo ~= nil)
    if row.selectivity_frac then t.near(row.selectivity_frac, row.ger_frac - row.ger_frac_placebo, 1e-12) end
  end
end)

t.case("ger_w: with equal weights it is ger_frac; with all weight on one cell it is that cell's share", function()
  local equal, one = {}, {}
  for c = 0, model.layers * model.kv_heads - 1 do equal[c], one[c] = .25, 0 end
  one[1] = 2
  local seen = 0
  for _, w in ipairs { equal, one } do
    local rows = sweep({ metrics = { columns.ger_w { w = w }, { name = "by hand", columns = function(view)
      local e = evidence.of(view.index, view.question)
      if not e.answer then return {} end
      local kept = 0
      for _, token in ipairs(e.answer) do
        local l, h = math.floor(1 / model.kv_heads), 1 % model.kv_heads
        if view.eviction.keep:kept(l, h, token) then kept = kept + 1 end
      end
      return { cell = 1 - kept / #e.answer }
    end } } }).rows
    for _, row in ipairs(rows) do
      if row.ger_w then
        t.near(row.ger_w, w == equal and row.ger_frac or row.cell, 1e-9)
        if row.ger_w_placebo then t.near(row.selectivity_w, row.ger_w - row.ger_w_placebo, 1e-12) end
        seen = seen + (row.ger_w > 0 and 1 or 0)
      end
    end
  end
  t.ok(seen > 2)
end)

t.case("ger_w from the ledger of a stored run is the column that the sweep would have had", function()
  local w, folder = {}, os.tmpname()
  os.remove(folder)
  for c = 0, model.layers * model.kv_heads - 1 do w[c] = 1 / (c + 1) end
  local data = tiny.data(2, 3)
  local live = sweep { dataset = data, metrics = { columns.ger_w { w = w } } }
  local run = sweep { dataset = data, out = folder }
  local e = { model = function() return model end }
  local n = require("kvbench.experiment.weighted").add(e, run, data, { w = w })
  local want = tiny.by_key(live)
  for _, row in ipairs(run.rows) do
    if row.press ~= "full" then
      t.eq({ row.ger_w, row.ger_w_placebo }, { want[row.key].ger_w, want[row.key].ger_w_placebo }, row.key)
    end
  end
  t.ok(n >= 8)
  os.execute("rm -rf '" .. folder .. "'")
end)

t.case("ger_w by name measures the heads on other passages; without any it says what to give", function()
  local rows = sweep({ metrics = { "ger_w" } }).rows
  local found = 0
  for _, row in ipairs(rows) do found = found + (row.ger_w and row.ger_w >= 0 and row.ger_w <= 1 and 1 or 0) end
  t.ok(found > 0)
  local data = tiny.data(1, 2)
  data.task = "imported"
  t.fails(function() sweep { dataset = data, metrics = { "ger_w" } } end, "records = {...}")
end)

t.case("agreement compares with another press's set at the same ratio; its own rows and ratio 0 have none", function()
  local keeps = {}
  local rows = sweep({ presses = { "knorm", "random", "streaming_llm" },
    metrics = { columns.agreement { with = "random" },
    { name = "keep", columns = function(view)
      keeps[view.row.key] = { keep = view.keep, x = view.index.x }
      return {}
    end } } }).rows
  local checked = 0
  for _, row in ipairs(rows) do
    t.eq(row.jaccard ~= nil, row.press == "knorm" or row.press == "streaming_llm", row.key)
    if row.jaccard then
      local own = keeps[row.key]
      local other = keeps[(row.key:gsub("|" .. row.press .. "|", "|random|"))]
      local m = eviction.agreement(eviction.view(own.keep), eviction.view(other.keep), own.x)
      t.near(row.jaccard, m.jaccard, 1e-12)
      t.near(row.kappa, m.kappa, 1e-12)
      t.near(row.jaccard_chance, 1 / 3, .05) -- p / (2 - p) at p = .5
      checked = checked + 1
    end
  end
  t.eq(checked, 12)
  t.fails(function() sweep { metrics = { columns.agreement { with = "ea" } } } end, "not among the presses")
end)

t.case("independence: Proposition 1 of the row's keep-set", function()
  for _, row in ipairs(sweep({ metrics = { "independence" } }).rows) do
    t.near(row.prop_observed, 1 - row.eviction_rate, 1e-12)
    t.near(row.prop_general, 1 - row.null_model, 1e-12)
    if row.press == "full" then t.eq(row.prop_phi, nil) else t.ok(math.abs(row.prop_phi) < 1) end
  end
end)

t.case("routes: columns are those of the function; evicting everything but sinks leaves a narrower way", function()
  local rows, some = sweep({ metrics = { columns.routes { epsilon = .02 } }, ratios = { 0, .9 } }).rows, 0
  for _, row in ipairs(rows) do
    if row.route_direct then
      some = some + 1
      t.eq(row.route_reach, row.route_direct >= .02 and 1 or 0)
      t.ok(row.route_flow >= row.route_heads or row.route_heads == 0, "a direct read is a route")
      if row.ger_frac == 1 then t.eq(row.route_direct, 0) end
    end
  end
  t.ok(some >= 6)
end)

t.case("consensus of a hand-written row: sinks out, idle heads out, random sets of the same size", function()
  -- four heads over five tokens and one own: token 0 a sink; heads 1, 2 look at 2, head 3 at 3, head 4 only at the sink
  local a = ffi.new("float[24]", { .5, .1, .3, .1, 0, 0, .5, .1, .3, .1, 0, 0, .2, .1, .1, .5, 0, .1, .98, .01, 0, 0, 0,
    .01 })
  local m = heads_columns.layer(a, 4, 5, 6, { 1, 2, 3, 4 }, 4)
  t.eq(m.consensus, 2 / 4) -- tops 0, 0, 3, 0
  t.eq(m.idle, 1 / 4)
  t.near(m.rho, 2 / 3, 1e-6)
  t.near(m.c_star, 1 / 2, 1e-6) -- (2 - 1) / (min(3, 4) - 1)
  local out = ffi.new "float[24]"
  heads_columns.remask(a, out, 4, 2, 5, 6, function(h, token) return h == 0 or token < 2 end)
  t.near(out[2], .3, 1e-6) -- KV head 0 keeps everything
  t.near(out[12], .2 / .4, 1e-6)
  t.eq(out[15], 0)
  t.near(out[17], .1 / .4, 1e-6) -- own tokens stay
  local keep = require("kvbench.keep").all(1, 2, 20):set(0, 1, 5, 15, false)
  local kept = heads_columns.random_layer(keep, 0, { 4, 20 }, kv.rng.new "x")
  local n, first = 0, 0
  for token = 0, 19 do n, first = n + (kept(1, token) and 1 or 0), first + (kept(0, token) and 1 or 0) end
  t.eq({ n, first }, { 10, 20 })
  t.ok(kept(1, 0) and kept(1, 3))
end)

t.case("consensus in a sweep: of the full cache nothing is frozen; frozen and null keep as many tokens", function()
  local rows = sweep({ metrics = { "consensus", "answer_mass" } }).rows
  for _, row in ipairs(rows) do
    t.ok(row.consensus > 0 and row.consensus <= 1)
    t.ok(row.rho == nil or row.rho > 0 and row.rho <= 1)
    t.eq(row.consensus_frozen ~= nil, row.press ~= "full")
    t.eq(row.consensus_null ~= nil, row.press ~= "full")
    if row.answer_mass then t.ok(row.answer_mass >= 0 and row.answer_mass_placebo >= 0 and row.answer_mass < 1) end
  end
  local again = sweep({ metrics = { "consensus" }, trunk = false }).rows
  for i, row in ipairs(rows) do
    t.eq({ row.key, row.consensus_null }, { again[i].key, again[i].consensus_null })
  end
end)

t.case("an unknown name of a metric is told", function()
  t.fails(function() sweep { metrics = { "selectvity" } } end, "selectivity")
end)

t.case("the list of questions: its tokens, and those that give an answer away, by hand", function()
  local list = require "kvbench.metric.list"
  local text = "Who is Ann Lee? Was annals Ann? Text: Ann Lee."
  local offsets = {} -- one token a word, with the space before it
  for from, word in text:gmatch "()(%S+)" do offsets[#offsets + 1] = { math.max(0, from - 2), from - 1 + #word } end
  local span = { 0, 31 } -- both questions: tokens 0 to 6
  local got = list.tokens(offsets, text, span, { a = "Ann Lee", aliases = { "ann" } })
  t.eq(got.tokens, { 0, 1, 2, 3, 4, 5, 6 })
  t.eq(got.answer, { 2, 3, 6 }) -- not "annals", not the passage's
  -- two layers of one head: token 6 is kept nowhere, 2 and 4 in the first layer only
  local keep = dofile(paths.at "tests/lua/fake_keep.lua") { { "1111110111" }, { "1101010111" } }
  local view = eviction.view(keep)
  local columns = list.columns(view, offsets, text, span, { a = "Ann Lee", aliases = { "ann" } })
  t.near(columns.list_eviction_rate, 1 / 7, 1e-12)
  t.eq(columns.answer_in_list, true)
  t.near(columns.ger_list, 1 / 3, 1e-12)
  columns = list.columns(view, offsets, text, span, { a = "Zoe" })
  t.eq({ columns.answer_in_list, columns.ger_list }, { false })
  columns = list.columns(view, offsets, text, span, { a = "Ann", answerable = false })
  t.eq(columns.answer_in_list, nil)
end)

t.case("the list competes only where the whole context does, and only aware rows speak of it", function()
  for _, evictable in ipairs { "passage", "context" } do
    local rows = sweep({ regimes = { "agnostic", "aware" }, evictable = evictable, ratios = { 0, .9 } }).rows
    local most = 0
    for _, row in ipairs(rows) do
      t.eq(row.list_eviction_rate ~= nil, row.regime == "aware")
      t.eq(row.answer_in_list == true, row.ger_list ~= nil)
      most = math.max(most, row.list_eviction_rate or 0)
      if row.press == "full" and row.regime == "aware" then t.eq(row.list_eviction_rate, 0) end
    end
    t.eq(most > 0, evictable == "context")
  end
end)
