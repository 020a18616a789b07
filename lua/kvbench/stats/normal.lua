-- SPDX-License-Identifier: Apache-2.0
-- The standard normal distribution, in plain Lua because C's math library offers no quantile and modules here run
-- without the core.
local M = {}

local SQRT_2PI = math.sqrt(2 * math.pi)

--- Pr(Z <= x). Series near the centre, continued fraction in the tails, so that small tail probabilities keep their
--- digits.
--- Source: Marsaglia, "Evaluating the Normal Distribution", J. Stat. Softw. 11(4), 2004; Abramowitz & Stegun 26.2.14.
function M.cdf(x)
  if x ~= x then return x end
  local density = math.exp(-x * x / 2) / SQRT_2PI
  if math.abs(x) < 3 then
    local term, sum, k = x, x, 1
    repeat
      k = k + 2
      term = term * x * x / k
      local before = sum
      sum = sum + term
    until sum == before
    return .5 + density * sum
  end
  local a, f = math.abs(x), 0
  for k = 120, 1, -1 do f = k / (a + f) end
  local tail = density / (a + f)
  return x < 0 and tail or 1 - tail
end

--- x with Pr(Z <= x) = p; -inf and inf at 0 and 1. Bisection: it is called a handful of times per figure.
function M.quantile(p)
  if not (p >= 0 and p <= 1) then error(string.format("normal.quantile: %s is not a probability", tostring(p)), 0) end
  if p > .5 then return -M.quantile(1 - p) end
  if p == 0 then return -math.huge end
  local lo, hi = -40, 0
  for _ = 1, 80 do
    local mid = (lo + hi) / 2
    if M.cdf(mid) < p then lo = mid else hi = mid end
  end
  return (lo + hi) / 2
end

--- The quantile of Student's t with `dof` degrees of freedom whose tail is that of z under the normal, by a third-order
--- expansion: for |z| <= 3 within 1e-4 from 19 degrees on and 1e-2 from 8 on, too small below.
--- Source: Abramowitz & Stegun 26.7.5.
function M.to_t(z, dof)
  local z2 = z * z
  return z + z * (z2 + 1) / (4 * dof) + z * ((5 * z2 + 16) * z2 + 3) / (96 * dof ^ 2)
    + z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * dof ^ 3)
end

return M
