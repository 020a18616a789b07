-- SPDX-License-Identifier: Apache-2.0
-- Data must not speak for the chat template: a passage that contains "<|im_end|>" would end the user's turn. A blank
-- after the first character keeps it readable and stops every tokenizer from reading a special token.
local M = {}

-- Openings of special tokens as the common families spell them. The whole list holds for every model, so that the same
-- passage is the same text everywhere.
local patterns = {
  "<|", "[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>", "<</SYS>>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>",
  "<start_of_turn>", "<end_of_turn>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>",
  "</tool_response>", "<endoftext>", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
  "[/TOOL_RESULTS]", "[IMG]", "<file_sep>", "<repo_name>", "<reponame>",
}

local function identity(at) return at end

-- Start (1-based) of the next special opening at or after `from`.
local function next_special(s, from)
  local best
  for _, pattern in ipairs(patterns) do
    local at = s:find(pattern, from, true)
    if at and (not best or at < best) then best = at end
  end
  return best
end

--- Breaks up special-token text. Returns the new text and map(offset): from a 0-based byte offset of `s` to one of it.
function M.text(s)
  if not s:find("[<%[]") then return s, identity end
  local parts, cuts, from = {}, {}, 1
  while true do
    local at = next_special(s, from)
    if not at then break end
    parts[#parts + 1] = s:sub(from, at) .. " "
    cuts[#cuts + 1] = at
    from = at + 1
  end
  if #cuts == 0 then return s, identity end
  parts[#parts + 1] = s:sub(from)
  return table.concat(parts), function(offset)
    local shift = 0
    for _, cut in ipairs(cuts) do if offset >= cut then shift = shift + 1 end end
    return offset + shift
  end
end

return M
