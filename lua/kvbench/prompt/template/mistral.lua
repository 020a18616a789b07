-- SPDX-License-Identifier: Apache-2.0
-- Mistral's [INST]. Blanks around the marks differ by tokenizer: v1 (7B v0.1, v0.2), v3 (7B v0.3), Tekken (Nemo and
-- later). A system message stands before the last user message.
local function mistral(open, close)
  return function(messages)
    local parts, system, first = { "<s>" }, nil, 1
    if messages[1] and messages[1].role == "system" then system, first = messages[1].content, 2 end
    for i = first, #messages do
      local m = messages[i]
      if m.role == "user" then
        parts[#parts + 1] = open .. (system and i == #messages and system .. "\n\n" or "") .. m.content .. close
      else
        parts[#parts + 1] = m.content .. "</s>"
      end
    end
    return table.concat(parts)
  end
end

return {
  ["mistral-v1"] = { render = mistral(" [INST] ", " [/INST]"), bos = true,
    checked = "unchecked: no template of these models at hand" },
  mistral = { render = mistral("[INST] ", "[/INST]"), bos = true,
    checked = "unchecked: no template of 7B v0.3 at hand" },
  ["mistral-tekken"] = { render = mistral("[INST]", "[/INST]"), bos = true, checked = "golden",
    source = "Mistral-Nemo-Instruct-2407 (a copy of its template)" },
}
