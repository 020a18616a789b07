-- SPDX-License-Identifier: Apache-2.0
-- Text that fits: lines wrapped to a width, over-long ones shortened, and numbers as papers print them.
local measure = require("kvbench.plot.canvas").measure

local M = {}

local CHARACTER = "[%z\1-\127\194-\244][\128-\191]*"

-- The longest prefix of whole characters that is at most `width` wide (at least one), and the rest.
local function split(word, size, bold, width)
  local cut = 0
  for from, char in word:gmatch("()(" .. CHARACTER .. ")") do
    local to = from + #char - 1
    if cut > 0 and measure(word:sub(1, to), size, bold) > width then break end
    cut = to
  end
  if cut == 0 then cut = #word end
  return word:sub(1, cut), word:sub(cut + 1)
end

--- Lines of `text`, none wider than `width` points; "\n" breaks always, a word that is too long alone breaks anywhere.
function M.wrap(text, size, bold, width)
  local lines = {}
  for paragraph in (text .. "\n"):gmatch "(.-)\n" do
    local line = ""
    for word in paragraph:gmatch "%S+" do
      local longer = line == "" and word or line .. " " .. word
      if measure(longer, size, bold) <= width then
        line = longer
      else
        if line ~= "" then lines[#lines + 1] = line end
        line = word
        while measure(line, size, bold) > width do
          local head, rest = split(line, size, bold, width)
          if rest == "" then break end
          lines[#lines + 1], line = head, rest
        end
      end
    end
    lines[#lines + 1] = line
  end
  while #lines > 1 and lines[#lines] == "" do lines[#lines] = nil end
  return lines
end

--- `text`, or its beginning and an ellipsis, at most `width` points wide.
function M.shorten(text, size, width)
  if measure(text, size) <= width then return text end
  local room = width - measure("…", size)
  return (split(text, size, false, math.max(room, 1))):gsub("%s+$", "") .. "…"
end

local SUPERSCRIPT = { ["-"] = "⁻", ["0"] = "⁰", ["1"] = "¹", ["2"] = "²", ["3"] = "³", ["4"] = "⁴", ["5"] = "⁵",
  ["6"] = "⁶", ["7"] = "⁷", ["8"] = "⁸", ["9"] = "⁹" }

--- power(2, 17) = "2¹⁷"
function M.power(base, exponent) return base .. ("%d"):format(exponent):gsub(".", SUPERSCRIPT) end

--- A number with `decimals` digits, a real minus sign and commas from 10,000 on.
function M.number(x, decimals)
  local text = ("%%.%df"):format(decimals):format(x)
  if tonumber(text) == 0 then text = text:gsub("^-", "") end
  local sign, whole, rest = text:match "^(-?)(%d+)(.*)$"
  if not whole then return text end
  if #whole > 4 then whole = whole:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "") end
  return (sign == "-" and "−" or "") .. whole .. rest
end

return M
