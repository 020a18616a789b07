-- SPDX-License-Identifier: Apache-2.0
-- Evidence for questions that came without: the sentence of the passage that recalls most of the answer (ROUGE-L
-- recall), and in it the answer's own content words. Used only where at least half of the content words are found;
-- what is left out is counted, since it is not left out at random: freely worded answers go first.
--
-- This is a guess where a generator's or SQuAD's spans are facts: facts made here are called "aligned", and questions
-- that have facts keep them. Source: Lin, "ROUGE", 2004 (the longest common subsequence).
local sentences = require "kvbench.dataset.sentences"
local slots = require "kvbench.metric.slots"
local text = require "kvbench.metric.text"

local M = {}

--- The least share of an answer's content words that must be found in one sentence.
M.coverage = .5

-- Words of passage[from, to) as a normalized answer has them, with their bytes less the punctuation around:
-- {norm, from, to}. 3.5 is one word; "well-known" is two, at the same bytes.
local function words_of(passage, from, to)
  local out = {}
  for at, word in passage:sub(from + 1, to):gmatch "()(%S+)" do
    local before, inner = word:match "^([^%w\128-\255]*)(.-)[^%w\128-\255]*$"
    local first = from + at - 1 + #before
    for norm in text.norm(inner):gmatch "%S+" do
      out[#out + 1] = { norm = norm, from = first, to = first + #inner }
    end
  end
  return out
end

-- Indices in `words` of a longest common subsequence with the list `gold`; of equal ones, the last in the text.
local function common(gold, words)
  local n, m, length = #gold, #words, {}
  for i = 0, n do length[i] = { [0] = 0 } end
  for j = 0, m do length[0][j] = 0 end
  for i = 1, n do
    for j = 1, m do
      length[i][j] = gold[i] == words[j].norm and length[i - 1][j - 1] + 1
        or math.max(length[i - 1][j], length[i][j - 1])
    end
  end
  local out, i, j = {}, n, m
  while i > 0 and j > 0 do
    if gold[i] == words[j].norm then
      table.insert(out, 1, j)
      i, j = i - 1, j - 1
    elseif length[i - 1][j] >= length[i][j - 1] then i = i - 1 else j = j - 1 end
  end
  return out
end

local function set(list)
  local out = {}
  for _, w in ipairs(list) do out[w] = true end
  return out
end

-- Spans of neighbouring words among those that count.
local function runs(words, indices, counts)
  local out, last = {}, nil
  for _, j in ipairs(indices) do
    if counts[words[j].norm] then
      if last == j - 1 then out[#out][2] = words[j].to else out[#out + 1] = { words[j].from, words[j].to } end
      last = j
    end
  end
  return out
end

--- Where a passage says what answers a question: {sentence, values = byte spans of the answer's content words in it,
--- recall (ROUGE-L), coverage (share of content words)}, or nil where no sentence has a word of it.
function M.find(passage, question)
  local best
  for _, answer in ipairs { question.a, unpack(question.aliases or {}) } do
    local gold = {}
    for w in text.norm(answer):gmatch "%S+" do gold[#gold + 1] = w end
    local content = slots.content(table.concat(gold, " "), "")
    local counts = set(#content > 0 and content or gold)
    for _, sentence in ipairs(sentences.spans(passage, true)) do
      local words = words_of(passage, sentence[1], sentence[2])
      local indices = common(gold, words)
      local recall = #gold > 0 and #indices / #gold or 0
      if recall > (best and best.recall or 0) then
        local found = 0
        for _, j in ipairs(indices) do found = found + (counts[words[j].norm] and 1 or 0) end
        best = { sentence = sentence, recall = recall, values = runs(words, indices, counts),
          coverage = found / (#content > 0 and #content or #gold) }
      end
    end
  end
  return best
end

--- Records with a fact of relation "aligned" for every answerable question that has none and whose answer is found;
--- counts = {given (had facts), aligned, excluded (not found)}. Records are copied where they change.
function M.records(records)
  local out, n = {}, { given = 0, aligned = 0, excluded = 0 }
  for i, record in ipairs(records) do
    local copy = { facts = { unpack(record.facts or {}) }, questions = {} }
    for key, value in pairs(record) do copy[key] = copy[key] or value end
    for q, question in ipairs(record.questions) do
      copy.questions[q] = question
      if question.answerable ~= false and #(question.fact_ids or {}) > 0 then n.given = n.given + 1
      elseif question.answerable ~= false then
        local found = M.find(record.passage, question)
        if found and found.coverage >= M.coverage and #found.values > 0 then
          local asked, mentions, id = {}, {}, "aligned-" .. q
          for key, value in pairs(question) do asked[key] = value end
          for k, span in ipairs(found.values) do
            mentions[k] = { sentence = found.sentence, value = span, binding = {} }
          end
          copy.facts[#copy.facts + 1] = { id = id, relation = "aligned", value = question.a, mentions = mentions }
          asked.fact_ids, copy.questions[q], n.aligned = { id }, asked, n.aligned + 1
        else n.excluded = n.excluded + 1 end
      end
    end
    out[i] = copy
  end
  return out, n
end

return M
