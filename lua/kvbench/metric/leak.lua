-- SPDX-License-Identifier: Apache-2.0
-- Does an answer copy the prompt instead of reading the passage? Small models answer with a few-shot example's name
-- even without any eviction; counting that as a failure of the cache would blame the press for the prompt.
local text = require "kvbench.metric.text"
local slots = require "kvbench.metric.slots"

local M = {}

local prompts = setmetatable({}, { __mode = "k" })

local function flatten(x, out)
  if type(x) == "string" then
    out[#out + 1] = x
  elseif type(x) == "table" then
    local keys = {}
    for k in pairs(x) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(keys) do flatten(x[k], out) end
  end
  return out
end

local function of_examples(examples)
  local p = prompts[examples]
  if p then return p end
  p = {}
  for i, raw in ipairs(flatten(examples, {})) do
    local norm, names = text.norm(raw), {}
    for w in raw:gmatch("%S+") do
      if w:find("^%W*%u") or w:find("%d") or w:find("^[\194-\244]") then
        for n in text.norm(w):gmatch("%S+") do names[n] = true end
      end
    end
    p[i] = { norm = norm, words = #text.split(norm), names = names }
  end
  prompts[examples] = p
  return p
end

local SHORT, RUN = 6, 4

--- A piece of the prompt outside the passage that an answer copies, and its kind: "example_answer" (a short example
--- string as a whole), "example_text" (the answer stands in a longer one and names something), "prompt_run" (four
--- words in a row), or "question_echo". What the passage says too is no leak.
function M.find(norm, examples, record, question)
  local asked = text.norm(question.q or "")
  if norm == asked then return norm, "question_echo" end
  if not examples then return nil end
  if type(examples) == "string" then examples = { examples } end
  local passage = slots.of_record(record).passage
  local function said(part) return text.has(passage, part) or text.has(asked, part) end
  local words = text.split(norm)
  local told = slots.content(norm, asked)
  for _, e in ipairs(of_examples(examples)) do
    if e.words <= SHORT and text.has(norm, e.norm) and not said(e.norm) then
      return e.norm, "example_answer"
    end
    if text.has(e.norm, norm) and not said(norm) then
      for _, w in ipairs(told) do if e.names[w] then return norm, "example_text" end end
    end
    for i = 1, #words - RUN + 1 do
      local run = table.concat(words, " ", i, i + RUN - 1)
      if text.has(e.norm, run) and not said(run) then return run, "prompt_run" end
    end
  end
end

return M
