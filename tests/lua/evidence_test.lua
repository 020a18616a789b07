-- SPDX-License-Identifier: Apache-2.0
-- From spans of bytes to tokens, placebos, columns of a row, and the decomposition of failures.
local t = require "kvbench.testing"
local metric = require "kvbench.metric"
local eviction, evidence = metric.eviction, metric.evidence
local fake_keep = dofile(require("kvbench.paths").at "tests/lua/fake_keep.lua")

-- One token per word; the context is "<sys> Read:\n" and then the passage. Words carry their leading space, as BPE's
-- do.
local function words_with_offsets(s)
  local offsets, at = {}, 0
  for w in s:gmatch("%s*%S+") do
    offsets[#offsets + 1] = { at, at + #w }
    at = at + #w
  end
  return offsets
end

local prefix = "You are helpful. Read: "
local passage = "Ana Cruz built Vell Gate in 1850 . Later Ivo Marr of Dorn restored it in 1903 for Lia Senn and "
  .. "others . The gate built by Ana Cruz still stands near the old river ."
local function span(s, n)
  local from = 0
  for _ = 1, n or 1 do from = passage:find(s, from + 1, true) end
  return { from - 1, from - 1 + #s }
end
local story = {
  id = "s1", passage = passage,
  facts = {
    { id = "a", subject = "Vell Gate", relation = "builder", value = "Ana Cruz", mentions = {
      { value = span "Ana Cruz", binding = { span "built", span "Vell Gate" } },
      { value = span("Ana Cruz", 2), binding = { span("built", 2) } } } },
    { id = "b", subject = "Vell Gate", relation = "restorer", value = "Ivo Marr of Dorn",
      mentions = { { value = span "Ivo Marr of Dorn", binding = { span "restored" } } } },
    { id = "c", subject = "Vell Gate", relation = "year", value = "1850",
      mentions = { { value = span "1850", binding = { span "built" } } } },
    { id = "d", subject = "it", relation = "for", value = "Lia Senn", mentions = { { value = span "Lia Senn",
    binding = {} } } },
  },
}
local builder = { q = "Who built Vell Gate?", a = "Ana Cruz", fact_ids = { "a" } }
local offsets = words_with_offsets(prefix .. passage)
local index = evidence.index(story, offsets, { base = #prefix })

t.case("byte spans become the tokens that overlap them", function()
  local o = { { 0, 0 }, { 0, 3 }, { 3, 5 }, { 5, 5 }, { 5, 9 } }
  t.eq(evidence.tokens_of(o, { { 3, 5 } }), { 2 })
  t.eq(evidence.tokens_of(o, { { 2, 6 } }), { 1, 2, 4 })
  t.eq(evidence.tokens_of(o, { { 0, 1 }, { 8, 9 } }), { 1, 4 })
  t.eq(evidence.tokens_of(o, { { 9, 12 }, { 4, 4 } }), {})
  t.eq(evidence.tokens_of(o, { { 0, 1 } }, 3), { 2 })
end)

t.case("index and evidence of a question", function()
  -- Context words: You are helpful. Read: (0-3), then Ana 4, Cruz 5, built 6, Vell 7, Gate 8, in 9, 1850 10,
  -- ... built 29, by 30, Ana 31, Cruz 32.
  t.eq(index.passage, { 4, #offsets })
  t.eq(index.x[1], 4)
  local e = evidence.of(index, builder)
  t.eq(e.mentions, { { 4, 6 }, { 31, 33 } })
  t.eq(e.answer, { 4, 5, 31, 32 })
  t.eq(e.binding, { 6, 7, 8, 29 })
  t.eq(e.lure, nil)
  local u = evidence.of(index, { q = "?", fact_ids = { "c" }, answerable = false })
  t.eq({ u.answer, u.lure }, { nil, { 10 } })
  t.eq(evidence.of(index, { q = "?", fact_ids = {} }).answer, nil)
  -- A question that cites a fact rests on that fact's value and binding too: 1850 and "built".
  t.eq(evidence.of(index, { q = "Who built it in 1850?", fact_ids = { "a" }, cue_ids = { "c" } }).binding,
    { 6, 7, 8, 10, 29 })
  t.eq(evidence.index(story, offsets, { base = #prefix, sinks = 6 }).x[1], 6)
  t.fails(function() evidence.of(index, { q = "?", fact_ids = { "zz" } }) end, "names fact 'zz'")
  t.fails(function() evidence.index(story, offsets, { base = 10000 }) end, "overlaps none")
end)

t.case("gender-bearing tokens: the value and the pronouns of its binding", function()
  local s = "Ana is female . She paints ."
  local r = { id = "g", passage = s, facts = { { id = "g", relation = "gender", mentions = {
    { value = { 7, 13 }, binding = { { 0, 3 }, { 4, 6 }, { 16, 19 } } } } } } }
  local i = evidence.index(r, words_with_offsets(s), { sinks = 0 })
  t.eq(evidence.of(i, { q = "?", fact_ids = {}, answerable = false }).gender, { 2, 4 })
end)

t.case("placebo: length-matched, away from the evidence, decided by the seed", function()
  local p = evidence.placebo(index, builder, { draws = 20 })
  t.eq({ #p.facts, #p.windows }, { 20, 20 })
  local forbidden, values = {}, {}
  for tok = 0, 3 do forbidden[tok] = true end
  local e = evidence.of(index, builder)
  for _, set in ipairs { e.answer, e.binding } do for _, tok in ipairs(set) do forbidden[tok] = true end end
  for _, id in ipairs { "b", "c", "d" } do
    local v = index.facts[id][1].value
    for tok = v[1], v[2] - 1 do values[tok] = true end
  end
  for _, kind in ipairs { "facts", "windows" } do
    for _, set in ipairs(p[kind]) do
      t.eq(#set, 4, kind)
      local hits = 0
      for i, tok in ipairs(set) do
        t.ok(not forbidden[tok], kind .. " touches the evidence at " .. tok)
        t.ok(tok >= index.passage[1] and tok < index.passage[2], "inside the passage")
        t.ok(i == 1 or tok > set[i - 1], "ascending, unique")
        if values[tok] then hits = hits + 1 end
      end
      -- Two windows of two tokens, each on another fact's value: one of "1850" covers it with one neighbour.
      if kind == "facts" then t.ok(hits >= 3, "windows lie on values") end
    end
  end
  t.eq(evidence.placebo(index, builder, { draws = 20 }), p)
  t.ok(#evidence.placebo(index, builder, { draws = 3 }).facts == 3, "draws")
  local differs = false
  for i, set in ipairs(evidence.placebo(index, builder, { draws = 20, seed = "other" }).windows) do
    for j, tok in ipairs(set) do differs = differs or tok ~= p.windows[i][j] end
  end
  t.ok(differs, "another seed draws other windows")
  t.eq(evidence.placebo(index, { q = "?", fact_ids = { "c" }, answerable = false }), nil)
end)

t.case("placebo: no room gives an empty list, not an unmatched control", function()
  local tight = { id = "t", passage = "a b c", facts = { { id = "a", mentions = { { value = { 0, 3 },
    binding = {} } } } } }
  local p = evidence.placebo(evidence.index(tight, words_with_offsets "a b c", { sinks = 0 }), { q = "?",
    fact_ids = { "a" } })
  t.eq(p, { facts = {}, windows = {} })
end)

t.case("columns of a question and of its passage", function()
  local T = #offsets
  local function bits(kept)
    local s = {}
    for i = 1, T do s[i] = kept(i - 1) and "1" or "0" end
    return table.concat(s)
  end
  -- One head keeps the sinks and the first mention, the other the sinks only.
  local v = eviction.view(fake_keep { { bits(function(i) return i < 6 end), bits(function(i) return i < 4 end) } })
  local c = evidence.columns(v, index, builder)
  t.near(c.ger_model, .5)
  t.near(c.ger_frac, .75)
  t.near(c.ger_model_binding, 1)
  t.near(c.ger_model_placebo, 1)
  t.near(c.ger_model_window, 1)
  t.near(c.span_survival, .5)
  t.eq({ c.e_all, c.e_any, c.evidence }, { 0, 1, "partly_erased" })
  local p = evidence.passage_columns(v, index)
  t.near(p.effective_ratio, 1 - 2 / (2 * (T - 4)), 1e-12)
  t.near(p.eviction_rate, 1 - 2 / (T - 4), 1e-12)
  t.near(p.null_model, 1 - 2 / (T - 4), 1e-12)
  local u = evidence.columns(v, index, { q = "?", fact_ids = { "c" }, answerable = false })
  t.ok(u.ger_model == nil and u.ger_model_placebo == nil and u.evidence == nil and u.e_all == nil,
    "undefined is absent")
  t.near(u.ger_model_lure, 1)
  t.eq(evidence.columns(v, index, builder, { degenerate = true }).evidence, "format_collapse")
end)

t.case("evidence classes in order of precedence", function()
  --                                0123456
  local v = eviction.view(fake_keep { { "1100100" }, { "1010000" } })
  local function class(answer, binding, degenerate)
    return metric.decomposition.evidence_class(v, { answer = answer, binding = binding, degenerate = degenerate })
  end
  t.eq(class({ 3, 5 }, { 1 }), "value_erased")
  t.eq(class({ 1, 3 }, { 5 }), "partly_erased")
  t.eq(class({ 1, 2 }, { 4, 5 }), "binding_erased")
  t.eq(class({ 1, 2 }, { 4 }), "all_kept")
  t.eq(class({ 1 }, {}), "all_kept")
  t.eq(class({ 3 }, { 1 }, true), "format_collapse")
  t.eq(class(nil, { 1 }), nil)
end)

t.case("decomposition adds up to the rise in failures", function()
  local rows = {
    { failed = true, failed0 = false, evidence = "value_erased" }, { failed = 1, failed0 = 0, evidence = "all_kept" },
    { failed = false, failed0 = true, evidence = "all_kept" },
    { failed = true, failed0 = true, evidence = "partly_erased" },
    { failed = true, failed0 = false, evidence = "format_collapse" },
    { failed = 0, failed0 = 0, evidence = "all_kept" },
    { failed = true, failed0 = false, evidence = "value_erased" },
    { failed = false, failed0 = false, evidence = "binding_erased" },
    { failed = true, failed0 = false },
  }
  local d = metric.decomposition.decompose(rows)
  t.eq({ d.n, d.undefined }, { 8, 1 })
  -- Pr(F) = 5/8, Pr(F_0) = 2/8.
  t.near(d.total, 3 / 8, 1e-12)
  t.near(d.losses, 4 / 8, 1e-12)
  t.near(d.gains, 1 / 8, 1e-12)
  local sum = 0
  for _, p in ipairs(d.parts) do sum = sum + p.delta end
  t.near(sum, d.total, 1e-12)
  t.eq({ d.parts[1].class, d.parts[1].delta, d.parts[2].delta, d.parts[5].delta },
    { "format_collapse", 1 / 8, 2 / 8, 0 })
  t.fails(function() metric.decomposition.decompose { { evidence = "lost" } } end, "unknown evidence class 'lost'")
end)
