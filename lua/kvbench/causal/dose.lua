-- SPDX-License-Identifier: Apache-2.0
-- Dose-response: a monotone fit of an outcome over doses and the dose of half the effect, with passages resampled.
local interval = require "kvbench.stats.interval"

local M = {}

--- Least-squares increasing fit of y with weights w (pool adjacent violators): a new array.
--- Source: Ayer et al., Ann. Math. Statist. 26, 1955.
function M.isotonic(y, w)
  local blocks = {}
  for i = 1, #y do
    local block = { sum = y[i] * w[i], weight = w[i], n = 1 }
    while #blocks > 0 do
      local last = blocks[#blocks]
      if last.sum / last.weight <= block.sum / block.weight then break end
      block.sum, block.weight, block.n = block.sum + last.sum, block.weight + last.weight, block.n + last.n
      blocks[#blocks] = nil
    end
    blocks[#blocks + 1] = block
  end
  local out = {}
  for _, block in ipairs(blocks) do
    for _ = 1, block.n do out[#out + 1] = block.sum / block.weight end
  end
  return out
end

--- The dose at which a monotone curve has come half of the way from its first to its last value, linear between doses;
--- nil when it does not rise.
function M.half(doses, fit)
  local low, high = fit[1], fit[#fit]
  if not (high > low) then return nil end
  local middle = (low + high) / 2
  for i = 2, #doses do
    if fit[i] >= middle then
      local rise = fit[i] - fit[i - 1]
      return rise > 0 and doses[i - 1] + (middle - fit[i - 1]) / rise * (doses[i] - doses[i - 1]) or doses[i]
    end
  end
end

--- Folds outcomes into items, one a passage: M.fold(list of {passage_id, dose index, y}) -> array of {sum[i], n[i]}.
function M.fold(list, doses)
  local at, ids = {}, {}
  for _, x in ipairs(list) do
    local item = at[x[1]]
    if not item then
      item = { sum = {}, n = {} }
      for i = 1, doses do item.sum[i], item.n[i] = 0, 0 end
      at[x[1]], ids[#ids + 1] = item, x[1]
    end
    item.sum[x[2]], item.n[x[2]] = item.sum[x[2]] + x[3], item.n[x[2]] + 1
  end
  table.sort(ids)
  local items = {}
  for i, id in ipairs(ids) do items[i] = at[id] end
  return items
end

--- Means over items at each dose, with their counts.
function M.means(items, doses)
  local y, w = {}, {}
  for i = 1, doses do
    local sum, n = 0, 0
    for _, item in ipairs(items) do sum, n = sum + item.sum[i], n + item.n[i] end
    y[i], w[i] = n > 0 and sum / n or 0, n
  end
  return y, w
end

--- The half dose of folded items with a percentile interval over passages: {estimate, lo, hi, clusters, fit, mean}, or
--- nil and why. Replicates without a rise count as the largest dose.
function M.k50(items, doses)
  if #items < 2 then return nil, "fewer than two passages" end
  local function half(list)
    local y, w = M.means(list, #doses)
    return M.half(doses, M.isotonic(y, w))
  end
  local y, w = M.means(items, #doses)
  for i = 1, #doses do if w[i] == 0 then return nil, "a dose has no rows" end end
  local fit = M.isotonic(y, w)
  local estimate = M.half(doses, fit)
  if not estimate then return nil, "the outcome does not rise with the dose" end
  local b = interval.bootstrap(items, function(list) return half(list) or doses[#doses] end,
    { replicates = 1000, method = "percentile" })
  return { estimate = estimate, lo = b.lo, hi = b.hi, clusters = #items, fit = fit, mean = y }
end

--- The difference of two half doses on a log2 scale, log2(k50 of a) - log2(k50 of b), items paired by passage.
function M.k50_ratio(a, b, doses)
  if #a < 2 or #a ~= #b then return nil, "fewer than two passages have both" end
  local pairs_of = {}
  for i = 1, #a do pairs_of[i] = { a = a[i], b = b[i] } end
  local function log_half(list, side)
    local items = {}
    for i, x in ipairs(list) do items[i] = x[side] end
    local y, w = M.means(items, #doses)
    return math.log(math.max(M.half(doses, M.isotonic(y, w)) or doses[#doses], 1e-3)) / math.log(2)
  end
  local out = interval.bootstrap(pairs_of, function(list) return log_half(list, "a") - log_half(list, "b") end,
    { replicates = 1000, method = "percentile" })
  return { estimate = out.value, lo = out.lo, hi = out.hi, clusters = #a }
end

return M
