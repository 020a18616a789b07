-- SPDX-License-Identifier: Apache-2.0
-- Chat templates as Lua: each renders a conversation exactly as the model's own Jinja template does. Written out
-- instead of a Jinja interpreter: the templates that matter are a dozen, and each can be read.
-- tests/lua/chat_golden.json holds what the originals render (scripts/make_chat_golden.py); a template without a golden
-- says that it is unchecked.
local text = require "kvbench.text"

local M = { templates = {} }

-- Fields of a template: render(messages, {generation =, date =}); bos: its text begins with the begin-of-text token, so
-- that none is added again; trim: contents lose blanks at both ends; checked: "golden", or "unchecked: why"; source.
local none = { checked = "golden", source = "plain text", render = function(messages)
  local parts = {}
  for i, m in ipairs(messages) do parts[i] = m.content end
  return table.concat(parts, "\n")
end }
M.templates.none = none
for _, family in ipairs { "chatml", "llama", "mistral", "gemma" } do
  for name, template in pairs(require("kvbench.prompt.template." .. family)) do M.templates[name] = template end
end

--- The template of a name; unknown ones are an error that names the near one.
function M.template(name)
  local found = M.templates[name]
  if found then return found end
  error(("prompt: unknown chat template '%s' %s"):format(tostring(name), text.suggest(tostring(name), M.names())), 0)
end

--- A conversation as text: messages = {{role = "system"|"user"|"assistant", content =}, ...}.
--   opt  generation = false: do not open the assistant's turn (default: do); date: "26 Jul 2024" (LLaMA 3.1, 3.2)
function M.render(name, messages, opt)
  opt = opt or {}
  for i, m in ipairs(messages) do
    if type(m.content) ~= "string" or m.role ~= "system" and m.role ~= "user" and m.role ~= "assistant" then
      error(("prompt: message %d needs content and the role system, user or assistant"):format(i), 0)
    end
  end
  return M.template(name).render(messages, { generation = opt.generation ~= false, date = opt.date })
end

local MARK = "\1" -- occurs in no template

--- What stands before and after the text of a single user turn: {before, after, bos, trim}.
--   opt  date, system (text of a system turn)
function M.turn(name, opt)
  opt = opt or {}
  local messages = { { role = "user", content = MARK } }
  if opt.system then table.insert(messages, 1, { role = "system", content = opt.system }) end
  local whole = M.render(name, messages, opt)
  local at = whole:find(MARK, 1, true)
  local template = M.templates[name]
  return { before = whole:sub(1, at - 1), after = whole:sub(at + 1), bos = template.bos or false,
    trim = template.trim or false }
end

-- Marks in a model's own (Jinja) template, most telling first.
local marks = {
  { "named SmolLM", "smollm2" }, { "You are Qwen, created", "qwen2.5" }, { "enable_thinking", "qwen3" },
  { "Cutting Knowledge Date", "llama-3.2" }, { "<|start_header_id|>", "llama-3" }, { "<start_of_turn>", "gemma" },
  { "[INST]' +", "mistral-tekken" }, { '[INST]" +', "mistral-tekken" }, { "[INST]", "mistral" },
  { "<|im_start|>", "chatml" },
}

-- Lua patterns over lower-case model names, for models that carry no template of their own.
local name_patterns = {
  { "smollm2", "smollm2" }, { "qwen[-_ ]?2%.5", "qwen2.5" }, { "qwen[-_ ]?3", "qwen3" }, { "llama[-_ ]?3%.1",
    "llama-3.1" }, { "llama[-_ ]?3%.2", "llama-3.2" },
  { "llama[-_ ]?3", "llama-3" }, { "nemo", "mistral-tekken" }, { "ministral", "mistral-tekken" },
  { "mi[sx]tral.*v0%.[12]", "mistral-v1" }, { "mi[sx]tral", "mistral" }, { "gemma.*[-_]it", "gemma" }, { "gemma.*instruct", "gemma" }, -- the base models have no turns
}

--- Names of the templates, sorted.
function M.names()
  local names = {}
  for name in pairs(M.templates) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Name of the template that suits a model.
--   model  nil; a name ("smollm2", "Qwen2.5-7B-Instruct"); or a table with any of
--          chat_template (the model's Jinja text), chat (a template name), name, family
-- "none" where nothing is recognised: a base model is prompted with plain text.
function M.detect(model)
  if model == nil then return "none" end
  if type(model) == "string" then model = { name = model } end
  if model.chat and M.templates[model.chat] then return model.chat end
  if type(model.chat_template) == "string" then
    for _, mark in ipairs(marks) do if model.chat_template:find(mark[1], 1, true) then return mark[2] end end
  end
  for _, field in ipairs { "name", "family" } do
    local text = type(model[field]) == "string" and model[field]:lower()
    if text and M.templates[text] then return text end
    for _, p in ipairs(text and name_patterns or {}) do
      if text:find(p[1]) and (p[2] == "smollm2" or not text:find("base")) then return p[2] end
    end
  end
  return "none"
end

return M
