-- SPDX-License-Identifier: Apache-2.0
-- The passage bootstrap: rows folded into per-passage sums and counts, and how often each replicate draws each passage.
--
-- Questions of one passage share its cache, so the passage is the unit that is resampled. Rows become two flat
-- double arrays [cluster, x]; a replicate is a weighted sum over them, so 2,000 replicates of a 15-point curve cost
-- milliseconds. Weights depend on (clusters, replicates, seed) only and clusters are sorted by id: curves over the
-- same passages share their replicates, which is what makes bands simultaneous and differences paired, and the order
-- of rows cannot change a number.
local ffi = require "ffi"
local rng = require "kvbench.rng"

local M = {}

local function getter(key, what)
  if type(key) == "function" then return key end
  if type(key) ~= "string" then error("stats: " .. what .. " must be a column name or a function(row)", 0) end
  return function(row) return row[key] end
end
M.getter = getter

--- Rows -> {xs = ascending values of x, ids = sorted cluster ids, clusters, points, sum[c * points + i], count[...],
--- rows = per x, clusters_at = per x, indicator = every y is 0 or 1}. Rows whose x or y is nil are left out;
--- booleans count as 0 and 1.
--- opt.indicator = false: y is a share that only happens to be 0 or 1 everywhere.
--- opt.ids restricts to these clusters (sorted array), opt.xs to these x.
function M.compact(rows, opt)
  if rows.clusters and not opt.ids then -- folded already, from a store
    if rows.clusters == 0 or rows.points == 0 then
      error("stats: no answer has both x and y -> does the column apply to these questions?", 0)
    end
    if opt.indicator ~= false or not rows.indicator then return rows end
    return setmetatable({ indicator = false }, { __index = rows })
  end
  local x_of, y_of = getter(opt.x or "ratio", "x"), getter(opt.y, "y")
  local cluster_of = getter(opt.cluster or "passage_id", "cluster")
  local items, x_seen, id_seen, xs, ids = {}, {}, {}, {}, {}
  local indicator = opt.indicator ~= false
  for i, row in ipairs(rows) do
    local y, x = y_of(row), x_of(row)
    if y == true then y = 1 elseif y == false then y = 0 end
    if y ~= nil and x ~= nil then
      local id = cluster_of(row)
      if type(y) ~= "number" or y ~= y or type(x) ~= "number" or x ~= x then
        error(string.format("stats: row %d has x = %s, y = %s -> both must be numbers, or nil to leave the row out", i,
          tostring(x), tostring(y)), 0)
      end
      if id == nil then
        error(string.format("stats: row %d has no cluster -> rows need passage_id, or pass cluster = column or "
          .. "function", i), 0)
      end
      id = tostring(id)
      x = math.floor(x * 1e6 + .5) / 1e6
      if not x_seen[x] then x_seen[x], xs[#xs + 1] = true, x end
      if not id_seen[id] then id_seen[id], ids[#ids + 1] = true, id end
      indicator = indicator and (y == 0 or y == 1)
      items[#items + 1] = { id, x, y }
    end
  end
  xs, ids = opt.xs or xs, opt.ids or ids
  if #items == 0 or #xs == 0 or #ids == 0 then
    error(string.format("stats: none of %d rows has both x and y -> is the column name right, and does the column "
      .. "apply to these questions?", #rows), 0)
  end
  table.sort(xs)
  table.sort(ids)
  local P, C, x_at, id_at = #xs, #ids, {}, {}
  for i, x in ipairs(xs) do x_at[x] = i - 1 end
  for i, id in ipairs(ids) do id_at[id] = i - 1 end
  local sum, count = ffi.new("double[?]", C * P), ffi.new("double[?]", C * P)
  for _, item in ipairs(items) do
    local c, i = id_at[item[1]], x_at[item[2]]
    if c and i then
      sum[c * P + i] = sum[c * P + i] + item[3]
      count[c * P + i] = count[c * P + i] + 1
    end
  end
  local t = { xs = xs, ids = ids, points = P, clusters = C, sum = sum, count = count, indicator = indicator, rows = {},
    clusters_at = {} }
  for i = 0, P - 1 do
    local n, k = 0, 0
    for c = 0, C - 1 do
      n = n + count[c * P + i]
      if count[c * P + i] > 0 then k = k + 1 end
    end
    t.rows[i + 1], t.clusters_at[i + 1] = n, k
  end
  return t
end

local plans, plan_order, PLANS_KEPT = {}, {}, 4

--- How often each of R replicates draws each of C clusters: uint16 [R, C], row r sums to C. Valid while referenced;
--- do not write.
function M.weights(C, R, seed)
  if C > 65535 then error(string.format("stats: %d clusters, at most 65535 can be resampled", C), 0) end
  local key = C .. ":" .. R .. ":" .. tostring(seed)
  if plans[key] then return plans[key] end
  local w, r = ffi.new("uint16_t[?]", R * C), rng.new("bootstrap/" .. tostring(seed))
  local scale = C / 4294967296
  for b = 0, R - 1 do
    for _ = 1, C do
      local c = b * C + math.floor(r:bits() * scale)
      w[c] = w[c] + 1
    end
  end
  plans[key], plan_order[#plan_order + 1] = w, key
  if #plan_order > PLANS_KEPT then plans[table.remove(plan_order, 1)] = nil end
  return w
end

--- Means of a compacted table: double [points]; NaN where an x has no rows.
function M.point(t)
  local P, out = t.points, ffi.new("double[?]", t.points)
  for i = 0, P - 1 do
    local s, n = 0, 0
    for c = 0, t.clusters - 1 do s, n = s + t.sum[c * P + i], n + t.count[c * P + i] end
    out[i] = s / n
  end
  return out
end

--- From how many weighted terms on (replicates x clusters x points) a matrix product is worth its while.
M.product_from = 3e7
local BLOCK = 4096 -- clusters in one product

-- The weighted sums of a large table as products of f32 matrices: weights [R, clusters] by sums and counts. f32 rounds
-- the seventh digit of a replicate, and replicates only make bands.
local function means_by_product(t, R, seed)
  local tensor = require "kvbench.tensor"
  local P, C, w = t.points, t.clusters, M.weights(t.clusters, R, seed)
  local out, total = ffi.new("double[?]", R * P), ffi.new("double[?]", R * 2 * P)
  for first = 0, C - 1, BLOCK do
    local n = math.min(BLOCK, C - first)
    local a, b = tensor.zeros({ R, n }, "f32", { device = "cpu" }), tensor.zeros({ n, 2 * P }, "f32", { device = "cpu" })
    local pa, pb = a:pointer(), b:pointer()
    for r = 0, R - 1 do
      for c = 0, n - 1 do pa[r * n + c] = w[r * C + first + c] end
    end
    for c = 0, n - 1 do
      for i = 0, P - 1 do
        pb[c * 2 * P + i], pb[c * 2 * P + P + i] = t.sum[(first + c) * P + i], t.count[(first + c) * P + i]
      end
    end
    local product = a:matmul(b)
    local p = product:pointer()
    for i = 0, R * 2 * P - 1 do total[i] = total[i] + p[i] end
    a:close() b:close() product:close()
  end
  for r = 0, R - 1 do
    for i = 0, P - 1 do out[r * P + i] = total[r * 2 * P + i] / total[r * 2 * P + P + i] end
  end
  return out
end

--- Replicate means of a compacted table: double [R, points]; NaN where a replicate drew no cluster that has the x.
function M.means(t, R, seed)
  if R * t.clusters * t.points > M.product_from then return means_by_product(t, R, seed) end
  local P, C, S, N = t.points, t.clusters, t.sum, t.count
  local w, out = M.weights(C, R, seed), ffi.new("double[?]", R * P)
  local s, n = ffi.new("double[?]", P), ffi.new("double[?]", P)
  for b = 0, R - 1 do
    for i = 0, P - 1 do s[i], n[i] = 0, 0 end
    for c = 0, C - 1 do
      local k = w[b * C + c]
      if k > 0 then
        for i = 0, P - 1 do
          s[i] = s[i] + k * S[c * P + i]
          n[i] = n[i] + k * N[c * P + i]
        end
      end
    end
    for i = 0, P - 1 do out[b * P + i] = s[i] / n[i] end
  end
  return out
end

return M
