-- SPDX-License-Identifier: Apache-2.0
-- Scores of answers: what counts as the same text, F1, containment.
local t = require "kvbench.testing"
local metric = require "kvbench.metric"
local text = metric.text

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
