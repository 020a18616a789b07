-- SPDX-License-Identifier: Apache-2.0
-- What a dataset is like, in numbers: lengths, variety, repetition, tags, where the answers stand. Takes any records
-- (one's own and imported ones too); one pass, records are not kept.
local M = {}

M.VARIETY_WORDS = 20000 -- ratios of types to tokens fall with size, so every dataset is judged on this many words

local function words_of(s)
  local list = {}
  for word in s:lower():gmatch("[%w\128-\255'-]+") do list[#list + 1] = word end
  return list
end

local function count(t, key) t[key] = (t[key] or 0) + 1 end

local function range() return { n = 0, sum = 0, min = math.huge, max = 0 } end

local function add(r, v)
  r.n, r.sum, r.min, r.max = r.n + 1, r.sum + v, math.min(r.min, v), math.max(r.max, v)
  r.mean = r.sum / r.n
end

-- Sentences of a passage, names and numbers taken out: what is left is the skeleton that templates repeat.
local function skeletons(passage)
  local out = {}
  for sentence in (passage:gsub("\n", " ") .. " "):gmatch("(.-[.!?])%s") do
    out[#out + 1] = (sentence:gsub("%f[%w]%u[%w']*", "N"):gsub("%d[%d,]*", "0"):gsub("N[ N]*N", "N"))
  end
  return out
end

--- Measures records.
--   each       iterator of records (ds:records(), kv.dataset.each(...))
--   tokenizer  with :encode(text) -> ids, or nil: tokens are then left out
-- Returns { records, questions, words, tokens, answer_words = {n, mean, min, max}, ttr, distinct4 (types, and different
-- 4-grams, per word of the first 20,000 words), sentences, templates (different skeletons: sentences without names and
-- numbers), repeated (share of sentences whose skeleton occurs in another place too), twice (sentences whose skeleton
-- the same passage has already), question_templates, same_passages, same_questions (twice in a passage), positions (ten
-- bins: share of the answers in each tenth of the passage, by the first mention; names, which stand in many places, are
-- left out), answer_types, question_types, directions, hops, depths (counts), unanswerable }.
function M.of(each, tokenizer)
  local m = { records = 0, questions = 0, words = range(), tokens = range(), answer_words = range(), answer_types = {},
    question_types = {}, directions = {}, hops = {}, depths = {}, unanswerable = 0, same_passages = 0,
    twice = 0, same_questions = 0, positions = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } }
  local seen, skeleton_counts, question_counts, located = {}, {}, {}, 0
  local types, grams, total, type_count, gram_count = {}, {}, 0, 0, 0
  for record in each do
    local passage, by_id, asked = record.passage, {}, {}
    m.records = m.records + 1
    if seen[passage] then m.same_passages = m.same_passages + 1 end
    seen[passage] = true
    local list = words_of(passage)
    local _, spaced = passage:gsub("%S+", "")
    add(m.words, spaced)
    if tokenizer then add(m.tokens, #tokenizer:encode(passage)) end
    for i = 1, #list do
      if total == M.VARIETY_WORDS then break end
      total = total + 1
      if not types[list[i]] then types[list[i]], type_count = true, type_count + 1 end
      local gram = table.concat(list, " ", i, math.min(i + 3, #list))
      if not grams[gram] then grams[gram], gram_count = true, gram_count + 1 end
    end
    local here = {}
    for _, s in ipairs(skeletons(passage)) do
      count(skeleton_counts, s)
      if here[s] then m.twice = m.twice + 1 end
      here[s] = true
    end
    for _, fact in ipairs(record.facts or {}) do by_id[fact.id] = fact end
    for _, q in ipairs(record.questions) do
      m.questions = m.questions + 1
      if asked[q.q] then m.same_questions = m.same_questions + 1 end
      asked[q.q] = true
      count(m.answer_types, q.answer_type or "none")
      count(m.question_types, q.question_type or "none")
      count(m.directions, q.direction or "none")
      count(m.hops, q.hop or 0)
      count(m.depths, q.depth or 0)
      count(question_counts, q.template or q.q)
      if q.answerable == false then m.unanswerable = m.unanswerable + 1 else
        add(m.answer_words, select(2, q.a:gsub("%S+", "")))
      end
      for _, id in ipairs(q.answerable ~= false and q.fact_ids or {}) do
        local mention = by_id[id] and by_id[id].relation ~= "name" and by_id[id].mentions[1]
        if mention then
          local bin = math.floor(mention.value[1] / #passage * 10) + 1
          m.positions[bin], located = m.positions[bin] + 1, located + 1
        end
      end
    end
  end
  for bin = 1, 10 do m.positions[bin] = located > 0 and m.positions[bin] / located or 0 end
  m.ttr, m.distinct4 = type_count / math.max(1, total), gram_count / math.max(1, total)
  m.sentences, m.templates, m.question_templates = 0, 0, 0
  local again = 0
  for _, n in pairs(skeleton_counts) do
    m.sentences, m.templates = m.sentences + n, m.templates + 1
    if n > 1 then again = again + n end
  end
  for _ in pairs(question_counts) do m.question_templates = m.question_templates + 1 end
  m.repeated = again / math.max(1, m.sentences)
  return m
end

return M
