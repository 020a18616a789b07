-- SPDX-License-Identifier: Apache-2.0
-- Where the sentences of a text stand.
local M = {}

local function add(list, passage, from, last)
  while from <= last do
    from = passage:find("%S", from)
    if not from or from > last then break end
    local at, stop = from, nil
    repeat
      stop = passage:find("[.!?]", at)
      if stop and stop > last then stop = nil end
      at = (stop or last) + 1
      if stop and stop < last and passage:sub(at, at) == "\"" then stop, at = at, at + 1 end
    until not stop or at > last or passage:find("^%s", at)
    stop = stop or last
    list[#list + 1] = { from - 1, stop }
    from = stop + 1
  end
end

--- Byte spans {from, to} (from 0, to exclusive): each sentence ends with a full stop, question or exclamation mark
-- before a blank or the end, a closing quotation mark included. by_line: a line's end is an end too, as in texts with
-- headings and lists.
function M.spans(passage, by_line)
  local list = {}
  if not by_line then
    add(list, passage, 1, #passage)
    return list
  end
  for first, past in passage:gmatch "()[^\n]+()" do add(list, passage, first, past - 1) end
  return list
end

return M
