-- SPDX-License-Identifier: Apache-2.0
-- Chat templates: what stands before the user's text and after it, one table per template. Written out instead of a
-- Jinja interpreter: one user turn is all that a question about a passage needs, and each string can be checked by eye.
--   before, after   text around the user's message (after = up to where the model answers)
--   bos             whether `before` begins with the model's begin-of-text token, so that none is added again
local M = {}

local function chatml(system)
  return {
    before = (system and "<|im_start|>system\n" .. system .. "<|im_end|>\n" or "") .. "<|im_start|>user\n",
    after = "<|im_end|>\n<|im_start|>assistant\n", bos = false,
  }
end

M.templates = {
  none = { before = "", after = "", bos = false },
  chatml = chatml(nil),
  smollm2 = chatml "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
  ["qwen2.5"] = chatml "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
  -- Qwen3 answers without a thinking phase when the assistant's turn opens with an empty one (enable_thinking = false)
  qwen3 = {
    before = "<|im_start|>user\n",
    after = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", bos = false,
  },
  ["llama-3"] = {
    before = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    after = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", bos = true,
  },
  -- 3.1 and 3.2 put a dated system turn first; the date is the template's own fallback, so that prompts never change
  ["llama-3.2"] = {
    before = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
      .. "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
      .. "<|start_header_id|>user<|end_header_id|>\n\n",
    after = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", bos = true,
  },
  -- Blanks around the marks differ by Mistral's tokenizer: v1 (7B v0.1, v0.2), v3 (7B v0.3), Tekken (Nemo and later)
  ["mistral-v1"] = { before = "<s> [INST] ", after = " [/INST]", bos = true },
  mistral = { before = "<s>[INST] ", after = "[/INST]", bos = true },
  ["mistral-tekken"] = { before = "<s>[INST]", after = "[/INST]", bos = true },
  gemma = { before = "<bos><start_of_turn>user\n", after = "<end_of_turn>\n<start_of_turn>model\n", bos = true },
}
M.templates["llama-3.1"] = M.templates["llama-3.2"]

-- Marks in a model's own (Jinja) template, most telling first.
local marks = {
  { "named SmolLM", "smollm2" }, { "You are Qwen, created", "qwen2.5" }, { "enable_thinking", "qwen3" },
  { "Cutting Knowledge Date", "llama-3.2" }, { "<|start_header_id|>", "llama-3" }, { "<start_of_turn>", "gemma" },
  { "[INST]' +", "mistral-tekken" }, { '[INST]" +', "mistral-tekken" }, { "[INST]", "mistral" },
  { "<|im_start|>", "chatml" },
}

-- Lua patterns over lower-case model names, for models that carry no template of their own.
local name_patterns = {
  { "smollm2", "smollm2" }, { "qwen[-_ ]?2%.5", "qwen2.5" }, { "qwen[-_ ]?3", "qwen3" }, { "llama[-_ ]?3%.[12]",
    "llama-3.2" },
  { "llama[-_ ]?3", "llama-3" }, { "nemo", "mistral-tekken" }, { "ministral", "mistral-tekken" },
  { "mi[sx]tral.*v0%.[12]", "mistral-v1" }, { "mi[sx]tral", "mistral" }, { "gemma", "gemma" },
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
