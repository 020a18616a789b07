-- SPDX-License-Identifier: Apache-2.0
-- What kind of answer is this? Exactly one class each, the first that fits:
-- degenerate, abstain, correct, leak, conflict, other_in_context, ungrounded, mixed.
--
-- The order is the point. A collapsed format is not a hallucination, so it goes first; an abstention that also names
-- something is still an abstention; a gold beside a rival value is a conflict, because a model that lists every
-- candidate knows nothing. Rejected: one similarity score with cut-offs, which cannot tell a neighbour's value from
-- an invention.
local text = require "kvbench.metric.text"
local abstain = require "kvbench.metric.abstain"
local slots = require "kvbench.metric.slots"
local leak = require "kvbench.metric.leak"

local M = {}

--- The classes, in order of precedence.
M.classes = { "degenerate", "abstain", "correct", "leak", "conflict", "other_in_context", "ungrounded", "mixed" }

-- The classes that make up H: an answer was given, and it is wrong.
M.wrong = { leak = true, conflict = true, other_in_context = true, ungrounded = true, mixed = true }

-- A word this long holds no spaces because its script has none (or because it is a loop): it counts by characters.
local UNSPACED_BYTES = 24

local function units(norm)
  local out = {}
  for w in norm:gmatch("%S+") do
    if #w <= UNSPACED_BYTES then
      out[#out + 1] = w
    else
      for c in w:gmatch("[%z\1-\127\194-\244][\128-\191]*") do out[#out + 1] = c end
    end
  end
  return out
end

-- Occurrences may overlap: "so so so so so so" holds its 4-gram three times.
local function loops(norm)
  local u, seen = units(norm), {}
  for i = 1, #u - 3 do
    local gram = table.concat(u, " ", i, i + 3)
    seen[gram] = (seen[gram] or 0) + 1
    if seen[gram] == 3 then return gram end
  end
end

local function all_special(ids, special)
  for _, id in ipairs(ids) do if not special(id) then return false end end
  return true
end

local function degenerate(a, norm, cut)
  if a.ids and a.special then
    if a.ids[1] ~= nil and a.special(a.ids[1]) or (#a.ids > 0 and all_special(a.ids, a.special)) then
      return "special_token"
    end
  end
  if norm == "" then return cut == "special" and "special_token" or "empty" end
  local gram = loops(norm)
  if gram then return "loop", gram end
end

local function raw_word_count(s)
  local _, n = s:gsub("%S+", "")
  return n
end

-- A long gold may be paraphrased, so overlap decides; but not when a rival overlaps as well or better.
local function long_match(a, cleaned, golds, rivals)
  for _, gold in ipairs(golds) do
    if raw_word_count(gold) > 4 then
      local function f1(against)
        if a.tokenizer then return (text.token_f1(cleaned, against, a.tokenizer)) end
        return (text.bag_f1(text.split(text.norm(cleaned)), text.split(text.norm(against))))
      end
      local score = f1(gold)
      if score >= .5 then
        local beaten = false
        for _, r in ipairs(rivals) do beaten = beaten or f1(r.raw) >= score end
        if not beaten then return gold, score end
      end
    end
  end
end

-- Why an answer to an answerable question is correct, or nil.
local function correct(a, cleaned, norm, s)
  for _, g in ipairs(s.golds) do if norm == g then return "equal", g end end
  local found = slots.locate(norm, s)
  if found.rival_outside_question then return nil end
  if found.gold then return "contained", found.gold end
  local gold, score = long_match(a, cleaned, s.raw_golds, s.rivals)
  if gold then return "token_f1", gold, score end
end

--- Classifies one answer.
---   answer    generated text, as decoded (special-token texts may be in it)
---   ids       generated ids (array), optional; special: function(id) -> true for special tokens, optional
---   stop      strings that end an answer, optional
---   question  {q, a, aliases, fact_ids, direction, answer_type, answerable}; answerable = nil counts as true
---   record    the passage's record (passage, facts)
---   examples  strings of the prompt that are not the passage: example answers, example passages, the instruction;
---     tables are
---             searched for strings
---   pool      closed slot pool: array of values, optional
---   tokenizer function string -> ids or tokenizer object, for the overlap of golds over 4 words; words when nil
--- Returns class, detail: {text, norm, reason, matched, correct, answerable}. detail.correct is what scores the
--- question: class "correct" when answerable, class "abstain" when not.
function M.classify(a)
  if type(a.answer) ~= "string" or not a.question or not a.record then
    error("answer_class.classify: needs answer (string), question and record -> pass the sweep's row as it is", 0)
  end
  local question = a.question
  local answerable = question.answerable ~= false
  local cleaned, cut = text.clean(a.answer, { stop = a.stop })
  local norm = text.norm(cleaned)
  local detail = { text = cleaned, norm = norm, answerable = answerable, correct = false }
  local function result(class, reason, matched)
    detail.reason, detail.matched = reason, matched
    if class == "correct" or (class == "abstain" and not answerable) then detail.correct = true end
    return class, detail
  end

  local why, what = degenerate(a, norm, cut)
  if why then return result("degenerate", why, what) end

  local s = slots.of(a.record, question, a.pool)
  local equals_gold = false
  for _, g in ipairs(answerable and s.golds or {}) do equals_gold = equals_gold or g == norm end
  -- A value that reads like an abstention ("None") is the answer when the passage says so.
  local phrase = not equals_gold and abstain.find(cleaned)
  if phrase then
    local found = slots.locate(norm, s)
    detail.hedged = (found.gold or found.rival) and true or false
    return result("abstain", "phrase", phrase)
  end

  if answerable then
    local reason, matched, score = correct(a, cleaned, norm, s)
    if reason then
      detail.f1 = score
      return result("correct", reason, matched)
    end
  end

  local leaked, kind = leak.find(norm, a.examples, a.record, question)
  if leaked then return result("leak", kind, leaked) end

  local rival, how = slots.conflict(cleaned, norm, s, answerable and question or nil)
  if rival then return result("conflict", how, rival) end

  return result(slots.grounding(norm, a.record, question, s))
end

--- The numbers a class stands for, as columns of a result row; nil columns are undefined for that kind of question,
--- so that a curve over any of them never pools answerable and unanswerable questions.
--- Answerable: correct, hallucination (H), abstention (U), degenerate. Unanswerable: correct_abstention, false_answer,
--- degenerate_unanswerable.
function M.columns(class, answerable)
  local function is(v) return v and 1 or 0 end
  local wrong = M.wrong[class] or false
  if answerable ~= false then
    return { correct = is(class == "correct"), hallucination = is(wrong), abstention = is(class == "abstain"),
      degenerate = is(class == "degenerate") }
  end
  return { correct_abstention = is(class == "abstain"), false_answer = is(wrong),
    degenerate_unanswerable = is(class == "degenerate") }
end

--- Rates over rows {class =, answerable =}: { answerable = {n, correct, hallucination, ..., classes = {share of each}},
--- unanswerable = {...} }; a side without rows has n = 0 and no rates.
function M.rates(rows)
  local out = {}
  for _, side in ipairs { "answerable", "unanswerable" } do out[side] = { n = 0, classes = {} } end
  for _, row in ipairs(rows) do
    local side = out[row.answerable ~= false and "answerable" or "unanswerable"]
    side.n = side.n + 1
    side.classes[row.class] = (side.classes[row.class] or 0) + 1
    for name, v in pairs(M.columns(row.class, row.answerable)) do side[name] = (side[name] or 0) + v end
  end
  for _, side in pairs(out) do
    for name, v in pairs(side) do
      if type(v) == "number" and name ~= "n" then side[name] = v / side.n end
    end
    for class, v in pairs(side.classes) do side.classes[class] = v / side.n end
  end
  return out
end

return M
