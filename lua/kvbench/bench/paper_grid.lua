-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench paper-grid: minutes for the paper's whole grid, from a sample of each of its seven tasks.
--
-- Each task is a stratum: `seconds` of it are run at its own passage length and number of questions, with the three
-- presses, nine ratios and the full cache; the rate is then scaled to the task's passages. Table 1 of arXiv:2603.01426.
-- Token counts are assumed from words, or, where the model has a tokenizer, those of the real tasks and prompts.
local dataset = require "kvbench.dataset"
local prompt = require "kvbench.prompt"
local shaped = require "kvbench.bench.shaped"
local C = require("kvbench.ffi").C

local M = {}

-- words of a passage, questions each, passages
M.tasks = {
  { name = "base", words = 175, questions = 6, passages = 200 },
  { name = "knowledge", words = 32, questions = 13, passages = 4000 },
  { name = "multi_presence", words = 500, questions = 10, passages = 100 },
  { name = "multi_entity", words = 500, questions = 10, passages = 100 },
  { name = "long_context", words = 1100, questions = 10, passages = 100 },
  { name = "coreference", words = 44, questions = 9, passages = 8000 },
  { name = "hops", words = 1100, questions = 16, passages = 100 },
}

M.assumption = "tokens of a context = %.2g x words + %d for the prompt; aware adds %d tokens a question to the list; "
  .. "%d appended and %d answer tokens, stop tokens ignored"

M.measured = "tokens of contexts, appended questions and answers (one more for the stop token) are means of %d passages "
  .. "of each task, %s prompt, tokenizer of %s; stop tokens ignored"

local MEASURED_PASSAGES = 8

-- Shape of a task by the numbers assumed of all.
local function assumed(task, regime, opt)
  local tokens = math.floor(task.words * opt.tokens_per_word + opt.prompt_tokens)
  if regime == "aware" then tokens = tokens + task.questions * opt.list_tokens end
  return { tokens = tokens, question_tokens = opt.question_tokens, new_tokens = opt.new }
end

-- Shape of a task as the tokenizer sees its first passages.
local function counted(model, task, regime, style)
  local records = dataset(task.name, { size = MEASURED_PASSAGES }).records
  local context, question, answer, n = 0, 0, 0, 0
  for _, record in ipairs(records) do
    local p = prompt.render(style, record, { regime = regime, idk_example = false, model = model })
    context = context + #model:ids(p.context)
    for _, q in ipairs(record.questions) do
      question, answer, n = question + #model:ids(p.suffix(q)), answer + #model:ids(q.a) + 1, n + 1
    end
  end
  local function mean(sum, count) return math.max(1, math.floor(sum / count + .5)) end
  return { tokens = mean(context, #records), question_tokens = mean(question, n), new_tokens = mean(answer, n) }
end

-- Passages of a task to run for about `seconds`, judged from a first few.
local function sample(model, shape, seconds, total)
  shape.passages = math.min(total, math.max(1, math.ceil(600 / (shape.questions * 28))))
  local first = shaped.run(model, shape)
  shape.passages = math.min(total, math.max(shape.passages, math.ceil(shape.passages * seconds / first.seconds)))
  return shaped.run(model, shape)
end

--- opt: seconds (a task and regime), presses; style of the prompt where the model has a tokenizer, else question_tokens,
--- new, tokens_per_word, prompt_tokens, list_tokens.
function M.run(model, opt)
  local out = { tasks = {}, minutes = { agnostic = 0, aware = 0 }, continuations = 0, questions = 0,
    limit_flops = shaped.limit(model),
    assumption = model.tokenizer and M.measured:format(MEASURED_PASSAGES, opt.style, opt.tokenizer)
      or M.assumption:format(opt.tokens_per_word, opt.prompt_tokens, opt.list_tokens, opt.question_tokens, opt.new) }
  for _, task in ipairs(M.tasks) do
    local row = { task = task.name, passages = task.passages, questions = task.passages * task.questions }
    for _, regime in ipairs { "agnostic", "aware" } do
      local shape = model.tokenizer and counted(model, task, regime, opt.style) or assumed(task, regime, opt)
      shape.questions, shape.presses, shape.ratios = task.questions, opt.presses, shaped.ratios
      local work = sample(model, shape, opt.seconds, task.passages)
      local passages = work.continuations / (task.questions * (1 + #opt.presses * #shaped.ratios))
      row[regime] = { context_tokens = shape.tokens, question_tokens = shape.question_tokens,
        new_tokens = shape.new_tokens, sampled_passages = passages, sampled_seconds = work.seconds,
        continuations_per_s = work.continuations / work.seconds,
        minutes = work.seconds / passages * task.passages / 60,
        flops_share = work.flops / work.seconds / out.limit_flops,
        prefill_share = work.prefill_seconds / work.seconds, score_share = work.score_seconds / work.seconds }
      out.minutes[regime] = out.minutes[regime] + row[regime].minutes
      if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
    end
    out.continuations = out.continuations + row.questions * (1 + #opt.presses * #shaped.ratios)
    out.questions = out.questions + row.questions
    out.tasks[#out.tasks + 1] = row
  end
  return out
end

--- The table that is printed without --json.
function M.report(out)
  local line = "%-15s %7s questions  %6.1f min agnostic (%5.0f/s, %2.0f %% of the products' rate)  %6.1f min aware"
  for _, row in ipairs(out.tasks) do
    print(line:format(row.task, row.questions, row.agnostic.minutes, row.agnostic.continuations_per_s,
      100 * row.agnostic.flops_share, row.aware.minutes))
  end
  print(("whole grid: %d questions, %d continuations a regime: %.1f minutes agnostic, %.1f aware"):format(out.questions,
    out.continuations, out.minutes.agnostic, out.minutes.aware))
  print("assumed: " .. out.assumption)
end

return M
