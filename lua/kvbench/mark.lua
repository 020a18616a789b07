-- SPDX-License-Identifier: Apache-2.0
-- Text with marked spans: escape codes on a terminal, brackets elsewhere, wrapped without moving a byte.
local M = {}

local codes = { value = "\27[1;32m", binding = "\27[4m", list = "\27[36m", off = "\27[0m", dim = "\27[2m",
  bold = "\27[1m" }

--- Whether standard output is a terminal that wants colours (NO_COLOR says no).
function M.coloured()
  local no = os.getenv "NO_COLOR"
  return require("kvbench.ffi").C.kvb_terminal_width(1) > 0 and not (no and no ~= "")
end

--- Blanks turned into line ends so that no line is wider than `width` columns; every byte stays where it is.
function M.wrap(s, width)
  local parts, column, last = {}, 0, nil
  for i = 1, #s do
    local c = s:sub(i, i)
    parts[i] = c
    if c == "\n" then column, last = 0, nil
    else
      if c:byte() < 0x80 or c:byte() >= 0xC0 then column = column + 1 end
      if c == " " then last = i end
      if column > width and last then
        parts[last] = "\n"
        local _, continuation = s:sub(last + 1, i):gsub("[\128-\191]", "")
        column, last = i - last - continuation, nil
      end
    end
  end
  return table.concat(parts)
end

--- The text with its spans marked. spans: list of {from, to, kind, label}, 0-based half-open; "value" spans win over
-- "binding". On a terminal values are bold green and bindings underlined, else values are [[value|label]] and bindings
-- not marked.
function M.spans(s, spans, colour)
  local class, labels = {}, {}
  for _, kind in ipairs { "binding", "list", "value" } do
    for _, span in ipairs(spans) do
      if span[3] == kind then
        for i = span[1] + 1, span[2] do class[i] = kind end
        if span[4] then labels[span[2]] = labels[span[2]] and labels[span[2]] .. "," .. span[4] or span[4] end
      end
    end
  end
  local out, from = {}, 1
  while from <= #s do
    local kind, to = class[from], from
    while to < #s and class[to + 1] == kind and not (kind == "value" and labels[to]) do to = to + 1 end
    local run, label = s:sub(from, to), kind == "value" and labels[to]
    if not kind or not colour and kind ~= "value" then out[#out + 1] = run
    elseif colour then
      out[#out + 1] = codes[kind] .. run .. codes.off .. (label and codes.dim .. "[" .. label .. "]" .. codes.off or "")
    else
      out[#out + 1] = "[[" .. run .. (label and "|" .. label or "") .. "]]"
    end
    from = to + 1
  end
  return table.concat(out)
end

--- A heading, a quiet remark.
function M.bold(s, colour) return colour and codes.bold .. s .. codes.off or s end
function M.dim(s, colour) return colour and codes.dim .. s .. codes.off or s end

return M
