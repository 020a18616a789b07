-- SPDX-License-Identifier: Apache-2.0
-- Word extraction. cwe: a numbered list in which `common` words stand `often` times each and all others `seldom` times;
-- name the common ones. fwe: coded words whose counts fall as 1 / rank ^ alpha; name the three most frequent.
local hay = require "kvbench.dataset.suite.hay"

local M = {}

local onset, vowel = { "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z" }, { "a", "e", "i", "o",
  "u" }

local function words_of(n, syllables, r)
  local seen, list = {}, {}
  while #list < n do
    local parts = {}
    for i = 1, syllables do parts[i] = r:choice(onset) .. r:choice(vowel) end
    local word = table.concat(parts)
    if not seen[word] then
      seen[word] = true
      list[#list + 1] = word
    end
  end
  return list
end

-- Writes the words in order; returns the text and, word -> spans.
local function write(order, numbered)
  local w, spans = hay.writer(), {}
  for i, word in ipairs(order) do
    if i > 1 then w.put(" ") end
    if numbered then w.put(i .. ". ") end
    spans[word] = spans[word] or {}
    table.insert(spans[word], w.put(word))
  end
  return table.concat(w.parts), spans
end

local function finish(order, numbered, answers, q)
  local passage, spans = write(order, numbered)
  local facts, ids = {}, {}
  for i, word in ipairs(answers) do
    local mentions = {}
    for k, span in ipairs(spans[word]) do
      mentions[k] = { sentence = { span[1], span[2] }, value = span, binding = {} }
    end
    facts[i] = { id = "f" .. i, subject = "list", relation = "frequent word", type = "Thing", value = word,
      mentions = mentions }
    ids[i] = facts[i].id
  end
  return { passage = passage, facts = facts, questions = { { q = q, a = table.concat(answers, ", "), aliases = {},
    answers = answers, fact_ids = ids, cue_ids = {}, direction = "forward", answer_type = "Thing",
    question_type = "part", hop = 0, depth = 0, answerable = true } } }
end

local function repeated(counts, r)
  local order = {}
  for _, item in ipairs(counts) do for _ = 1, item[2] do order[#order + 1] = item[1] end end
  return r:shuffle(order)
end

local function common_words(p, r, measure)
  local pool = words_of(p.common + 4000, 3, r)
  local function counts(n)
    local list = {}
    for i = 1, p.common do list[i] = { pool[i], p.often } end
    for i = 1, n do list[p.common + i] = { pool[p.common + i], p.seldom } end
    return list
  end
  local seed = r:fork("order")
  local function order_of(n)
    local copy = require("kvbench.rng").new(seed.seed)
    return repeated(counts(n), copy)
  end
  local n = hay.most(function(k) return k <= 4000 and measure((write(order_of(k), true))) <= p.length end,
    ("%d words of %d times"):format(p.common, p.often))
  return finish(order_of(n), true, { unpack(pool, 1, p.common) },
    ("Which %d words stand most often in the list?"):format(p.common))
end

local function frequent_words(p, r, measure)
  local pool = words_of(1000, 3, r)
  -- The k-th word's share of `total`; the first three are kept apart from the fourth and from each other.
  local function counts(total)
    local norm, list = 0, {}
    for k = 1, #pool do norm = norm + 1 / k ^ p.alpha end
    for k = 1, #pool do
      local c = math.floor(total / norm / k ^ p.alpha)
      if k <= 4 then c = math.max(c, 5 - k) end
      if c >= 1 then list[#list + 1] = { pool[k], c } end
    end
    for k = 3, 1, -1 do list[k][2] = math.max(list[k][2], list[k + 1][2] + 1) end
    return list
  end
  local seed = r:fork("order").seed
  local function order_of(n) return repeated(counts(n + 10), require("kvbench.rng").new(seed)) end
  local n = hay.most(function(k) return k <= 200000 and measure((write(order_of(k), false))) <= p.length end,
    "a few coded words")
  return finish(order_of(n), false, { unpack(pool, 1, 3) },
    "Which three words stand most often in the coded text?")
end

function M.make(kind, p, r, measure) return (kind == "cwe" and common_words or frequent_words)(p, r, measure) end

return M
