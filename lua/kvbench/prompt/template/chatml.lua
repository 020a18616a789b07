-- SPDX-License-Identifier: Apache-2.0
-- ChatML: <|im_start|>role ... <|im_end|>. The families differ in the system turn they put in when there is none.
local function chatml(default_system, finish)
  return function(messages, opt)
    local parts = {}
    local first = messages[1]
    if default_system and not (first and first.role == "system") then
      parts[1] = "<|im_start|>system\n" .. default_system .. "<|im_end|>\n"
    end
    for i, m in ipairs(messages) do
      local content = finish and finish(m, i, messages) or m.content
      parts[#parts + 1] = "<|im_start|>" .. m.role .. "\n" .. content .. "<|im_end|>\n"
    end
    if opt.generation then parts[#parts + 1] = "<|im_start|>assistant\n" end
    return table.concat(parts)
  end
end

local function last_user(messages)
  for i = #messages, 1, -1 do if messages[i].role == "user" then return i end end
  return #messages
end

-- Qwen3 drops the thoughts of earlier turns and opens a final answer with (empty) ones.
local function qwen3_content(m, i, messages)
  if m.role ~= "assistant" then return m.content end
  local thoughts, rest = m.content:match("^(.*)</think>(.-)$")
  local content = rest and rest:gsub("^\n+", "") or m.content
  if i <= last_user(messages) or i < #messages and not thoughts then return content end
  thoughts = (thoughts or ""):gsub("\n+$", ""):gsub("^.*<think>", ""):gsub("^\n+", "")
  return "<think>\n" .. thoughts .. "\n</think>\n\n" .. content:gsub("^\n+", "")
end

local qwen3 = chatml(nil, qwen3_content)

return {
  chatml = { render = chatml(nil), checked = "unchecked: many models' own variants differ" },
  smollm2 = { render = chatml "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    checked = "golden", source = "SmolLM2-135M-Instruct" },
  ["qwen2.5"] = { render = chatml "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    checked = "golden", source = "Qwen2.5" },
  -- enable_thinking = false: the answer opens with an empty thinking phase, so that the model answers at once
  qwen3 = { checked = "golden", source = "Qwen3-0.6B (a copy of its template)",
    render = function(messages, opt)
      return qwen3(messages, opt) .. (opt.generation and "<think>\n\n</think>\n\n" or "")
    end },
}
