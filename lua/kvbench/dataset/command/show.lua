-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset show TASK|FILE [N]: one record for the eye.
local mark = require "kvbench.mark"
local open = require "kvbench.dataset.command.open"
local prompt = require "kvbench.prompt"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench dataset show TASK|FILE [N] [--question K] [--seed TEXT] [--style NAME] [--regime NAME] [--model NAME]
Record N (default 1): its passage with the facts' values marked (bold, else [[value|fact]]) and what binds them to their
subject underlined, its questions with answers and tags, and the prompt that is made of it.
  --question K   mark the evidence of question K alone, and show its prompt
  --length N, --set NAME=VALUE,...   of a ruler/ task
  --style, --regime, --model   of the prompt (paper, agnostic, none; kvbench prompt show prints it whole)]==]

local function spans_of(record, wanted)
  local spans = {}
  for _, fact in ipairs(record.facts) do
    if not wanted or wanted[fact.id] then
      for _, m in ipairs(fact.mentions or {}) do
        spans[#spans + 1] = { m.value[1], m.value[2], "value", fact.id }
        for _, b in ipairs(m.binding or {}) do spans[#spans + 1] = { b[1], b[2], "binding" } end
      end
    end
  end
  return spans
end

local function evidence(q)
  local ids = table.concat(q.fact_ids or {}, " ")
  return (q.cue_ids and #q.cue_ids > 0) and ids .. " from " .. table.concat(q.cue_ids, " ") or ids
end

local function print_questions(record, chosen, colour)
  local rows = { { "", "question", "answer", "direction", "answer type", "question type", "hop/depth", "evidence" } }
  for i, q in ipairs(record.questions) do
    if not chosen or i == chosen then
      rows[#rows + 1] = { i .. ".", q.q, q.answerable == false and q.a .. " (unanswerable)" or q.a, q.direction or "-",
        q.answer_type or "-", q.question_type or "-", ("%s/%s"):format(q.hop or "-", q.depth or "-"), evidence(q) }
    end
  end
  print("\n" .. mark.bold("questions", colour))
  print(text.columns(rows, "  "))
end

local function print_prompt(record, q, opt, colour)
  local p = prompt.render(opt.style, record, { regime = opt.regime, question = q,
    model = opt.model ~= "" and opt.model or nil })
  local passage = p.context:sub(p.passage_span[1] + 1, p.passage_span[2])
  local shown = #passage > 120 and passage:sub(1, 50):gsub("%s*$", "") .. mark.dim((" ...%d bytes... "):format(#passage
    - 100), colour) .. passage:sub(-50):gsub("^%s*", "") or passage
  print("\n" .. mark.bold(("prompt: %s, %s, template %s"):format(opt.style, opt.regime, p.template), colour))
  print(p.context:sub(1, p.passage_span[1]) .. shown .. p.context:sub(p.passage_span[2] + 1))
  print(mark.dim("-------- the cache is compressed here --------", colour))
  print((p.suffix(q)))
end

return function(rest)
  local names, opt = words.split(rest, { question = 0, seed = "A", style = "paper", regime = "agnostic", model = "",
    form = "", length = 0, set = { "" } }, USAGE)
  local n = tonumber(names[2] or 1)
  if #names < 1 or #names > 2 or not n or n < 1 or n ~= math.floor(n) then
    words.misused("kvbench dataset show wants a task or file and a whole number -> kvbench dataset show --help")
  end
  local record = open.record(names[1], n, { seed = opt.seed, length = opt.length,
    set = opt.set[1] ~= "" and opt.set or nil, form = opt.form ~= "" and opt.form or nil })
  local chosen = opt.question > 0 and opt.question or nil
  local q = record.questions[chosen or 1]
  if not q then
    words.misused("record %s has %d questions, not %s", record.id, #record.questions, tostring(chosen))
  end
  local wanted
  if chosen then
    wanted = {}
    for _, id in ipairs(q.fact_ids or {}) do wanted[id] = true end
    for _, id in ipairs(q.cue_ids or {}) do wanted[id] = true end
  end
  local colour = mark.coloured()
  local width = require("kvbench.ffi").C.kvb_terminal_width(1)
  local _, count = record.passage:gsub("%S+", "")
  print(mark.bold(("%s (%s%s): %d words, %d facts, %d questions"):format(record.id, record.task,
    record.domain and ", " .. record.domain or "", count, #record.facts, #record.questions), colour) .. "\n")
  print(mark.spans(mark.wrap(record.passage, width > 40 and math.min(width - 1, 120) or 100), spans_of(record, wanted),
    colour))
  print_questions(record, chosen, colour)
  print_prompt(record, q, opt, colour)
end
