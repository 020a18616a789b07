-- SPDX-License-Identifier: Apache-2.0
-- Least-squares fits of three shapes to (x, y) cells with weights: a line, a line with one kink, a logistic step.
--
-- A cell is one passage at one x: {x, n, sum, squares} of its rows, so that a bootstrap replicate is a new set of
-- weights and errors are those of single rows. Offset and height enter linearly and are solved for exactly (variable
-- projection, Golub & Pereyra 1973); what is searched is one place (kink) or place and width (logistic), inside the
-- data's own range: a step that lies outside of it is not what the data show.
local ffi = require "ffi"
local solve = require "kvbench.stats.solve"

local M = {}

-- Weighted moments of y on the basis (1, u): the exact fit and its error.
local function project(d, weight, u)
  local sw, su, suu, sy, suy, syy = 0, 0, 0, 0, 0, 0
  for i = 0, d.n - 1 do
    local k = weight[d.cluster[i]]
    if k > 0 then
      local w, s, v = k * d.count[i], k * d.sum[i], u[i]
      sw, su, suu = sw + w, su + w * v, suu + w * v * v
      sy, suy, syy = sy + s, suy + s * v, syy + k * d.squares[i]
    end
  end
  local det = sw * suu - su * su
  local b = det > 1e-12 * sw * suu and (sw * suy - su * sy) / det or 0
  local a = (sy - b * su) / sw
  return math.max(0, syy - a * sy - b * suy), a, b, sw
end

local function sigmoid(x, middle, width) return 1 / (1 + math.exp(-(x - middle) / width)) end

M.linear = { parameters = 2 }
function M.linear.fit(d, weight)
  local sse, a, b, n = project(d, weight, d.x)
  return { sse = sse, n = n, offset = a, slope = b }
end
function M.linear.at(f, x) return f.offset + f.slope * x end

-- y on (1, x, max(0, x - k)).
local function with_kink(d, weight, k)
  local m, v, total = { { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }, { 0, 0, 0 }, 0
  local n = 0
  for i = 0, d.n - 1 do
    local c = weight[d.cluster[i]]
    if c > 0 then
      local w, s, x = c * d.count[i], c * d.sum[i], d.x[i] - d.low
      local h = math.max(0, d.x[i] - k)
      n, total = n + w, total + c * d.squares[i]
      m[1][2], m[1][3], m[2][2] = m[1][2] + w * x, m[1][3] + w * h, m[2][2] + w * x * x
      m[2][3], m[3][3] = m[2][3] + w * x * h, m[3][3] + w * h * h
      v[1], v[2], v[3] = v[1] + s, v[2] + s * x, v[3] + s * h
    end
  end
  m[1][1], m[2][1], m[3][1], m[3][2] = n, m[1][2], m[1][3], m[2][3]
  local inverse = solve.inverse(m, 1e-9)
  if not inverse then return nil end
  local b = solve.times(inverse, v)
  local sse = math.max(0, total - b[1] * v[1] - b[2] * v[2] - b[3] * v[3])
  return { sse = sse, n = n, offset = b[1] - b[2] * d.low, slope = b[2], bend = b[3], kink = k }
end

M.kink = { parameters = 4 }
--- start: an earlier fit of nearly the same data; only its neighbourhood is searched then.
function M.kink.fit(d, weight, start)
  local range, best = d.high - d.low, nil
  local function try(k)
    local f = with_kink(d, weight, k)
    if f and (not best or f.sse < best.sse) then best = f end
    return f and f.sse or math.huge
  end
  local steps = 40
  if start then
    for i = -6, 6 do try(math.max(d.low, math.min(d.high, start.kink + i * range / steps))) end
  else
    for i = 1, steps - 1 do try(d.low + i * range / steps) end
  end
  if not best then return nil end
  local lo, hi, golden = best.kink - range / steps, best.kink + range / steps, (math.sqrt(5) - 1) / 2
  for _ = 1, start and 12 or 24 do
    local a, b = hi - golden * (hi - lo), lo + golden * (hi - lo)
    if try(a) < try(b) then hi = b else lo = a end
  end
  return best
end
function M.kink.at(f, x) return f.offset + f.slope * x + f.bend * math.max(0, x - f.kink) end

M.logistic = { parameters = 4 }
--- Middle b50 and width (in units of x; from 10 to 90 % of the step is 4.39 widths). low and high are the levels that
--- it leads from and to as x grows.
function M.logistic.fit(d, weight, start)
  local range, u, best = d.high - d.low, d.scratch, nil
  local function try(middle, log_width)
    middle = math.max(d.low, math.min(d.high, middle))
    local width = math.exp(math.max(math.log(range / 200), math.min(math.log(range), log_width)))
    for i = 0, d.n - 1 do u[i] = sigmoid(d.x[i], middle, width) end
    local sse, a, b, n = project(d, weight, u)
    if not best or sse < best.sse then
      best = { sse = sse, n = n, b50 = middle, width = width, low = a, high = a + b, log_width = math.log(width) }
    end
    return sse
  end
  if start then
    try(start.b50, start.log_width)
  else
    for i = 1, 11 do
      for _, share in ipairs { 40, 16, 6, 2.5 } do try(d.low + i * range / 12, math.log(range / share)) end
    end
  end
  -- Pattern search: steps along both axes, halved when neither helps.
  local step_m, step_w = range / 16, .5
  for _ = 1, start and 24 or 60 do
    local from, m, w = best.sse, best.b50, best.log_width
    try(m + step_m, w)
    try(m - step_m, w)
    try(m, w + step_w)
    try(m, w - step_w)
    if best.sse >= from * (1 - 1e-12) then step_m, step_w = step_m / 2, step_w / 2 end
  end
  return best
end
function M.logistic.at(f, x) return f.low + (f.high - f.low) * sigmoid(x, f.b50, f.width) end

--- Cells of items {x, y, cluster index from 0}: flat arrays with .n, .low, .high (the range of x).
function M.cells(items)
  local at, list = {}, {}
  for _, item in ipairs(items) do
    local key = item.cluster .. ":" .. ("%.17g"):format(item.x)
    local c = at[key]
    if not c then
      c = { x = item.x, cluster = item.cluster, count = 0, sum = 0, squares = 0 }
      at[key], list[#list + 1] = c, c
    end
    c.count, c.sum, c.squares = c.count + 1, c.sum + item.y, c.squares + item.y * item.y
  end
  table.sort(list, function(a, b)
    if a.cluster ~= b.cluster then return a.cluster < b.cluster end
    return a.x < b.x
  end)
  local d = { n = #list, low = math.huge, high = -math.huge, scratch = ffi.new("double[?]", math.max(1, #list)) }
  for _, name in ipairs { "x", "cluster", "count", "sum", "squares" } do
    d[name] = ffi.new(name == "cluster" and "int32_t[?]" or "double[?]", math.max(1, #list))
    for i, c in ipairs(list) do d[name][i - 1] = c[name] end
  end
  for i = 0, d.n - 1 do d.low, d.high = math.min(d.low, d.x[i]), math.max(d.high, d.x[i]) end
  return d
end

return M
