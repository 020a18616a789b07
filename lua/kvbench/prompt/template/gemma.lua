-- SPDX-License-Identifier: Apache-2.0
-- Gemma: two roles, contents trimmed. There is no system role: its text opens the first user turn, as Gemma 3's own
-- template does (Gemma 2's refuses it).
local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end

return {
  gemma = { bos = true, trim = true, checked = "golden", source = "gemma-2-2b-it (a copy of its template)",
    render = function(messages, opt)
      local parts, prefix, first = { "<bos>" }, "", 1
      if messages[1] and messages[1].role == "system" then prefix, first = messages[1].content .. "\n\n", 2 end
      for i = first, #messages do
        local m = messages[i]
        local role = m.role == "assistant" and "model" or m.role
        parts[#parts + 1] = "<start_of_turn>" .. role .. "\n" .. (i == first and prefix or "") .. trim(m.content)
          .. "<end_of_turn>\n"
      end
      return table.concat(parts) .. (opt.generation and "<start_of_turn>model\n" or "")
    end },
}
