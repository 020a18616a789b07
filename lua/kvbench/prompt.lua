-- SPDX-License-Identifier: Apache-2.0
-- Prompts: what is in the cache before eviction (`context`) and what is appended after it (`suffix`). The passage's
-- place inside the context is known from putting the context together, never searched for.
--
-- Styles: "paper" (the two templates of its Appendix A, inside the model's chat template) and "fewshot" (three worked
-- question-answer examples, plain text: small models answer in a few words only when shown how).
-- Regimes: "agnostic"; "aware" (all candidate questions are listed before the passage, the question is asked again
-- after eviction); "aware_other", its control (as many questions of other passages, of about the same
-- lengths, are listed); "aware_one" (this one question stands after the passage inside the context and is not asked
-- again).
local chat = require "kvbench.prompt.chat"
local examples = require "kvbench.prompt.examples"
local escape = require "kvbench.prompt.escape"
local given = require "kvbench.given"
local text = require "kvbench.text"

local M = { chat = chat, escape = escape.text }

M.instruction = "Read the following text and answer briefly based on it. Return only the answer. "
  .. "Do not generate extra.\n"
M.list_header = "You will be given one of the following questions:\n"
-- Not in the paper: without it, small models never abstain.
M.unknown_example = "If the text does not give the answer, return: I don't know. For example, a text that only says "
  .. "where a person lives does not answer \"How old is this person?\", so return: I don't know.\n"
M.fewshot_instruction = "Answer each question with a few words from the text.\n\n"
M.fewshot_unknown = "Answer each question with a few words from the text. If the text does not give the answer, write: "
  .. "I don't know\n\n"

local styles = {}

function styles.paper(opt)
  return {
    chat = true, head = M.instruction .. (opt.idk_example and M.unknown_example or ""), before_passage = "",
    after_passage = "", before_question = "\n", after_question = "", answer = "", plain_answer = "\n", stop = {},
    plain_stop = { "\n" }, examples = opt.idk_example and { M.unknown_example } or {},
  }
end

function styles.fewshot(opt)
  local parts = { opt.idk_example and M.fewshot_unknown or M.fewshot_instruction, "Text: ", examples.text, "\n" }
  local known = { examples.text }
  for _, e in ipairs(examples.list(opt.idk_example)) do
    parts[#parts + 1] = ("Question: %s\nAnswer: %s\n"):format(e.q, e.a)
    known[#known + 1] = e.a
  end
  parts[#parts + 1] = "\n"
  return {
    chat = false, head = table.concat(parts), before_passage = "Text: ", after_passage = "\n",
    before_question = "Question: ", after_question = "\n", answer = "Answer:", plain_answer = "", stop = { "\n" },
    plain_stop = { "\n" }, examples = known,
  }
end

local regimes = { agnostic = true, aware = true, aware_other = true, aware_one = true }

local options = { regime = true, idk_example = true, model = true, question = true, chat = true, template = true,
  date = true, list = true }

-- An error unless the record and the options are such.
local function check_given(record, opt)
  given.options("prompt.render", opt, options)
  if type(record) ~= "table" or type(record.passage) ~= "string" then
    error(("prompt.render: expected a record with a passage (a text), got %s -> {passage =, questions = {{q =, a =}}}")
      :format(type(record) == "table" and "one whose passage is " .. given.show(record.passage)
        or given.show(record)), 0)
  end
  if opt and opt.regime == "aware" and not opt.list and type(record.questions) ~= "table" then
    error("prompt.render: regime 'aware' lists the record's questions, and it has none -> questions = {{q =, a =}}", 0)
  end
end

local function choose(what, value, known)
  if known[value] then return end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  error(("prompt: unknown %s '%s' %s"):format(what, tostring(value), text.suggest(value, names)), 0)
end

local function template_name(opt, style)
  if opt.template then
    chat.template(opt.template)
    return opt.template
  end
  local use = opt.chat
  if use == nil then use = style.chat end
  return use and chat.detect(opt.model) or "none"
end

local function candidate_list(record, opt)
  if opt.list then return opt.list end
  local list = {}
  for i, question in ipairs(record.questions) do list[i] = question.q end
  return list
end

--- The control of "aware": for each question of record number i the one of another passage whose length is
-- nearest, each used once; records: of the same task. Passages are gone through from the next one on, 50 at most. An
-- error when there are too few.
function M.other_questions(records, i)
  if type(records) ~= "table" or not records[i] then
    error(("prompt.other_questions: there is no record %s in %s"):format(given.show(i), type(records) == "table"
      and ("a list of %d"):format(#records) or given.show(records)), 0)
  end
  local pool, out, own = {}, {}, {}
  for _, question in ipairs(records[i].questions) do own[question.q] = true end
  for step = 1, math.min(#records - 1, 50) do
    for _, question in ipairs(records[(i + step - 1) % #records + 1].questions) do
      if not own[question.q] then pool[#pool + 1], own[question.q] = question.q, true end
    end
  end
  for k, question in ipairs(records[i].questions) do
    local best
    for j, text in ipairs(pool) do
      if not best or math.abs(#text - #question.q) < math.abs(#pool[best] - #question.q) then best = j end
    end
    if not best then
      error(("prompt: regime 'aware_other' lists questions of other passages, and %d records have %d others for "
        .. "the %d of '%s' -> more passages"):format(#records, k - 1, #records[i].questions,
        tostring(records[i].id)), 0)
    end
    out[k] = table.remove(pool, best)
  end
  return out
end

-- Puts the context together; every append returns the span that it filled.
local function writer()
  local w = { parts = {}, at = 0 }
  function w.put(text)
    local from = w.at
    w.parts[#w.parts + 1] = text
    w.at = from + #text
    return { from, w.at }
  end
  return w
end

--- Renders one record's prompt.
--   name    "paper" or "fewshot"
--   record  needs `passage`, and `questions` for the regime "aware"
--   opt     regime ("agnostic"), idk_example (false), model (see chat.detect), question (text or {q=}; required by
--           "aware_one"), chat (true/false; default: paper yes, fewshot no), template (a chat template's name,
--           instead of the model's), date (of LLaMA 3.1 and 3.2's system turn; default 26 Jul 2024), list
--           (candidate questions instead of the record's own; required by "aware_other", see
--           M.other_questions)
-- Returns {context, passage_span, list_span or nil, suffix = function(question), stop, style, regime, template, bos,
-- examples, map_span}:
-- spans are 0-based half-open bytes of `context`; map_span(from, to) takes a span of record.passage to one of
-- `context`; bos says that the context already begins with the begin-of-text token. In "aware_one" suffix ignores
-- its argument.
-- examples are the example text and answers, for recognising what was copied from them ({} in the paper's style).
-- Text that a tokenizer would read as a special token is broken up wherever it comes from data.
function M.render(name, record, opt)
  choose("style", name, styles)
  check_given(record, opt)
  opt = opt or {}
  local regime = opt.regime or "agnostic"
  choose("regime", regime, regimes)
  local style = styles[name](opt)
  local template = template_name(opt, style)
  local turn = chat.turn(template, opt)
  local w, list_span = writer(), nil
  w.put(turn.before)
  w.put(style.head)
  if regime == "aware_other" and not opt.list then
    error("prompt: regime 'aware_other' lists other passages' questions -> list = "
      .. "prompt.other_questions(records, i)", 0)
  end
  if regime == "aware" or regime == "aware_other" then
    w.put(M.list_header)
    list_span = w.put(escape.text(table.concat(candidate_list(record, opt), "\n")))
    w.put("\n" .. (style.before_passage ~= "" and "\n" or ""))
  end
  w.put(style.before_passage)
  local passage, map = escape.text(record.passage)
  local passage_span = w.put(passage)
  w.put(style.after_passage)
  local plain = template == "none"
  local answer = plain and style.answer .. style.plain_answer or turn.after .. style.answer
  local after_question = plain and style.after_question or "" -- a user's turn ends with the question itself
  local function words(question)
    local words = type(question) == "table" and question.q or question
    if type(words) ~= "string" then
      error(("prompt: expected a question, got %s -> a text, or {q = text}"):format(given.show(words)), 0)
    end
    local escaped = escape.text(words)
    return turn.trim and escaped:gsub("%s+$", "") or escaped -- the question ends the user's turn
  end
  local suffix = function(question) return style.before_question .. words(question) .. after_question .. answer end
  if regime == "aware_one" then
    if not opt.question then error("prompt: regime 'aware_one' puts one question into the context -> give question =",
      0) end
    w.put(style.before_question)
    list_span = w.put(words(opt.question))
    w.put(after_question)
    suffix = function() return answer end
  end
  return {
    context = table.concat(w.parts), passage_span = passage_span, list_span = list_span, suffix = suffix,
    stop = plain and style.plain_stop or style.stop, style = name, regime = regime, template = template,
    bos = turn.bos, examples = style.examples,
    map_span = function(from, to) return passage_span[1] + map(from), passage_span[1] + map(to) end,
  }
end

--- Names of the styles.
function M.styles() return { "fewshot", "paper" } end
M.names = M.styles -- what Tab completes

return M
