-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench paper-grid: minutes for the paper's whole grid, from a sample of each of its seven tasks.
--
-- Each task is a stratum: `seconds` of it are run at its own passage length and number of questions, with the three
-- presses, nine ratios and the full cache; the rate is then scaled to the task's passages. Table 1 of arXiv:2603.01426.
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

-- Passages of a task to run for about `seconds`, judged from a first few.
local function sample(model, shape, seconds, total)
  shape.passages = math.min(total, math.max(1, math.ceil(600 / (shape.questions * 28))))
  local first = shaped.run(model, shape)
  shape.passages = math.min(total, math.max(shape.passages, math.ceil(shape.passages * seconds / first.seconds)))
  return shaped.run(model, shape)
end

--- opt: seconds (a task and regime), question_tokens, new, tokens_per_word, prompt_tokens, list_tokens, presses.
function M.run(model, opt)
  local out = { tasks = {}, minutes = { agnostic = 0, aware = 0 }, continuations = 0, questions = 0,
    limit_flops = shaped.limit(model),
    assumption = M.assumption:format(opt.tokens_per_word, opt.prompt_tokens, opt.list_tokens, opt.question_tokens,
      opt.new) }
  for _, task in ipairs(M.tasks) do
    local row = { task = task.name, passages = task.passages, questions = task.passages * task.questions }
    for _, regime in ipairs { "agnostic", "aware" } do
      local tokens = math.floor(task.words * opt.tokens_per_word + opt.prompt_tokens)
      if regime == "aware" then tokens = tokens + task.questions * opt.list_tokens end
      local work = sample(model, { tokens = tokens, questions = task.questions, question_tokens = opt.question_tokens,
        new_tokens = opt.new, presses = opt.presses, ratios = shaped.ratios }, opt.seconds, task.passages)
      local passages = work.continuations / (task.questions * (1 + #opt.presses * #shaped.ratios))
      row[regime] = { context_tokens = tokens, sampled_passages = passages, sampled_seconds = work.seconds,
        continuations_per_s = work.continuations / work.seconds, minutes = work.seconds / passages * task.passages / 60,
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
