-- SPDX-License-Identifier: Apache-2.0
-- The questions that stand before the passage in the aware regimes: they compete with it for room, and may give an
-- answer away. Their tokens are tagged by the prompt; an answer is looked for in them as text, since the list has no
-- provenance: whole words, any case, the gold or an alias.
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"

local M = {}

-- Byte spans of `words` in text[from, to), whole words, any case.
local function occurrences(text, from, to, words)
  local low, out, at = text:lower(), {}, from + 1
  local wanted = words:lower()
  while wanted ~= "" do
    local first, last = low:find(wanted, at, true)
    if not first or last > to then return out end
    if not low:sub(first - 1, first - 1):find "%w" and not low:sub(last + 1, last + 1):find "%w" then
      out[#out + 1] = { first - 1, last }
    end
    at = first + 1
  end
  return out
end

--- The list's tokens, and those of a question's answer in it: {tokens, answer} (positions, ascending). offsets: of the
--- context's tokens; text: the context; span: the list's bytes in it.
function M.tokens(offsets, text, span, question)
  local spans = {}
  for _, words in ipairs { question.a, unpack(question.aliases or {}) } do
    for _, found in ipairs(occurrences(text, span[1], span[2], words)) do spans[#spans + 1] = found end
  end
  return { tokens = evidence.tokens_of(offsets, { span }), answer = evidence.tokens_of(offsets, spans) }
end

--- Columns of a question under a keep-set's view: list_eviction_rate (share of the list's tokens that no cell keeps),
--- answer_in_list (does the list name the answer?) and, where it does, ger_list over those tokens. Unanswerable
--- questions have the first only.
function M.columns(view, offsets, text, span, question)
  local t = M.tokens(offsets, text, span, question)
  local list = eviction.ger(view, t.tokens)
  local out = { list_eviction_rate = list and list.model }
  if question.answerable ~= false then
    local given = eviction.ger(view, t.answer)
    out.answer_in_list, out.ger_list = given ~= nil, given and given.model
  end
  return out
end

return M
