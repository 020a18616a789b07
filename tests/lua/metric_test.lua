-- SPDX-License-Identifier: Apache-2.0
local t = require "kvbench.testing"
local metric = require "kvbench.metric"
local ratios = require "kvbench.ratios"
local text, eviction, evidence = metric.text, metric.eviction, metric.evidence

---------------------------------------------------------------------------------------------------- texts and scores

t.case("norm: what counts as the same text", function()
  for _, c in ipairs {
    { "The Mirath Bridge.", "mirath bridge" }, { "Xena Bell's", "xena bell" }, { "Xena Bell’s", "xena bell" },
    { "1,200,000 years", "1200000 years" }, { "3.5", "3.5" }, { "35.", "35" }, { "U.S.", "us" },
    { "twenty–one", "twenty one" }, { "José  Álvarez", "jose alvarez" }, { "JOSE\204\129", "jose" },
    { "“Šťastný” Łódź", "stastny lodz" }, { "1,2,3", "1 2 3" }, { "A", "a" }, { "...", "" },
    { "ΑΘΗΝΑ", "αθηνα" }, { "МОСКВА Ёлка", "москва ёлка" }, { "a\194\160b", "b" },
  } do
    t.eq(text.norm(c[1]), c[2], c[1])
  end
end)

t.case("squad: the published normalisation, accents kept, hyphens deleted", function()
  t.eq(text.squad("São Paulo's U.S. office"), "são paulos us office")
  t.eq(text.squad("twenty-one"), "twentyone")
  t.eq(text.squad("ÀÉ ŽÓ"), "àé žó")
end)

-- Computed with the SQuAD v1.1 evaluation formulas written out in Python (collections.Counter, re, string).
t.case("word F1 against the SQuAD formulas", function()
  for _, c in ipairs {
    { "The Mirath Bridge was designed by Xena Elwood.", "Xena Elwood", 4 / 9 },
    { "a sacred city built by the Itzaca people",
      "A sacred city built by the Itzaca, aligned with celestial cycles", 2 / 3 },
    { "twenty-one", "twenty one", 0 }, { "the the", "The", 1 }, { "x x y", "x y y", 2 / 3 },
    { "São Paulo's U.S. office", "são paulos us Office", 1 }, { "", "x", 0 }, { "x", "y", 0 },
  } do
    t.near(text.word_f1(c[1], c[2]), c[3], 1e-12, c[1])
  end
end)

t.case("token F1 is a bag overlap under any tokenizer", function()
  local function bytes(s) return { s:byte(1, -1) } end
  -- "abca" and "aabd": shared a a b = 3 of 4 and 4.
  t.near(text.token_f1("abca", "aabd", bytes), .75)
  t.near(text.token_f1("  ab\n", "ab", bytes), 1, 0)
  local f1, p, r = text.token_f1("abcd", "ab", bytes)
  t.near(f1, 2 / 3, 1e-12)
  t.near(p, .5)
  t.near(r, 1)
  t.near(text.token_f1("", "", bytes), 1)
  t.near(text.token_f1("", "a", bytes), 0)
  -- A tokenizer that marks word starts by their space, as byte-level BPE does: the gold's first word only matches
  -- inside a
  -- sentence when both texts start with a space.
  local function bpe(s)
    local out = {}
    for w in s:gmatch("%s?%S+") do out[#out + 1] = w end
    return out
  end
  t.near(text.token_f1("by Xena Bell", "Xena Bell", bpe), 2 * .5 * (1 / 3) / (.5 + 1 / 3), 1e-12)
  t.near(text.token_f1("by Xena Bell", "Xena Bell", bpe, { lead = " " }), .8, 1e-12)
  t.near(text.token_f1("abca", "aabd", { encode = function(_, s, o) return o.special == false and bytes(s), {} end }),
    .75)
end)

t.case("contains, exact, best over gold and aliases", function()
  t.eq(text.contains("It opened in 1888.", "1888"), 1)
  t.eq(text.contains("It opened in 18880.", "1888"), 0)
  t.eq(text.contains("anything", "?"), 0)
  t.eq(text.exact("the Gray Heron!", "gray heron"), 1)
  t.eq(text.exact("", ""), 0)
  local v, which = text.best(text.exact, "NYC", text.golds { a = "New York City", aliases = { "NYC", "New York" } })
  t.eq({ v, which }, { 1, "NYC" })
end)

t.case("clean: leading white space, stop strings, special tokens", function()
  for _, c in ipairs {
    { "\n Paris\nQ: next", { "\n" }, "Paris", "stop" }, { "Paris<|im_end|>\nmore", nil, "Paris", "special" },
    { "<|im_end|>", nil, "", "special" }, { " Paris ", { "\n" }, "Paris" }, { "a</s>b", { "b" }, "a", "special" },
    { "x<end_of_turn>", nil, "x", "special" }, { "if a < b | c > d", nil, "if a < b | c > d" },
    { "Paris Q: Who", { "", "Q:" }, "Paris", "stop" }, { "<｜end▁of▁sentence｜>", nil, "", "special" },
  } do
    local s, cut = text.clean(c[1], { stop = c[2] })
    t.eq({ s, cut }, { c[3], c[4] }, c[1])
  end
end)

---------------------------------------------------------------------------------------------------- answer classes

local record = {
  id = "r1", task = "base",
  passage = "The Mirath Bridge is a celebrated landmark in the coastal town of Kelmoraton. It was designed by the "
    .. "engineer Xena Elwood and opened in 1850. The Salt Gate was designed by Nyla Soren and opened in 1903. The "
    .. "Itzaca built a sacred city aligned with celestial cycles. Bell Tower stands there; a bell hangs in the Tower "
    .. "of Ilse. Its keeper is José Ibarra.",
  facts = {
    { id = "f1", subject = "Mirath Bridge", relation = "designer", value = "Xena Elwood" },
    { id = "f2", subject = "Salt Gate", relation = "designer", value = "Nyla Soren" },
    { id = "f3", subject = "Mirath Bridge", relation = "opened", value = "1850" },
    { id = "f4", subject = "Salt Gate", relation = "opened", value = "1903" },
    { id = "f5", subject = "city", relation = "what", value = "a sacred city aligned with celestial cycles" },
    { id = "f6", subject = "yard", relation = "sight", value = "Bell" },
    { id = "f7", subject = "square", relation = "sight", value = "Bell Tower" },
    { id = "f8", subject = "tower", relation = "keeper", value = "José Ibarra" },
  },
}
local who = { q = "Who designed the Mirath Bridge?", a = "Xena Elwood", fact_ids = { "f1" }, answer_type = "Person" }
local when = { q = "When did the Mirath Bridge open?", a = "1850", aliases = { "the year 1850" }, fact_ids = { "f3" } }
local what = { q = "What did they build?", a = "a sacred city aligned with celestial cycles", fact_ids = { "f5" } }
local first = { q = "What is Xena Elwood's first name?", a = "Xena", fact_ids = { "f1" },
  question_type = "manipulated" }
local reverse = { q = "What did Xena Elwood design?", a = "Mirath Bridge", fact_ids = { "f1" }, direction = "reverse" }
local sight = { q = "What is in the yard?", a = "Bell", fact_ids = { "f6" } }
local tower = { q = "What is in the square?", a = "Bell Tower", fact_ids = { "f7" } }
local keeper = { q = "Who keeps it?", a = "José Ibarra", fact_ids = { "f8" }, answer_type = "person" }
local none = { q = "How many windows does it have?", a = "None", fact_ids = {} }
local asked = { q = "Who, besides Nyla Soren, designed something?", a = "Xena Elwood", fact_ids = { "f1" } }
local unknown = { q = "When did she retire?", a = "I don't know", fact_ids = { "f3" }, answerable = false }
local examples = { { q = "Who painted the harbour?", a = "Marta Okafor" },
  "Read the following text and answer briefly based on it. Return only the answer.",
  "The Veil Observatory in Dornhaven was founded by Ruben Castell." }

-- question, answer, class, reason
local cases = {
  -- degenerate comes first, whatever the text holds
  { who, "", "degenerate", "empty" }, { who, " \n ", "degenerate", "empty" }, { who, "?!...", "degenerate", "empty" },
  { who, "<|im_end|>", "degenerate", "special_token" }, { who, "</s>Xena Elwood", "degenerate", "special_token" },
  { who, "Xena Elwood Xena Elwood Xena Elwood Xena Elwood", "degenerate", "loop" },
  { who, "so so so so so so", "degenerate", "loop" }, { who, "so so so so so", "ungrounded" },
  { who, "I don't know. I don't know. I don't know. I don't know.", "degenerate", "loop" },
  { who, ("ha"):rep(20), "degenerate", "loop" }, { when, "1,000,000,000,000", "ungrounded" },
  -- abstain
  { who, "I do not know.", "abstain" }, { who, "I don't know", "abstain" }, { who, "I don’t know.", "abstain" },
  { who, "Unknown", "abstain" }, { who, "N/A", "abstain" }, { who, "It is not mentioned in the passage.", "abstain" },
  { who, "The text does not mention who designed it.", "abstain" }, { who, "The passage doesn't say.", "abstain" },
  { who, "I do not know, maybe Xena Elwood.", "abstain" }, { who, "Sorry. I do not know.", "abstain" },
  { who, "The designer cannot be determined.", "abstain" }, { who, "The Unknown Soldier", "ungrounded" },
  { who, "The passage does not contain this.", "abstain" }, { who, "It can not be determined", "abstain" },
  { who, "It does not contain windows", "ungrounded" }, { who, "He was unable to swim", "ungrounded" },
  { who, "A wall that cannot be climbed", "ungrounded" }, { who, "It was impossible to tell.", "abstain" },
  { none, "None", "correct", "equal" }, { who, "None", "abstain" },
  -- correct
  { who, "Xena Elwood", "correct", "equal" }, { who, "xena elwood.", "correct", "equal" },
  { who, "The Mirath Bridge was designed by Xena Elwood.", "correct", "contained" },
  { who, "Xena Elwood's work<|im_end|>\nNyla Soren", "correct", "contained" },
  { who, "Xena Elwood. The passage does not mention anything else.", "correct", "contained" },
  { when, "The year 1850", "correct", "equal" }, { when, "in 1850, I think", "correct", "contained" },
  { what, "A sacred city that was aligned with the cycles", "correct", "token_f1" },
  { what, "A city", "other_in_context" }, { keeper, "Jose Ibarra", "correct", "equal" },
  { sight, "Bell", "correct", "equal" }, { sight, "A bell.", "correct", "equal" },
  { tower, "The Bell Tower", "correct", "equal" }, { reverse, "The Mirath Bridge", "correct", "equal" },
  { asked, "Besides Nyla Soren, Xena Elwood designed something", "correct", "contained" },
  { first, "Xena", "correct", "equal" }, { first, "Xena Elwood's first name is Xena.", "correct", "contained" },
  -- repeating the question is not answering it
  { first, "Xena Elwood's first name is Elwood.", "other_in_context" }, { first, "Xena Elwood", "other_in_context" },
  -- leak
  { who, "Marta Okafor", "leak", "example_answer" },
  { who, "It was Marta Okafor, the engineer.", "leak", "example_answer" },
  { who, "Ruben Castell", "leak", "example_text" }, { who, "Marta Okafor or Nyla Soren", "leak", "example_answer" },
  { who, "Read the following text and answer", "leak", "example_text" },
  { who, "Please read the following text and go", "leak", "prompt_run" },
  { who, "Who designed the Mirath Bridge?", "leak", "question_echo" },
  -- conflict
  { who, "Nyla Soren", "conflict", "rival" }, { who, "Xena Elwood and Nyla Soren", "conflict", "gold_and_rival" },
  { who, "Soren", "conflict", "part_of_rival" }, { when, "1903", "conflict", "rival" },
  { when, "1850 or 1903", "conflict", "gold_and_rival" }, { reverse, "Salt Gate", "conflict", "rival" },
  { sight, "Bell Tower", "conflict", "rival" }, { tower, "Bell", "conflict", "rival" },
  { who, "Xena Elixir, a local artist", "conflict", "corrupted_gold" },
  { who, "Xena Soren", "conflict", "corrupted_gold" },
  { keeper, "José Álvarez", "conflict", "corrupted_gold" }, { asked, "Nyla Soren", "conflict", "rival" },
  -- other in context, ungrounded, mixed
  { who, "1850", "other_in_context", "verbatim" }, { who, "Xena", "other_in_context", "partial_gold" },
  { who, "Xena, an engineer", "other_in_context", "recombined" },
  { who, "The Mirath Bridge is a celebrated landmark in the coastal town of Kelmoraton", "other_in_context",
  "verbatim" },
  { who, "The Mirath Bridge", "other_in_context", "question_words" },
  { who, "designed by a team of architects from the University", "ungrounded" }, { who, "Berlin", "ungrounded" },
  { who, "东京塔", "ungrounded" }, { who, "by the engineer Quillin Farrar", "mixed" }, { when, "opened in 1851", "mixed" },
  -- unanswerable: only abstaining is right; the tempting value is a conflict
  { unknown, "I don't know", "abstain" }, { unknown, "I don't know.", "abstain" },
  { unknown, "1850", "conflict", "rival" },
  { unknown, "1903", "conflict", "rival" }, { unknown, "She was happy", "ungrounded" },
  { unknown, "", "degenerate", "empty" },
}

for i, c in ipairs(cases) do
  t.case(string.format("class %d: %q", i, c[2]), function()
    local class, detail = metric.answer_class.classify { answer = c[2], question = c[1], record = record,
      examples = examples }
    t.eq(class, c[3], "class (" .. tostring(detail.reason) .. ", " .. tostring(detail.matched) .. ")")
    if c[4] then t.eq(detail.reason, c[4], "reason") end
    t.eq(detail.correct, c[1].answerable == false and class == "abstain" or class == "correct", "detail.correct")
  end)
end

local function classify(answer, question, more)
  local a = { answer = answer, question = question, record = record }
  for k, v in pairs(more or {}) do a[k] = v end
  return metric.answer_class.classify(a)
end

t.case("class: ids tell a special token that the decoder left out", function()
  local function special(id) return id < 10 end
  t.eq(classify("", who, { ids = { 2 }, special = special }), "degenerate")
  t.eq(classify("Xena Elwood", who, { ids = { 2, 50 }, special = special }), "degenerate")
  t.eq(classify("Xena Elwood", who, { ids = { 50, 51, 2 }, special = special }), "correct")
end)

t.case("class: stop strings end the answer before it is judged", function()
  t.eq(classify("Xena Elwood\nQ: and Nyla Soren", who, { stop = { "\n" } }), "correct")
  t.eq(classify("Xena Elwood\nQ: and Nyla Soren", who), "conflict")
end)

t.case("class: a closed slot pool brings rivals that the passage lacks", function()
  t.eq(classify("Orin Vale", who), "ungrounded")
  t.eq(classify("Orin Vale", who, { pool = { "Orin Vale", "Xena Elwood" } }), "conflict")
  t.eq(classify("Xena Elwood or Orin Vale", who, { pool = { "Orin Vale" } }), "conflict")
end)

t.case("class: token F1 of a long gold is .5 or nothing, and never beats a rival that fits as well", function()
  local function words(s) return text.split(s:lower()) end
  local q = { q = "?", a = "one two three four five six", fact_ids = {} }
  -- 3 of 6 and 3 of 6: F1 is exactly .5; 3 of 7 and 3 of 6 is under it.
  t.eq(classify("one two three x y z", q, { tokenizer = words }), "correct")
  t.ok(classify("one two three x y z w", q, { tokenizer = words }) ~= "correct", "below .5")
  local short = { q = "?", a = "one two three four", fact_ids = {} }
  t.ok(classify("one two three x", short, { tokenizer = words }) ~= "correct", "4 words need containment")
  t.ok(classify("one two three x y six", q, { tokenizer = words, pool = { "one two three x y seven" } }) ~= "correct",
    "rival fits")
end)

t.case("class: one class from the list for arbitrary answers", function()
  local r, known = require("kvbench.rng").new("classes"), {}
  for _, c in ipairs(metric.answer_class.classes) do known[c] = true end
  local pieces = { "Xena", "Elwood", "Nyla", "Soren", "1850", "I", "don't know", "Marta Okafor", "\n", "%",
    "<|im_end|>", "é",
    "\255\128", "the", "%d+[", "Bell", "unknown", ".", "," }
  for _ = 1, 500 do
    local s = {}
    for i = 1, r:int(0, 8) do s[i] = r:choice(pieces) end
    local class, detail = classify(table.concat(s, " "), r:choice { who, when, what, first, unknown },
      { examples = examples })
    t.ok(known[class], "class " .. tostring(class) .. " for " .. detail.text)
  end
end)

t.case("class: what the passage says too is no leak", function()
  for _, e in ipairs { "1850", "The Orrin Lighthouse opened in 1850 after a long winter.",
    "opened in 1850 the Salt" } do
    t.eq(classify("1850", who, { examples = { e } }), "other_in_context", e)
  end
  t.eq(classify("was designed by the engineer", who, { examples = { "It was designed by the engineer himself." } }),
    "other_in_context")
  t.eq(classify("1851", who, { examples = { "The Orrin Lighthouse opened in 1851 after a long winter." } }), "leak")
end)

t.case("class: missing arguments are one clear line", function()
  t.fails(function() metric.answer_class.classify { answer = "x" } end, "needs answer")
end)

t.case("rates: answerable and unanswerable apart", function()
  local rows = {
    { class = "correct", answerable = true }, { class = "leak", answerable = true },
    { class = "abstain", answerable = true },
    { class = "degenerate", answerable = true }, { class = "abstain", answerable = false },
    { class = "conflict", answerable = false }, { class = "mixed" }, { class = "correct" },
  }
  local r = metric.answer_class.rates(rows)
  t.eq(r.answerable.n, 6)
  t.near(r.answerable.correct, 2 / 6)
  t.near(r.answerable.hallucination, 2 / 6)
  t.near(r.answerable.abstention, 1 / 6)
  t.near(r.answerable.degenerate, 1 / 6)
  t.near(r.answerable.classes.leak, 1 / 6)
  t.near(r.unanswerable.correct_abstention, .5)
  t.near(r.unanswerable.false_answer, .5)
  t.eq(r.unanswerable.hallucination, nil)
  t.eq(metric.answer_class.rates({}).answerable.n, 0)
end)

t.case("score: one flat table for a row", function()
  local s = metric.score { answer = "Designed by Xena Elwood", question = who, record = record,
    tokenizer = function(x) return text.split(x) end, tokenizer_name = "words" }
  t.eq({ s.class, s.correct, s.hallucination, s.contains, s.exact, s.f1_tokenizer }, { "correct", 1, 0, 1, 0, "words" })
  t.near(s.f1, 2 / 3, 1e-12)
  t.near(s.word_f1, 2 / 3, 1e-12)
  local u = metric.score { answer = "1850", question = unknown, record = record }
  t.eq({ u.false_answer, u.answerable }, { 1, false })
  t.ok(u.hallucination == nil and u.f1 == nil and u.word_f1 == nil, "columns of the other side are absent")
end)

---------------------------------------------------------------------------------------------------- eviction

-- A keep-set from rows of 0/1 strings: grid[layer][head] = "1010...".
local function mock(grid)
  local keep = { layers = #grid, kv_heads = #grid[1], tokens = #grid[1][1] }
  function keep:kept(l, h, tok) return grid[l + 1][h + 1]:sub(tok + 1, tok + 1) == "1" end
  function keep:layer_counts()
    local c = {}
    for l = 0, self.layers - 1 do
      for tok = 0, self.tokens - 1 do
        local n = 0
        for h = 0, self.kv_heads - 1 do if self:kept(l, h, tok) then n = n + 1 end end
        c[l * self.tokens + tok] = n
      end
    end
    return c
  end
  function keep:span_cells(from, to)
    local n = 0
    for l = 0, self.layers - 1 do
      for h = 0, self.kv_heads - 1 do
        local all = true
        for tok = from, to - 1 do all = all and self:kept(l, h, tok) end
        if all then n = n + 1 end
      end
    end
    return n
  end
  return keep
end

-- Two layers of two heads over eight tokens; token 0 is the sink, tokens 1-7 are X.
--             01234567
local grid = {
  { "11010000", "11001000" },
  { "11010001", "10001000" },
}

t.case("GER of a hand-drawn keep-set", function()
  local v = eviction.view(mock(grid))
  -- Tokens 3 4: each kept by 2 of 4 cells, in both layers. Token 2: nowhere. Token 7: one cell, of layer 2 only.
  local g = eviction.ger(v, { 2, 3, 4, 7 })
  t.near(g.model, 1 / 4)
  t.near(g.layer, (2 / 4 + 1 / 4) / 2, 1e-12)
  t.near(g.frac, 1 - (0 + 2 + 2 + 1) / 16, 1e-12)
  t.eq({ g.all, g.any, g.n }, { 0, 1, 4 })
  t.eq(eviction.ger(v, { 2, 5 }).all, 1)
  t.eq(eviction.ger(v, { 3 }).any, 0)
  t.eq(eviction.ger_by_layer(v, { 2, 7 }), { { layer = 0, ger = 1 }, { layer = 1, ger = .5 } })
  t.ok(eviction.ger(v, {}) == nil and eviction.ger_model(v, nil) == nil, "undefined, not 0")
  t.near(eviction.ger_layer(v, { 7 }), .5)
  t.fails(function() eviction.ger(v, { 8 }) end, "position 8 is outside")
end)

t.case("GER at the ends: nothing evicted, everything evicted", function()
  local all, nothing = eviction.view(mock { { "111", "111" } }), eviction.view(mock { { "000", "000" } })
  for _, name in ipairs { "ger_model", "ger_layer", "ger_frac" } do
    t.eq(eviction[name](all, { 0, 1, 2 }), 0, name)
    t.eq(eviction[name](nothing, { 0, 1, 2 }), 1, name)
  end
end)

t.case("GER: forms are ordered, model <= layer <= frac", function()
  local r = require("kvbench.rng").new("forms")
  for _ = 1, 50 do
    local g = {}
    for l = 1, 3 do
      g[l] = {}
      for h = 1, 2 do
        local bits = {}
        for i = 1, 12 do bits[i] = r:uniform() < .3 and "1" or "0" end
        g[l][h] = table.concat(bits)
      end
    end
    local e = eviction.ger(eviction.view(mock(g)), { 1, 2, 5, 9, 11 })
    t.ok(e.model <= e.layer + 1e-12 and e.layer <= e.frac + 1e-12, "order")
  end
end)

t.case("GER restricted to some cells", function()
  local v = eviction.view(mock(grid), { cells = function(l, h) return l == 1 and h == 1 end })
  t.eq(v.cells, 1)
  t.near(eviction.ger_model(v, { 3, 4 }), .5)
  t.near(eviction.ger_layer(v, { 3, 4 }), .5)
  t.near(eviction.ger_frac(v, { 3, 4 }), .5)
  t.near(eviction.span_survival(v, { { 4, 5 }, { 3, 5 } }), 1)
  local top = eviction.view(mock(grid), { cells = function(l) return l == 0 end })
  t.eq(eviction.ger_by_layer(top, { 7 }), { { layer = 0, ger = 1 } })
  t.fails(function() eviction.view(mock(grid), { cells = function() return false end }) end, "no %(layer, head%) cell")
end)

t.case("span co-survival: tokens may survive while no head holds them together", function()
  local v = eviction.view(mock(grid))
  t.eq(eviction.ger_model(v, { 3, 4 }), 0)
  t.eq(eviction.span_survival(v, { { 3, 5 } }), 0)
  t.near(eviction.span_survival(v, { { 3, 5 }, { 3, 4 } }), .5)
  t.near(eviction.span_survival(v, { { 0, 2 } }), .75)
  t.eq(eviction.span_survival(v, {}), nil)
  t.fails(function() eviction.span_survival(v, { { 5, 9 } }) end, "not inside")
end)

t.case("effective ratio, eviction rate, independence null, k_eff", function()
  local v, x = eviction.view(mock(grid)), { 1, 2, 3, 4, 5, 6, 7 }
  -- Kept of X per cell: 2, 2, 3, 1 of 7.
  t.near(eviction.effective_ratio(v, x), 1 - 8 / 28, 1e-12)
  t.near(eviction.ger_model(v, x), 3 / 7, 1e-12)
  local null = eviction.independent_null(v, x)
  t.near(null.model, (5 / 7) * (5 / 7) * (4 / 7) * (6 / 7), 1e-12)
  t.near(null.layer, ((5 / 7) ^ 2 + (4 / 7) * (6 / 7)) / 2, 1e-12)
  t.near(null.evicted_share, 20 / 28, 1e-12)
  -- Three independent heads that each evict .8: .8^3.
  t.near(eviction.k_eff(.512, .8), 3, 1e-12)
  t.ok(eviction.k_eff(0, .8) == nil and eviction.k_eff(.5, 1) == nil and eviction.k_eff(nil, .5) == nil, "undefined")
end)

-- kappa from sklearn.metrics.cohen_kappa_score on the same bits: 0.5 and 0.5; jaccard by hand 3/5 and 2/4.
t.case("agreement of two keep-sets", function()
  local x = { 0, 1, 2, 3, 4, 5, 6, 7 }
  local a = eviction.agreement(eviction.view(mock { { "11010010" } }), eviction.view(mock { { "10011010" } }), x)
  t.near(a.kappa, .5, 1e-12)
  t.near(a.jaccard, 3 / 5, 1e-12)
  local b = eviction.agreement(eviction.view(mock { { "10000010" } }), eviction.view(mock { { "10011010" } }), x)
  t.near(b.kappa, .5, 1e-12)
  t.near(b.jaccard, 2 / 4, 1e-12)
  local same = eviction.agreement(eviction.view(mock(grid)), eviction.view(mock(grid)), { 1, 2, 3, 4, 5, 6, 7 })
  t.near(same.kappa, 1)
  t.near(same.jaccard, 1)
  local full = eviction.agreement(eviction.view(mock { { "1111" } }), eviction.view(mock { { "1111" } }), { 0, 1 })
  t.eq({ full.kappa, full.kappa_cells, full.jaccard }, { nil, 0, 1 })
  t.fails(function() eviction.agreement(eviction.view(mock(grid)), eviction.view(mock { { "1" } }), { 0 }) end,
    "differ in shape")
end)

t.case("agreement: independent random sets have kappa 0 and Jaccard p / (2 - p)", function()
  local r = require("kvbench.rng").new("agreement")
  local function random()
    local heads = {}
    for h = 1, 4 do
      local bits = {}
      for i = 1, 4000 do bits[i] = r:uniform() < .4 and "1" or "0" end
      heads[h] = table.concat(bits)
    end
    return eviction.view(mock { heads })
  end
  local x = {}
  for i = 1, 4000 do x[i] = i - 1 end
  local a = eviction.agreement(random(), random(), x)
  t.near(a.kappa, 0, .03)
  t.near(a.jaccard, .4 / 1.6, .02)
end)

------------------------------------------------------------ evidence and placebo

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
  local v = eviction.view(mock { { bits(function(i) return i < 6 end), bits(function(i) return i < 4 end) } })
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
  local v = eviction.view(mock { { "1100100" }, { "1010000" } })
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

---------------------------------------------------------------------------------------------------- ratios

t.case("ratios: grids, rounding, range", function()
  t.eq(ratios.paper, { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9 })
  t.eq(ratios.cliff, { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .925, .95, .97, .98, .99 })
  t.ok(ratios.round(.1 + .2) == .3, "0.30000000000000004 is 0.3")
  t.ok(ratios.round("0.9") == .9 and ratios.round(.12345678) == .123457, "strings, six decimals")
  t.eq(ratios.list("0.5, .1,0.5"), { .1, .5 })
  t.eq(ratios.list("paper"), ratios.paper)
  t.eq(ratios.list(.5), { .5 })
  for _, bad in ipairs { 1, 1.5, -.1, 90, 0 / 0, .9999999, -1e-9 } do
    local err = t.fails(function() ratios.round(bad) end, "^ratio: ")
    t.ok(not err:find("\n"), "one line")
  end
  t.fails(function() ratios.round("ten") end, "'ten' is not a number")
  t.fails(function() ratios.list({}) end, "list is empty")
end)

-- Python: max(1, int(n * (1 - r))) for n, r in the list.
t.case("ratios: tokens kept, in double", function()
  for _, c in ipairs {
    { 10, .9, 1 }, { 100, .9, 9 }, { 250, .9, 24 }, { 251, .1, 225 }, { 1000, .7, 300 }, { 1, .99, 1 }, { 5, 0, 5 },
    { 1450, .3, 1014 }, { 100, .1 + .2, 70 }, { 200, .95, 10 }, { 333, .925, 24 }, { 90, .8, 17 },
  } do
    t.eq(ratios.n_kept(c[1], c[2]), c[3], c[1] .. " at " .. c[2])
  end
  t.fails(function() ratios.n_kept(0, .5) end, "at least 1")
  t.fails(function() ratios.n_kept(2.5, .5) end, "whole number")
end)
