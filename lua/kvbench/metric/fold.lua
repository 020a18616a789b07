-- SPDX-License-Identifier: Apache-2.0
-- Case and accent folding of UTF-8 without a Unicode library: Latin-1, Latin Extended-A, Greek and Cyrillic letters,
-- and typographic punctuation. Other scripts pass through unchanged, so equality stays byte equality there.
-- Pure Lua, so that answers can be scored where the C core is not loaded; the tokenizer's NFC lives in the core.
local M = {}

local function utf8(cp)
  if cp < 0x80 then return string.char(cp) end
  if cp < 0x800 then return string.char(0xC0 + math.floor(cp / 64), 0x80 + cp % 64) end
  return string.char(0xE0 + math.floor(cp / 4096), 0x80 + math.floor(cp / 64) % 64, 0x80 + cp % 64)
end

local lower, ascii = {}, {}

local function lower_range(from, to, distance)
  for cp = from, to do lower[utf8(cp)] = utf8(cp + distance) end
end
lower_range(0x00C0, 0x00DE, 0x20)
lower[utf8(0x00D7)] = nil -- the multiplication sign
lower_range(0x0391, 0x03A9, 0x20)
lower_range(0x0410, 0x042F, 0x20)
lower_range(0x0400, 0x040F, 0x50)
-- Latin Extended-A alternates upper and lower; the parity flips twice inside the block.
for _, block in ipairs { { 0x100, 0x137 }, { 0x139, 0x148 }, { 0x14A, 0x177 }, { 0x179, 0x17E }, { 0x218, 0x21B } } do
  for cp = block[1], block[2], 2 do lower[utf8(cp)] = utf8(cp + 1) end
end
lower[utf8(0x178)] = utf8(0xFF)

local function chars(s) return s:gmatch "[%z\1-\127\194-\244][\128-\191]*" end

for base, variants in pairs {
  a = "àáâãäåāăą", c = "çćĉċč", d = "ďđð", e = "èéêëēĕėęě", g = "ĝğġģ", h = "ĥħ", i = "ìíîïĩīĭįı", j = "ĵ",
  k = "ķ", l = "ĺļľŀł", n = "ñńņň", o = "òóôõöøōŏő", r = "ŕŗř", s = "śŝşšș", t = "ţťŧț", u = "ùúûüũūŭůűų",
  w = "ŵ", y = "ýÿŷ", z = "źżž", ss = "ß", ae = "æ", oe = "œ", th = "þ",
} do
  for c in chars(variants) do ascii[c] = base end
end
ascii[utf8(0x130)] = "i"
for cp = 0x300, 0x36F do ascii[utf8(cp)] = "" end

local punctuation = { ["'"] = "‘’ʼ‛′´", ['"'] = "“”„«»″", ["-"] = "‐‑‒–—―−", [" "] = "…¿¡·•、。「」　，" }
for plain, variants in pairs(punctuation) do
  for c in chars(variants) do ascii[c] = plain end
end
for cp = 0x2000, 0x200A do ascii[utf8(cp)] = " " end
for _, cp in ipairs { 0x00A0, 0x202F } do ascii[utf8(cp)] = " " end
for _, cp in ipairs { 0x00AD, 0x200B, 0x200C, 0x200D, 0xFEFF } do ascii[utf8(cp)] = "" end

-- An upper-case accented letter folds like its lower-case form.
for upper, small in pairs(lower) do ascii[upper] = ascii[upper] or ascii[small] or small end

local MULTIBYTE = "[\194-\244][\128-\191]+"

--- Lower case, accents kept.
function M.lower(s)
  s = s:lower()
  return s:find("[\194-\244]") and s:gsub(MULTIBYTE, lower) or s
end

--- Lower case with accents removed and typographic punctuation made ASCII.
function M.ascii(s)
  s = s:lower()
  return s:find("[\194-\244]") and (s:gsub(MULTIBYTE, ascii)) or s
end

return M
