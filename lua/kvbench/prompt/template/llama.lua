-- SPDX-License-Identifier: Apache-2.0
-- LLaMA-3 headers. 3.1 and 3.2 always open with a dated system turn; the date is pinned to the template's own fallback,
-- so that a prompt does not change overnight. Contents are trimmed.
local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end

local function turn(role, content)
  return "<|start_header_id|>" .. role .. "<|end_header_id|>\n\n" .. content .. "<|eot_id|>"
end

local opening = "<|start_header_id|>assistant<|end_header_id|>\n\n"

local function llama3(messages)
  local parts = { "<|begin_of_text|>" }
  for _, m in ipairs(messages) do parts[#parts + 1] = turn(m.role, trim(m.content)) end
  return table.concat(parts) .. opening -- its template opens the answer whatever it was asked for
end

local function llama32(messages, opt)
  local system, first = "", 1
  if messages[1] and messages[1].role == "system" then system, first = trim(messages[1].content), 2 end
  local parts = { "<|begin_of_text|>", turn("system", "Cutting Knowledge Date: December 2023\nToday Date: "
    .. (opt.date or "26 Jul 2024") .. "\n\n" .. system) }
  for i = first, #messages do parts[#parts + 1] = turn(messages[i].role, trim(messages[i].content)) end
  return table.concat(parts) .. (opt.generation and opening or "")
end

return {
  ["llama-3"] = { render = llama3, bos = true, trim = true, checked = "golden", source = "Meta-Llama-3-8B-Instruct" },
  ["llama-3.2"] = { render = llama32, bos = true, trim = true, checked = "golden", source = "Llama-3.2-3B-Instruct" },
  ["llama-3.1"] = { render = llama32, bos = true, trim = true,
    checked = "unchecked: taken to be 3.2's, which differs for tools only" },
}
