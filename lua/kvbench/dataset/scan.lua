-- SPDX-License-Identifier: Apache-2.0
-- What the validator reads text with: UTF-8, whole words, spans.
local M = {}

--- Where (1-based) a string stops being valid UTF-8 (no overlong forms, no surrogates), or nil.
function M.utf8_fault(s)
  local i, n = s:find("[\128-\255]"), #s -- the rest is ASCII
  while i and i <= n do
    local c = s:byte(i)
    local len = c < 0x80 and 1 or c >= 0xC2 and c < 0xE0 and 2 or c >= 0xE0 and c < 0xF0 and 3 or c >= 0xF0
      and c < 0xF5 and 4
    if not len or i + len - 1 > n then return i end
    for j = i + 1, i + len - 1 do
      local b = s:byte(j)
      if b < 0x80 or b > 0xBF then return i end
    end
    local second = len > 2 and s:byte(i + 1)
    if c == 0xE0 and second < 0xA0 or c == 0xED and second > 0x9F or c == 0xF0 and second < 0x90
      or c == 0xF4 and second > 0x8F then return i end
    i = s:find("[\128-\255]", i + len)
  end
end

--- Whether byte number `at` (1-based) is outside the string or no part of a word.
function M.boundary(s, at)
  local c = s:byte(at)
  return not c or not (c >= 48 and c <= 57 or c >= 65 and c <= 90 or c >= 97 and c <= 122 or c >= 128)
end

--- Times that `needle` stands in `s` as whole words.
function M.occurrences(s, needle)
  local n, at = 0, 1
  while true do
    local from, to = s:find(needle, at, true)
    if not from then return n end
    if M.boundary(s, from - 1) and M.boundary(s, to + 1) then n = n + 1 end
    at = from + 1
  end
end

--- Runs of non-space.
function M.word_count(s)
  local _, n = s:gsub("%S+", "")
  return n
end

--- A whole number.
function M.integer(v) return type(v) == "number" and v == math.floor(v) end

--- What is wrong with a 0-based half-open span of a text of `limit` bytes, or nil.
function M.span_fault(span, what, limit)
  if type(span) ~= "table" or not M.integer(span[1]) or not M.integer(span[2]) or span[1] >= span[2] then
    return what .. " is not a span {from, to} with from < to"
  end
  if span[1] < 0 or span[2] > limit then
    return ("%s {%d, %d} lies outside the passage of %d bytes"):format(what, span[1], span[2], limit)
  end
end

--- Whether span a lies inside span b, and whether they overlap.
function M.inside(a, b) return a[1] >= b[1] and a[2] <= b[2] end
function M.overlap(a, b) return a[1] < b[2] and b[1] < a[2] end

--- Lower-case words of a text.
function M.tokens(s)
  local t = {}
  for word in s:lower():gmatch("[%w\128-\255']+") do t[#t + 1] = word end
  return t
end

return M
