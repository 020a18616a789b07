-- SPDX-License-Identifier: Apache-2.0
-- kvbench prompt show | list: what a model is given, byte by byte, and where the cache is compressed.
local chat = require "kvbench.prompt.chat"
local mark = require "kvbench.mark"
local prompt = require "kvbench.prompt"
local text = require "kvbench.text"
local words = require "kvbench.words"

local M = {}

M.overview = [==[
kvbench prompt show TASK|FILE [N]   the prompt of record N: context | compression | question, with spans and tokens
kvbench prompt list                 styles, regimes and chat templates, and which of them are checked]==]

local USAGE = [==[
kvbench prompt show TASK|FILE [N] [--style NAME] [--regime NAME] [--model NAME] [--template NAME] [--question K]
Prints the whole prompt of record N: what is in the cache before compression, the line where it is compressed, and what
is appended after it. Evidence of the question is marked; bytes (and tokens, with --model) say what may be evicted.
  --style NAME      paper, fewshot (default paper)
  --regime NAME     agnostic, aware, aware_one (default agnostic)
  --model NAME      a model, for its chat template and its tokens
  --template NAME   a chat template instead of the model's: kvbench prompt list
  --question K      the question asked (default 1)
  --idk-example     show that "I don't know" may be an answer
  --seed TEXT       of a task's records (default A)]==]

local function nonempty(s) return s ~= "" and s or nil end

-- Tokens of a text as the sweep takes them, or nil without a tokenizer.
local function counter(name)
  local model = require "kvbench.model"
  local source = model.source(name)
  local tokenizer = model.tokenizer(source)
  local info = { name = name, chat_template = source.chat_template, family = source.family }
  if source.close then source:close() end
  if not tokenizer then return nil, info end
  return function(s) return #tokenizer:encode(s, { special = true }) end, info
end

local function evidence(record, q, p)
  local spans, wanted = {}, {}
  for _, id in ipairs(q.fact_ids or {}) do wanted[id] = true end
  for _, fact in ipairs(record.facts or {}) do
    for _, m in ipairs(wanted[fact.id] and fact.mentions or {}) do
      local from, to = p.map_span(m.value[1], m.value[2])
      spans[#spans + 1] = { from, to, "value", fact.id }
    end
  end
  return spans
end

local function part_row(name, s, count, note)
  return { name, #s .. " bytes", count and count(s) .. " tokens" or "", note }
end

local function summary(p, question, count)
  local context, suffix = p.context, p.suffix(question)
  local span = p.passage_span
  local rows = {
    part_row("before the passage", context:sub(1, span[1]), count, 'evictable = "context" only'),
    part_row("passage", context:sub(span[1] + 1, span[2]), count, "evictable; bytes " .. span[1] .. " to " .. span[2]),
    part_row("after the passage", context:sub(span[2] + 1), count, 'evictable = "context" only'),
    part_row("context in the cache", context, count, "prefilled, then compressed"),
    part_row("question", suffix, count, "appended after compression, never evicted"),
  }
  if p.list_span then
    table.insert(rows, 4, part_row(p.regime == "aware" and "  list of questions" or "  the question inside",
      context:sub(p.list_span[1] + 1, p.list_span[2]), count, ("bytes %d to %d"):format(p.list_span[1],
        p.list_span[2])))
  end
  return text.columns(rows, "  ")
end

local function show(rest)
  local names, opt = words.split(rest, { style = "paper", regime = "agnostic", model = "", template = "", question = 1,
    idk_example = false, seed = "A", form = "" }, USAGE)
  local n = tonumber(names[2] or 1)
  if #names < 1 or #names > 2 or not n or n < 1 or n ~= math.floor(n) then
    words.misused("kvbench prompt show wants a task or file and a whole number -> kvbench prompt show --help")
  end
  local record = require("kvbench.dataset.command.open").record(names[1], n, { seed = opt.seed,
    form = nonempty(opt.form) })
  local q = record.questions[opt.question]
  if not q then
    words.misused("record %s has %d questions, not %s", record.id, #record.questions, tostring(opt.question))
  end
  local count, info
  if opt.model ~= "" then count, info = counter(opt.model) end
  local p = prompt.render(opt.style, record, { regime = opt.regime, question = q, model = info,
    template = nonempty(opt.template), idk_example = opt.idk_example })
  local colour = mark.coloured()
  local template = chat.templates[p.template]
  print(mark.bold(("%s, question %d: style %s, regime %s, chat template %s (%s)"):format(record.id, opt.question,
    opt.style, opt.regime, p.template, template.checked), colour))
  local spans = evidence(record, q, p)
  if p.list_span then spans[#spans + 1] = { p.list_span[1], p.list_span[2], "list" } end
  print(mark.spans(p.context, spans, colour) .. mark.dim("<- the cache is compressed here ->", colour)
    .. p.suffix(q) .. "\n")
  print(summary(p, q, count))
  print("  stops at: " .. (#p.stop > 0 and ("%q"):format(table.concat(p.stop, " ")):gsub("\\\n", "\\n")
    or "the model's end of turn"))
end

local function list()
  print("styles: " .. table.concat(prompt.styles(), ", ") .. "\nregimes: agnostic, aware, aware_one\n\nchat templates")
  local rows = {}
  for _, name in ipairs(chat.names()) do
    local template = chat.templates[name]
    rows[#rows + 1] = { name, template.checked == "golden" and "checked against " .. template.source
      or template.checked }
  end
  print(text.columns(rows, "  "))
end

--- Returns the exit status.
function M.main(rest)
  return words.dispatch("prompt", rest, { show = show, list = list }, M.overview) or 0
end

return M
