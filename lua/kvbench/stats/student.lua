-- SPDX-License-Identifier: Apache-2.0
-- Student's t distribution through the incomplete beta function: few passages make the normal too sure of itself.
local M = {}

-- log Gamma(x), x > 0. Source: Lanczos, SIAM J. Numer. Anal. B 1, 1964 (g = 7, nine terms; 15 digits).
local LANCZOS = { 0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7 }

local function log_gamma(x)
  local sum, t = LANCZOS[1], x + 6.5
  for i = 1, 8 do sum = sum + LANCZOS[i + 1] / (x - 1 + i) end
  return .5 * math.log(2 * math.pi) + (x - .5) * math.log(t) - t + math.log(sum)
end

-- Continued fraction of the incomplete beta function by the modified Lentz method; fast for x < (a + 1) / (a + b + 2).
-- Source: NIST Digital Library of Mathematical Functions, 8.17.22.
local function beta_fraction(a, b, x)
  local tiny = 1e-300
  local c, d = 1, 1 - (a + b) * x / (a + 1)
  d = 1 / (math.abs(d) < tiny and tiny or d)
  local h = d
  for m = 1, 1000 do
    local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    local odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    local before = h
    for _, step in ipairs { even, odd } do
      d, c = 1 + step * d, 1 + step / c
      d = 1 / (math.abs(d) < tiny and tiny or d)
      c = math.abs(c) < tiny and tiny or c
      h = h * d * c
    end
    if math.abs(h - before) <= 1e-15 * math.abs(h) then break end
  end
  return h
end

--- The regularised incomplete beta function I_x(a, b).
function M.beta(a, b, x)
  if x <= 0 then return 0 elseif x >= 1 then return 1 end
  local front = math.exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * math.log(x) + b * math.log(1 - x))
  if x < (a + 1) / (a + b + 2) then return front * beta_fraction(a, b, x) / a end
  return 1 - front * beta_fraction(b, a, 1 - x) / b
end

--- Pr(T <= t) with `dof` degrees of freedom (any positive number).
function M.cdf(t, dof)
  if t ~= t then return t end
  local tail = .5 * M.beta(dof / 2, .5, dof / (dof + t * t))
  return t > 0 and 1 - tail or tail
end

--- Two-sided p value of t.
function M.two_sided(t, dof) return M.beta(dof / 2, .5, dof / (dof + t * t)) end

--- t with Pr(T <= t) = p, 0 < p < 1. Bisection on the tail, so that small tails keep their digits.
function M.quantile(p, dof)
  if not (p > 0 and p < 1 and dof > 0) then
    error(("stats: no quantile %s of Student's t with %s degrees of freedom"):format(tostring(p), tostring(dof)), 0)
  end
  if p > .5 then return -M.quantile(1 - p, dof) end
  local lo, hi = -1, 0
  while M.cdf(lo, dof) > p do lo, hi = 2 * lo, lo end
  for _ = 1, 100 do
    local mid = (lo + hi) / 2
    if M.cdf(mid, dof) < p then lo = mid else hi = mid end
  end
  return (lo + hi) / 2
end

return M
