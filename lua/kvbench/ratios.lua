-- SPDX-License-Identifier: Apache-2.0
-- Eviction ratios: the grids, their rounding, and how many tokens a ratio keeps.
-- A ratio is the share evicted. It is rounded to 6 decimals on entry, because a loop 0.1, 0.2, ... reaches
-- 0.30000000000000004 and then keeps another number of tokens than 0.3 does.
local M = {}

--- One ratio, checked and rounded to 6 decimals. 0 <= ratio < 1, else an error.
function M.round(r)
  local v = tonumber(r)
  if not v or v ~= v then
    error(string.format("ratio: '%s' is not a number -> a share evicted such as 0.9", tostring(r)), 0)
  end
  local rounded = math.floor(v * 1e6 + 0.5) / 1e6
  if v < 0 or rounded >= 1 then
    error(string.format("ratio: %s is outside [0, 1) -> 0 evicts nothing, 0.9 evicts 90 %%", tostring(r)), 0)
  end
  return rounded
end

--- A list of ratios: an array, a grid's name, one number, or "0,0.5,.9". Rounded, ascending, without duplicates.
function M.list(given)
  local raw = given
  if type(given) == "string" and M.grids[given] then return M.list(M.grids[given]) end
  if type(given) == "string" then
    raw = {}
    for part in (given .. ","):gmatch("%s*(.-)%s*,") do raw[#raw + 1] = part end
  elseif type(given) ~= "table" then
    raw = { given }
  end
  local out, seen = {}, {}
  for _, r in ipairs(raw) do
    local v = M.round(r)
    if not seen[v] then seen[v], out[#out + 1] = true, v end
  end
  if #out == 0 then error("ratios: the list is empty -> name at least one, e.g. 0.5, or a grid: paper, cliff", 0) end
  table.sort(out)
  return out
end

--- Tokens kept of n at ratio r: max(1, floor(n * (1 - r))) in double, in exactly that form (KVPress' int(n * (1 -
--- ratio))).
function M.n_kept(n, r)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
    error(string.format("ratio: cannot keep a share of %s tokens -> needs a whole number of at least 1",
      tostring(n)), 0)
  end
  return math.max(1, math.floor(n * (1 - M.round(r))))
end

--- The nearest whole number, halves to the even one: what Python's round() does, which some rules count with.
function M.round_half_even(x)
  local low = math.floor(x)
  local rest = x - low
  if rest == 0.5 then return low % 2 == 0 and low or low + 1 end
  return rest < 0.5 and low or low + 1
end

--- A share given as a number, or as an expression of the ratio that is asked for ("ratio", "ratio/2", "1-ratio"): a
--- function of the ratio. `where` names it in errors.
function M.expression(given, where)
  if type(given) == "number" then return function() return given end end
  local text = tostring(given)
  local body = text:gsub("ratio", "")
  local chunk = not body:find "[^%d%.%+%-%*/%(%)%s]" and loadstring("return function(ratio) return " .. text .. " end")
  if not chunk then
    error(("%s: '%s' is no share -> a number, or an expression of ratio such as \"ratio/2\""):format(where, text), 0)
  end
  local fn = chunk()
  return function(ratio)
    local ok, value = pcall(fn, ratio)
    if ok and type(value) == "number" and value == value then return value end
    error(("%s: '%s' is no number at ratio %s"):format(where, text, tostring(ratio)), 0)
  end
end

M.grids = {
  paper = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9 },
  cliff = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .925, .95, .97, .98, .99 },
}

--- The paper's grid (figures 2-24): 0, .1 ... .9.
M.paper = M.list(M.grids.paper)
--- The paper's grid plus .925 .95 .97 .98 .99, for claims about a peak or cliff near .9: a maximum at the last point
--- of a grid is no peak.
M.cliff = M.list(M.grids.cliff)

return M
