-- SPDX-License-Identifier: Apache-2.0
-- How the long-context suites score an answer: one function per rule, chosen by record.suite. RULER: arXiv:2404.06654;
-- LongBench: arXiv:2308.14508 and its published evaluation. Scores lie in [0, 1].
local text = require "kvbench.metric.text"

local M = {}

--- RULER: share of the answers that the text holds, case aside.
function M.all_of(answer, golds)
  local lower, hits = answer:lower(), 0
  for _, gold in ipairs(golds) do if lower:find(gold:lower(), 1, true) then hits = hits + 1 end end
  return #golds > 0 and hits / #golds or 0
end

-- Length of the longest common subsequence of two lists; O(n) memory.
local function common(a, b)
  local row = {}
  for j = 0, #b do row[j] = 0 end
  for i = 1, #a do
    local diagonal = 0
    for j = 1, #b do
      local above = row[j]
      row[j] = a[i] == b[j] and diagonal + 1 or math.max(above, row[j - 1])
      diagonal = above
    end
  end
  return row[#b]
end

local function best(golds, fn)
  local top = 0
  for _, gold in ipairs(golds) do top = math.max(top, fn(gold)) end
  return top
end

--- Word F1 after SQuAD normalisation, best over the golds.
function M.qa_f1(answer, golds)
  return best(golds, function(gold) return (text.word_f1(answer, gold)) end)
end

--- ROUGE-L F1 over lower-case words, best over the golds. LongBench's package also splits at full stops before it
-- matches, so its numbers differ by a few points on long summaries.
function M.rouge_l(answer, golds)
  local a = text.split(answer:lower())
  return best(golds, function(gold)
    local g = text.split(gold:lower())
    local n = common(a, g)
    return n > 0 and 2 * n / (#a + #g) or 0
  end)
end

--- Classes: 1 / (classes named), when the right one is among them; a class inside the right one's name does not count.
function M.classification(answer, golds, classes)
  return best(golds, function(gold)
    local named, right = 0, false
    for _, class in ipairs(classes or {}) do
      if answer:find(class, 1, true) and (class == gold or not gold:find(class, 1, true)) then
        named = named + 1
        right = right or class == gold
      end
    end
    return right and 1 / named or 0
  end)
end

local function share_of_numbers(answer, wanted)
  local n, right = 0, 0
  for number in answer:gmatch("%d+") do
    n = n + 1
    if number == wanted then right = right + 1 end
  end
  return n > 0 and right / n or 0
end

--- Of the numbers named, the share that is the right one.
function M.count(answer, golds) return best(golds, function(gold) return share_of_numbers(answer, gold) end) end

--- "Paragraph 12": of the numbers named, the share that is 12.
function M.retrieval(answer, golds)
  return best(golds, function(gold) return share_of_numbers(answer, gold:match("Paragraph (%d+)") or gold) end)
end

local function characters(s)
  local list = {}
  for c in s:gmatch("[%z\1-\127\194-\244][\128-\191]*") do list[#list + 1] = c end
  return list
end

--- Code: similarity of the first line that is neither a comment nor a fence, 2 common / (a + b), rounded to a percent.
function M.code(answer, golds)
  local first = ""
  for line in answer:gsub("^\n+", ""):gmatch("[^\n]+") do
    if not line:find("`", 1, true) and not line:find("#", 1, true) and not line:find("//", 1, true) then
      first = line
      break
    end
  end
  local a = characters(first)
  return best(golds, function(gold)
    local g = characters(gold)
    return #a + #g > 0 and math.floor(100 * 2 * common(a, g) / (#a + #g) + 0.5) / 100 or 0
  end)
end

-- LongBench's data sets; "first" = only the first line of the answer counts.
local longbench = { trec = { "classification", "first" }, lsht = { "classification", "first" },
  triviaqa = { "qa_f1", "first" }, samsum = { "rouge_l", "first" }, passage_count = { "count" },
  passage_retrieval_en = { "retrieval" }, lcc = { "code" }, ["repobench-p"] = { "code" } }
for name in ("narrativeqa qasper multifieldqa_en hotpotqa 2wikimqa musique"):gmatch("%S+") do
  longbench[name] = { "qa_f1" }
end
for name in ("gov_report qmsum multi_news"):gmatch("%S+") do longbench[name] = { "rouge_l" } end

--- The rule of a suite's name: "ruler/vt" -> "all_of", "hotpotqa" -> "qa_f1"; an unknown one -> nil. LongBench-E's "_e"
-- is taken off. LongBench's Chinese sets need a word segmenter that is not here: nil.
function M.rule(suite)
  if type(suite) ~= "string" then return nil end
  if suite:find("^ruler/") then return "all_of" end
  local spec = longbench[suite] or longbench[suite:match("^(.*)_e$") or ""]
  if spec then return spec[1], spec[2] end
end

--- Scores an answer to a suite's question. Returns the score and the rule's name, or nil when the suite has no rule
-- here.
function M.score(record, question, answer)
  local rule, first = M.rule(record.suite)
  if not rule then return nil end
  if first then answer = answer:gsub("^\n+", ""):match("^[^\n]*") end
  local golds = rule == "all_of" and (question.answers or { question.a }) or text.golds(question)
  return M[rule](answer, golds, record.classes), rule
end

return M
