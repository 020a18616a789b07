-- SPDX-License-Identifier: Apache-2.0
-- Comparing an answer with a gold: clean-up, normalisation, token F1, word F1, contains, exact.
--
-- Two normalisations, because they answer different questions. `squad` is the published one (word F1 stays
-- comparable with other people's numbers). `norm` decides classes, so it also folds accents, typographic quotes and
-- dashes, possessives and digit grouping: "Xena Bell's" must contain "Xena Bell", and "3.5" must not equal "35" as
-- it does under `squad`.
local fold = require "kvbench.metric.fold"

local M = {}

-- Texts that decoders leave behind when special tokens are not skipped. The bars of some families are full-width.
local SPECIAL = {
  "<|[%w_%-:.]+|>", "<｜[^<>]-｜>", "</?s>", "<pad>", "<[be]os>", "<unk>", "<start_of_turn>", "<end_of_turn>",
  "%[INST%]", "%[/INST%]",
}

local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end
M.trim = trim

--- What of a generated string is the answer: leading white space goes first (a model that opens with a newline has not
--- stopped), then everything from the first special-token text or stop string on, then the rest is trimmed.
--- opt.stop: array of strings. Returns text, cut, where cut = "special" | "stop" | nil says what ended it.
function M.clean(answer, opt)
  local s = answer:gsub("^%s+", "")
  local at, cut = #s + 1, nil
  for _, pattern in ipairs(SPECIAL) do
    local i = s:find(pattern)
    if i and i < at then at, cut = i, "special" end
  end
  for _, stop in ipairs(opt and opt.stop or {}) do
    local i = stop ~= "" and s:find(stop, 1, true)
    if i and i < at then at, cut = i, "stop" end
  end
  return trim(s:sub(1, at - 1)), cut
end

local ARTICLE = { a = true, an = true, the = true }

local function without_articles(s)
  local out = {}
  for w in s:gmatch("%S+") do if not ARTICLE[w] then out[#out + 1] = w end end
  return table.concat(out, " ")
end

--- SQuAD normalisation: lower case, ASCII punctuation deleted, articles dropped, white space collapsed.
--- Source: Rajpurkar et al., arXiv:1606.05250, the evaluation script's order of steps.
function M.squad(s) return without_articles((fold.lower(s):gsub("%p", ""))) end

--- Normalisation for answer classes; see the head of this file.
function M.norm(s)
  s = fold.ascii(s)
  s = s:gsub("'s%f[%W]", " "):gsub("'", "")
  local n
  repeat s, n = s:gsub("(%d),(%d%d%d%f[%D])", "%1%2") until n == 0
  s = s:gsub("(%d)%.(%f[%d])", "%1\1%2"):gsub("%.", ""):gsub("%p", " "):gsub("\1", ".")
  local kept = without_articles(s)
  -- A grade "A" is a value, not an article.
  return kept ~= "" and kept or table.concat(M.split(s), " ")
end

--- Words of a normalised string, as an array.
function M.split(s)
  local out = {}
  for w in s:gmatch("%S+") do out[#out + 1] = w end
  return out
end

--- True when the words of `part` stand in `whole` side by side (both already normalised; "" is in nothing).
function M.has(whole, part)
  return part ~= "" and (" " .. whole .. " "):find(" " .. part .. " ", 1, true) ~= nil
end

--- F1 of the overlap of two bags (arrays of ids or strings). Two empty bags agree (1), one empty bag does not (0).
--- Returns f1, precision, recall.
function M.bag_f1(answer, gold)
  if #answer == 0 or #gold == 0 then
    local v = #answer == #gold and 1 or 0
    return v, v, v
  end
  local left, shared = {}, 0
  for _, t in ipairs(gold) do left[t] = (left[t] or 0) + 1 end
  for _, t in ipairs(answer) do
    if (left[t] or 0) > 0 then left[t], shared = left[t] - 1, shared + 1 end
  end
  if shared == 0 then return 0, 0, 0 end
  local p, r = shared / #answer, shared / #gold
  return 2 * p * r / (p + r), p, r
end

--- A function string -> ids from a tokenizer object (tok:encode) or a function; special tokens are not parsed in
--- answers.
function M.tokenize_with(tok)
  if type(tok) == "function" then return tok end
  return function(s) return (tok:encode(s, { special = false })) end
end

--- Token F1 under `tokenizer` (function string -> array, or a tokenizer object). Both texts are trimmed and otherwise
--- taken as they are (case counts), which is the plainest reading of the paper's "token level, LLaMA-3 tokenizer".
--- opt.lead: text put before both, e.g. " " so that the first word tokenizes as it does inside a sentence.
function M.token_f1(answer, gold, tokenizer, opt)
  local tokenize, lead = M.tokenize_with(tokenizer), opt and opt.lead or ""
  return M.bag_f1(tokenize(lead .. trim(answer)), tokenize(lead .. trim(gold)))
end

--- Word F1 after SQuAD normalisation.
function M.word_f1(answer, gold) return M.bag_f1(M.split(M.squad(answer)), M.split(M.squad(gold))) end

--- 1 when the gold stands in the answer as whole words (class normalisation), else 0. An echo of the question counts
--- here: use the answer classes where that matters.
function M.contains(answer, gold) return M.has(M.norm(answer), M.norm(gold)) and 1 or 0 end

--- 1 when answer and gold are equal after class normalisation and not empty, else 0.
function M.exact(answer, gold)
  local a = M.norm(answer)
  return (a ~= "" and a == M.norm(gold)) and 1 or 0
end

--- The question's gold and aliases, gold first.
function M.golds(question)
  local out = { question.a }
  for _, alias in ipairs(question.aliases or {}) do out[#out + 1] = alias end
  return out
end

--- Largest value of fn(answer, gold, ...) over an array of golds; returns value and the gold that gave it.
function M.best(fn, answer, golds, ...)
  local top, which = -1, nil
  for _, gold in ipairs(golds) do
    local v = fn(answer, gold, ...)
    if v > top then top, which = v, gold end
  end
  return top, which
end

return M
