-- SPDX-License-Identifier: Apache-2.0
-- chi = dH/dalpha on a grid that is not evenly spaced (0, .1 ... .9, .925, .95, ...), and its peak.
local M = {}

--- Derivative of ys at xs (ascending arrays of equal length, at least 2). Inside: the three-point formula for uneven
--- spacing, exact for parabolas; with h = x - left and k = right - x it is (h^2 y_right + (k^2 - h^2) y - k^2
--- y_left) / (h k (h + k)). At both ends: the one-sided difference, which is only exact for lines. Returns an array.
function M.derivative(xs, ys)
  local n = #xs
  if n < 2 then
    error(string.format("susceptibility: %d ratios -> a derivative needs at least 2, a peak at least 3", n), 0)
  end
  local out = {}
  for i = 2, n do
    if xs[i] <= xs[i - 1] then
      error(string.format("susceptibility: x must ascend, but %s follows %s", tostring(xs[i]), tostring(xs[i - 1])), 0)
    end
  end
  out[1] = (ys[2] - ys[1]) / (xs[2] - xs[1])
  out[n] = (ys[n] - ys[n - 1]) / (xs[n] - xs[n - 1])
  for i = 2, n - 1 do
    local h, k = xs[i] - xs[i - 1], xs[i + 1] - xs[i]
    out[i] = (h * h * ys[i + 1] + (k * k - h * h) * ys[i] - k * k * ys[i - 1]) / (h * k * (h + k))
  end
  return out
end

--- The largest value: {index, x, value, is_peak, reason}. is_peak is false, with the reason, when it lies on the
--- last or first grid point (the curve may go on rising beyond), or nothing rises at all. Of equal values the first
--- counts.
function M.peak(xs, chi)
  local best = 1
  for i = 2, #xs do if chi[i] > chi[best] then best = i end end
  local peak = { index = best, x = xs[best], value = chi[best], is_peak = true }
  if #xs < 3 then
    peak.is_peak, peak.reason = false, "fewer than 3 grid points"
  elseif not (chi[best] > 0) then
    peak.is_peak, peak.reason = false, "the curve rises nowhere"
  elseif best == #xs then
    peak.is_peak, peak.reason = false, "the maximum is the last grid point: extend the grid"
  elseif best == 1 then
    peak.is_peak, peak.reason = false, "the maximum is the first grid point"
  end
  return peak
end

return M
