-- SPDX-License-Identifier: Apache-2.0
-- Confidence sequences for the mean of a finite population of numbers in [0, 1], sampled without replacement, by
-- betting: intervals that hold at all sample sizes at once, so that one may look after every passage and stop.
--
-- For each candidate mean m a gambler bets for and one against it with stakes fixed before the next value is seen. If m
-- is right their wealth is a martingale and passes 1 / delta with probability at most delta; candidates on which
-- somebody grew that rich are gone for good. Without replacement the mean of what is left moves with every draw, which
-- is what makes the interval close exactly when the last passage is in. Wealth is kept on a grid of candidates between
-- those still alive; the limits are widened by one grid step, so that no candidate between two grid points is lost.
-- Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", arXiv:2010.09686: the
-- hedged capital process (theorem 3), without replacement (section 5), stakes by predictable plug-in (eq. 26).
local ffi = require "ffi"

local M = {}
local Sequence = {}
Sequence.__index = Sequence

--- A sequence over a population of N values. opt: delta .05, grid 1000 (steps), hedge .5 (share of the wealth that bets
--- on "larger"), cap .5 (of the largest stake that cannot lose all).
function M.new(N, opt)
  opt = opt or {}
  if not (type(N) == "number" and N >= 1 and N % 1 == 0) then
    error(("stats.hedged: a population of %s values -> a whole number of at least 1"):format(tostring(N)), 0)
  end
  local delta = opt.delta or .05
  if not (delta > 0 and delta < 1) then
    error(("stats.hedged: delta is %s -> the allowed chance of error, e.g. .05"):format(tostring(delta)), 0)
  end
  local grid = opt.grid or 1000
  local s = setmetatable({ N = N, n = 0, sum = 0, delta = delta, grid = grid, first = 0, last = grid }, Sequence)
  s.hedge, s.cap = opt.hedge or .5, opt.cap or .5
  s.up, s.down = ffi.new("double[?]", grid + 1), ffi.new("double[?]", grid + 1) -- log wealth
  s.mean, s.variance, s.squares = .5, .25, .25 -- with one pseudo-observation: nothing is known yet
  s.lo, s.hi = 0, 1
  return s
end

-- Candidates that the values so far cannot have: the remaining ones are between 0 and 1.
local function bound(s)
  local least, most = s.sum / s.N, (s.sum + s.N - s.n) / s.N
  s.lo, s.hi = math.max(s.lo, least), math.min(s.hi, most)
end

--- Takes the next value; returns the interval so far. Values outside [0, 1], or more than N, are an error.
function Sequence:add(x)
  if not (type(x) == "number" and x >= 0 and x <= 1) then
    error(("stats.hedged: value %d is %s -> numbers in [0, 1]"):format(self.n + 1, tostring(x)), 0)
  end
  if self.n >= self.N then error(("stats.hedged: more than the %d values of the population"):format(self.N), 0) end
  local t, grid, cap = self.n + 1, self.grid, self.cap
  local stake = math.sqrt(2 * math.log(2 / self.delta) / (self.variance * t * math.log(t + 1)))
  local limit_up, limit_down = -math.log(self.delta * self.hedge), -math.log(self.delta * (1 - self.hedge))
  local left = self.N - t + 1
  local first, last = nil, nil
  for g = self.first, self.last do
    local mu = (self.N * g / grid - self.sum) / left -- the mean of what was left before this draw, if g is right
    if mu >= -1e-12 and mu <= 1 + 1e-12 then
      mu = math.max(0, math.min(1, mu))
      local up, down = math.min(stake, cap / mu), math.min(stake, cap / (1 - mu))
      self.up[g] = self.up[g] + math.log(1 + up * (x - mu))
      self.down[g] = self.down[g] + math.log(1 - down * (x - mu))
      if self.up[g] < limit_up and self.down[g] < limit_down then
        first, last = first or g, g
      end
    end
  end
  self.n, self.sum = t, self.sum + x
  if first then
    self.first, self.last = first, last
    self.lo, self.hi = math.max(self.lo, (first - 1) / grid), math.min(self.hi, (last + 1) / grid)
  else -- all grid points are gone: the mean lies between two that were alive, or everything is known
    self.first, self.last = 1, 0
  end
  bound(self)
  if self.hi < self.lo then -- by rounding only: the last value is in
    self.lo = (self.lo + self.hi) / 2
    self.hi = self.lo
  end
  self.mean = (.5 + self.sum) / (t + 1)
  self.squares = self.squares + (x - self.mean) ^ 2
  self.variance = self.squares / (t + 1)
  return self.lo, self.hi
end

--- {estimate = mean so far, lo, hi, n, of = N, delta}.
function Sequence:interval()
  return { estimate = self.n > 0 and self.sum / self.n or .5, lo = self.lo, hi = self.hi, n = self.n, of = self.N,
    delta = self.delta }
end

--- The interval after all of `values` (array in [0, 1], in the random order in which they were drawn) from a population
--- of opt.of values (default: these are all). Returns Sequence:interval()'s table with path = {{lo, hi}, ...}.
function M.hedged(values, opt)
  opt = opt or {}
  local s, path = M.new(opt.of or #values, opt), {}
  for i, x in ipairs(values) do path[i] = { s:add(x) } end
  local out = s:interval()
  out.path = path
  return out
end

return M
