-- SPDX-License-Identifier: Apache-2.0
-- Colour maps: viridis and magma (Smith and van der Walt, CC0) at 33 of their 256 steps, which linear interpolation
-- restores to within 2/255; "diverging" is ColorBrewer's RdBu (Brewer, Apache-2.0), blue for low. All are safe for
-- colour-blind readers.
local M = {}

local anchors = {
  viridis = "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d 2f6b8e 2c728e 297a8e 26828e "
    .. "23898e 21918c 1f978b 1f9f88 21a685 27ad81 31b57b 3dbc74 4cc26c 5cc863 6ece58 81d34d 95d840 aadc32 c0df25 "
    .. "d5e21a eae51a fde725",
  magma = "000004 030312 0a0822 130d34 1d1147 29115a 36106b 440f76 51127c 5d177f 6a1c81 762181 832681 902a81 9c2e7f "
    .. "aa337d b73779 c23b75 cf4070 db476a e55064 ee5b5e f4695c f9785d fb8761 fd9668 fea571 feb47b fec287 fed194 "
    .. "fde0a1 fceeb0 fcfdbf",
  diverging = "053061 2267ac 4393c3 90c4dd d1e5f0 f7f6f6 fddbc7 f4a683 d6604d b1182b 67001f",
}

local function parse(text)
  local out = {}
  for hex in text:gmatch "%x+" do
    out[#out + 1] = { tonumber(hex:sub(1, 2), 16), tonumber(hex:sub(3, 4), 16), tonumber(hex:sub(5, 6), 16) }
  end
  return out
end

--- 256 colours as 0xRRGGBBAA, index 0 to 255; nil for an unknown name.
function M.table(name)
  if not anchors[name] then return nil end
  local points, out = parse(anchors[name]), {}
  for i = 0, 255 do
    local at = i / 255 * (#points - 1)
    local k = math.min(math.floor(at), #points - 2)
    local a, b, f = points[k + 1], points[k + 2], at - k
    local value = 0
    for channel = 1, 3 do value = value * 256 + math.floor(a[channel] + f * (b[channel] - a[channel]) + 0.5) end
    out[i] = value * 256 + 255
  end
  return out
end

M.names = "viridis, magma or diverging"

return M
