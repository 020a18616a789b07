-- SPDX-License-Identifier: Apache-2.0
-- Two crossed samples: template tasks draw passages and, for them, slot values from lists. The same value stands in
-- many passages, so resampling passages alone claims too much about values that were not drawn.
--
-- Both are resampled, independently, and a row counts as often as the product says (pigeonhole bootstrap). It errs to
-- the wide side: where values make no difference the interval is somewhat longer than the passage bootstrap's.
-- Source: Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1, 2007.
local ffi = require "ffi"
local interval = require "kvbench.stats.interval"
local resample = require "kvbench.stats.resample"

local M = {}

local function index_of(list, get)
  local at, n, out = {}, 0, {}
  local names = {}
  for _, row in ipairs(list) do
    local v = tostring(get(row))
    if not at[v] then at[v], names[#names + 1] = true, v end
  end
  table.sort(names)
  for i, v in ipairs(names) do at[v] = i - 1 end
  n = #names
  for i, row in ipairs(list) do out[i] = at[tostring(get(row))] end
  return out, n
end

--- Mean of y over rows that share passages and slot values. opt: y, clusters = {first, second} (columns or functions;
--- default passage_id and gold), replicates 2000, seed, level. Returns {estimate, lo, hi, n, clusters = {number of the
--- first, of the second}}; `reason` instead of limits with fewer than 3 of either.
function M.crossed(rows, opt)
  local y_of, list, y = resample.getter(opt.y, "y"), {}, {}
  for _, row in ipairs(rows) do
    local v = y_of(row)
    if v == true then v = 1 elseif v == false then v = 0 end
    if v ~= nil then list[#list + 1], y[#y + 1] = row, v end
  end
  if #list == 0 then error(("stats.crossed: none of %d rows has y"):format(#rows), 0) end
  local names = opt.clusters or { "passage_id", "gold" }
  local a, A = index_of(list, resample.getter(names[1], "clusters"))
  local b, B = index_of(list, resample.getter(names[2], "clusters"))
  local sum = 0
  for _, v in ipairs(y) do sum = sum + v end
  local out = { estimate = sum / #y, n = #y, clusters = { A, B } }
  if A < 3 or B < 3 then
    out.reason = ("%d and %d clusters: resampling both needs at least 3 of each"):format(A, B)
    return out
  end
  local R, n = opt.replicates or 2000, #y
  local seed = tostring(opt.seed or 1)
  local wa, wb, values = resample.weights(A, R, seed .. "/first"), resample.weights(B, R, seed .. "/second"), {}
  local ia, ib, iy = ffi.new("int32_t[?]", n, a), ffi.new("int32_t[?]", n, b), ffi.new("double[?]", n, y)
  for r = 0, R - 1 do
    local s, w = 0, 0
    for i = 0, n - 1 do
      local k = wa[r * A + ia[i]] * wb[r * B + ib[i]]
      s, w = s + k * iy[i], w + k
    end
    if w > 0 then values[#values + 1] = s / w end
  end
  out.lo, out.hi = interval.percentile(values, opt.level)
  return out
end

return M
