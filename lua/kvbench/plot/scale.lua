-- SPDX-License-Identifier: Apache-2.0
-- From data to points and to ticks. A scale knows its limits; it is placed on the page (from, to) once the margins are
-- known.
local text = require "kvbench.plot.text"

local M = {}
local Scale = {}
Scale.__index = Scale

local function log2(x) return math.log(x) / math.log(2) end

-- The smallest of 1, 2, 5 times a power of ten that is at least x; quarters too where they read well, as percentages
-- do.
local function nice_step(x, quarters)
  local power = 10 ^ math.floor(math.log10(x))
  for _, factor in ipairs(quarters and { 1, 2, 2.5, 5, 10 } or { 1, 2, 5, 10 }) do
    if factor * power >= x * (1 - 1e-9) then return factor * power end
  end
end

-- Widens [lo, hi] when it is a point, so that one value sits in the middle of something.
local function opened(lo, hi)
  if hi > lo then return lo, hi end
  local half = lo == 0 and 0.5 or math.abs(lo) * 0.1
  return lo - half, hi + half
end

local function linear_limits(lo, hi, axis, loose)
  local raw_lo, raw_hi = lo, hi
  lo, hi = opened(lo, hi)
  local span = hi - lo
  if loose then -- y: out to half steps, and down to zero when zero is near, since areas under rates are compared
    local half = nice_step(span / 5) / 2
    lo = math.floor((lo - 0.02 * span) / half) * half
    hi = math.ceil((hi + 0.02 * span) / half) * half
    if raw_lo >= 0 and (lo < 0 or raw_lo < 0.35 * raw_hi) then lo = 0 end
    if raw_hi <= 0 and hi > 0 then hi = 0 end
    if axis.format == "percent" and raw_hi <= 1 and raw_hi >= 0 then hi = math.min(hi, 1) end
    if raw_lo == raw_hi and raw_lo >= 0 and (axis.format == "percent" or raw_lo == 0) then lo, hi = 0, 1 end
  else
    lo, hi = lo - 0.03 * span, hi + 0.03 * span
  end
  return lo, hi
end

--- A scale over data in [lo, hi] (finite). axis: scale = "linear"|"log2", min, max, ticks, labels, format. loose: y
--- axes.
function M.new(lo, hi, axis, loose)
  local s = setmetatable({ kind = axis.scale or "linear", axis = axis, exponent = 0 }, Scale)
  if s.kind == "log2" then
    local a, b = log2(lo), log2(hi)
    if b - a < 0.5 then a, b = a - 0.5, b + 0.5 end
    local pad = 0.03 * (b - a)
    s.lo, s.hi = 2 ^ (a - pad), 2 ^ (b + pad)
  else
    s.lo, s.hi = linear_limits(lo, hi, axis, loose)
  end
  s.lo, s.hi = axis.min or s.lo, axis.max or s.hi
  local size = math.max(math.abs(s.lo), math.abs(s.hi)) * (axis.format == "percent" and 100 or 1)
  if s.kind == "linear" and (size >= 1e6 or size < 1e-2) then
    s.exponent = math.floor(math.log10(size) / 3 + 1e-9) * 3
  end
  return s
end

--- Puts the scale on the page: lo at `from`, hi at `to` (points; to < from for a y axis).
function Scale:place(from, to) self.from, self.to = from, to end

--- Where a value lies on the page, in points.
function Scale:map(v)
  local t
  if self.kind == "log2" then
    t = (log2(v) - log2(self.lo)) / (log2(self.hi) - log2(self.lo))
  else
    t = (v - self.lo) / (self.hi - self.lo)
  end
  return self.from + t * (self.to - self.from)
end

--- Does a value lie between the ends (rounding allowed)?
function Scale:contains(v)
  local slack = self.kind == "linear" and 1e-9 * (self.hi - self.lo) or 1e-9 * self.lo
  return v >= self.lo - slack and v <= self.hi + slack
end

local function decimals_of(step) return math.max(0, math.min(12, math.ceil(-math.log10(step) - 1e-9))) end

-- The fewest decimals that tell every tick from its rounded text.
local function decimals_for(values)
  for d = 0, 6 do
    local exact = true
    for _, v in ipairs(values) do
      if math.abs(tonumber(("%%.%df"):format(d):format(v)) - v) > 1e-9 * math.max(1, math.abs(v)) then exact = false end
    end
    if exact then return d end
  end
  return 6
end

function Scale:labelled(values, step)
  local ticks = {}
  local percent = self.axis.format == "percent"
  local scale = (percent and 100 or 1) / 10 ^ self.exponent
  local shown = {}
  for i, v in ipairs(values) do shown[i] = v * scale end
  local decimals = step and decimals_of(step * scale) or decimals_for(shown)
  for i, v in ipairs(values) do
    local label = not step and self.axis.labels and self.axis.labels[i] -- labels belong to given ticks
    ticks[i] = { at = v, label = label or text.number(shown[i], decimals) .. (percent and "%" or "") }
  end
  return ticks
end

function Scale:powers(every)
  local first, last = math.ceil(log2(self.lo) - 1e-9), math.floor(log2(self.hi) + 1e-9)
  local plain, ticks = last <= 16 and first >= -3, {}
  for e = math.ceil(first / every) * every, last, every do
    local label = plain and ("%.12g"):format(2 ^ e) or text.power("2", e)
    ticks[#ticks + 1] = { at = 2 ^ e, label = label }
  end
  return ticks
end

function Scale:steps(step)
  local values = {}
  for k = math.ceil(self.lo / step - 1e-6), math.floor(self.hi / step + 1e-6) do
    values[#values + 1] = k * step
    if #values > 200 then break end
  end
  return self:labelled(values, step)
end

--- Ticks {at, label} that fit: fits(ticks) says whether their labels keep apart. Given ticks are thinned, never moved.
function Scale:ticks(fits)
  if self.axis.ticks then
    local inside = {}
    for _, tick in ipairs(self:labelled(self.axis.ticks)) do
      if self:contains(tick.at) then
        inside[#inside + 1] = tick
        if not fits(inside) then inside[#inside] = nil end
      end
    end
    return inside
  end
  if self.kind == "log2" then
    local last
    for every = 1, 64 do
      local ticks = self:powers(every)
      if every == 1 and #ticks < 2 then break end
      if #ticks < 1 then break end
      last = ticks
      if fits(ticks) then break end
    end
    if last then return last end
  end
  local quarters = self.axis.format == "percent" and self.hi - self.lo > 0.3
  local step = nice_step((self.hi - self.lo) / 8, quarters)
  for _ = 1, 12 do
    local ticks = self:steps(step)
    if fits(ticks) then return ticks end
    step = nice_step(step * 1.2, quarters)
  end
  return self:steps(step)
end

--- What belongs behind the axis label: "×10⁶", or nil.
function Scale:multiplier()
  if self.exponent ~= 0 then return "×" .. text.power("10", self.exponent) end
end

return M
