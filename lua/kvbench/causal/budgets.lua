-- SPDX-License-Identifier: Apache-2.0
-- Budgets per layer of one total, and the keep-sets that spend them by a press's ranks.
local keepset = require "kvbench.keep"
local ffi = require "ffi"

local M = {}

--- Whole numbers b[l] between `least` and n, as proportional to weights (array, > 0) as the bounds allow, with the sum
--- `total` exactly. What rounding leaves goes to the largest remainders, earlier layers first.
function M.proportional(weights, total, n, least)
  local layers = #weights
  if total < layers * least or total > layers * n then
    error(("budgets: %d tokens for %d layers of %d to %d"):format(total, layers, least, n), 0)
  end
  local low, high = 0, 0
  for _, w in ipairs(weights) do high = math.max(high, n / w) end
  local function at(scale, l) return math.max(least, math.min(n, scale * weights[l])) end
  for _ = 1, 200 do
    local middle, sum = (low + high) / 2, 0
    for l = 1, layers do sum = sum + at(middle, l) end
    if sum < total then low = middle else high = middle end
  end
  local out, order, left = {}, {}, total
  for l = 1, layers do
    out[l], order[l] = math.floor(at(high, l) + 1e-9), l
    left = left - out[l]
  end
  local function rest(l) return at(high, l) - out[l] end
  table.sort(order, function(a, b)
    local x, y = rest(a), rest(b)
    if math.abs(x - y) > 1e-9 then return x > y end
    return a < b
  end)
  while left ~= 0 do
    for _, l in ipairs(order) do
      local step = left > 0 and out[l] < n and 1 or left < 0 and out[l] > least and -1 or 0
      out[l], left = out[l] + step, left - step
    end
  end
  return out
end

--- The keep-set in which every head of layer l keeps its best b[l] evictable tokens, by keep.ranks.
function M.keep(keep, b)
  local outside = keep.tokens - (keep.evictable[2] - keep.evictable[1])
  local counts = ffi.new("uint32_t[?]", keep.layers * keep.kv_heads)
  for l = 0, keep.layers - 1 do
    for h = 0, keep.kv_heads - 1 do counts[l * keep.kv_heads + h] = outside + b[l + 1] end
  end
  local out = keepset.from_ranks(keep.ranks, counts)
  out.press, out.ratio, out.ranks, out.evictable = keep.press, keep.ratio, keep.ranks, keep.evictable
  return out
end

--- Everything kept but in the layers that chosen(layer) names, which keep what `keep` keeps.
function M.only_in(keep, chosen)
  local out = keep:copy()
  for l = 0, keep.layers - 1 do
    if not chosen(l) then out:set(l, nil, 0, keep.tokens, true) end
  end
  return out
end

return M
