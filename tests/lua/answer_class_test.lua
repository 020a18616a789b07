-- SPDX-License-Identifier: Apache-2.0
-- Answer classes, one example each and their precedence; rates.
local t = require "kvbench.testing"
local metric = require "kvbench.metric"
local text = metric.text

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
