-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset make TASK --with MODEL|URL: Algorithm 1 with a model that writes.
local dataset = require "kvbench.dataset"
local provider = require "kvbench.dataset.llm.provider"
local run = require "kvbench.dataset.llm.run"
local text = require "kvbench.text"
local words = require "kvbench.words"

local M = {}

M.usage = [==[
kvbench dataset make TASK --with MODEL|URL [--model NAME] [--n N] [--out FILE] [options]
A model writes N records (default 10), each validated and, when rejected, asked for again with the reason.
  --with MODEL|URL     a model as kv.model.load takes it, or an OpenAI-compatible endpoint (http://host/v1)
  --model NAME         the model's name at the endpoint
  --key-variable NAME  environment variable of the endpoint's key (default OPENAI_API_KEY); it is never stored
  --tries N            answers a record (default 3)      --timeout S      seconds a call (default 120)
  --max-new N          tokens an answer (default 2000)   --temperature T  at an endpoint (default 0.8)
  --max-calls N, --max-tokens N, --max-seconds S   budget of the whole run, interruptions included (default: none)
  --pause S            seconds before trying again after a first failure, doubled each time (default 1)
  --fresh              forget an earlier run of the same --out
FILE.audit.jsonl keeps every prompt, answer and verdict; after an interruption the same command goes on.]==]

--- Options and their defaults.
M.defaults = { with = "", model = "", key_variable = "OPENAI_API_KEY", tries = 3, timeout = 120, max_new = 2000,
  temperature = 0.8, max_calls = 0, max_tokens = 0, max_seconds = 0, pause = 1, fresh = false }

local function reasons_of(result)
  local list = {}
  for reason, n in pairs(result.reasons) do list[#list + 1] = { n, reason } end
  table.sort(list, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] < b[2] end)
  local rows = {}
  for i = 1, math.min(#list, 8) do rows[i] = { list[i][1], list[i][2]:sub(1, 90) } end
  return #rows > 0 and "\n" .. text.columns(rows, "  ") or ""
end

--- Runs it; opt as kv.args made it. Returns the exit status.
function M.main(name, opt)
  for _, key in ipairs { "tries", "timeout", "max_new" } do
    if opt[key] <= 0 then words.misused("--%s wants a number above 0", key:gsub("_", "-")) end
  end
  local task = dataset.task(name)
  local out = opt.out ~= "" and opt.out or ("%s-llm-%s.jsonl"):format(task.name, opt.seed)
  local source = provider.open(opt.with, { model = opt.model ~= "" and opt.model or nil, timeout = opt.timeout,
    key_variable = opt.key_variable, temperature = opt.temperature })
  local n = opt.n > 0 and opt.n or 10
  local result = run.generate { task = task, provider = source, n = n, seed = opt.seed, tries = opt.tries,
    max_new = opt.max_new, max_calls = opt.max_calls, max_tokens = opt.max_tokens, max_seconds = opt.max_seconds,
    out = out, fresh = opt.fresh, pause = opt.pause, say = function(line)
      io.stderr:write(line, "\n")
    end }
  if source.close then source.close() end
  if result.set then result.set:save(out) end
  local answers = result.calls > 0 and ("%.0f %%"):format(100 * result.accepted / result.calls) or "-"
  print(("%s: %d of %d records accepted, %d given up; %d calls (%s of them gave a record), %d tokens, %s%s"):format(
    out, result.accepted, n, result.given_up, result.calls, answers, result.tokens, text.duration(result.seconds),
    reasons_of(result)))
  if result.stopped == "interrupted" then
    error(("interrupted: %d of %d records are done -> the same command goes on"):format(result.accepted, n), 0)
  end
  if result.stopped then
    error(("stopped after %d of %d records: %s -> the same command goes on"):format(result.accepted, n, result.stopped),
      0)
  end
  return result.accepted == n and 0 or 1
end

return M
