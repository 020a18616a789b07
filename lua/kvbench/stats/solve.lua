-- SPDX-License-Identifier: Apache-2.0
-- Small symmetric systems in double precision: normal equations of regressions with a handful of columns.
local M = {}

--- Inverse of a symmetric positive definite matrix (array of rows) by Cholesky, or nil and the index of the first
--- column that the ones before it explain (to within `tolerance` of its own length).
function M.inverse(a, tolerance)
  local n, l, out = #a, {}, {}
  for i = 1, n do
    l[i] = {}
    for j = 1, i do
      local s = a[i][j]
      for k = 1, j - 1 do s = s - l[i][k] * l[j][k] end
      if i == j then
        if not (s > (tolerance or 1e-10) * math.abs(a[i][i])) then return nil, i end
        l[i][i] = math.sqrt(s)
      else
        l[i][j] = s / l[j][j]
      end
    end
  end
  for c = 1, n do
    local x = {}
    for i = 1, n do
      local s = i == c and 1 or 0
      for k = 1, i - 1 do s = s - l[i][k] * x[k] end
      x[i] = s / l[i][i]
    end
    for i = n, 1, -1 do
      local s = x[i]
      for k = i + 1, n do s = s - l[k][i] * x[k] end
      x[i] = s / l[i][i]
    end
    for i = 1, n do
      out[i] = out[i] or {}
      out[i][c] = x[i]
    end
  end
  return out
end

--- The matrix times a vector.
function M.times(a, v)
  local out = {}
  for i = 1, #a do
    local s = 0
    for k = 1, #v do s = s + a[i][k] * v[k] end
    out[i] = s
  end
  return out
end

--- v' A v.
function M.quadratic(a, v)
  local s = 0
  for i, x in ipairs(M.times(a, v)) do s = s + x * v[i] end
  return s
end

return M
