-- SPDX-License-Identifier: Apache-2.0
-- Intervals are promises: how often do they hold the truth on data whose truth is known? Seeded; KVB_SIMULATIONS
-- multiplies the number of runs (1 in the usual tests, a few seconds; 20 for the numbers in docs/statistics.md).
-- Bounds are the promised level plus three standard errors of the simulation itself.
local rng = require "kvbench.rng"
local stats = require "kvbench.stats"
local t = require "kvbench.testing"

local TIMES = tonumber(os.getenv "KVB_SIMULATIONS" or "") or 1
local show = os.getenv "KVB_SIMULATIONS" ~= nil

-- Runs `one(r, i)` -> true where the interval holds; checks the share against [at least, at most].
local function share(name, runs, least, most, one)
  t.case(name, function()
    runs = math.floor(runs * TIMES)
    local r, held = rng.new("coverage/" .. name), 0
    for i = 1, runs do if one(r, i) then held = held + 1 end end
    local p = held / runs
    local function slack(q) return 3 * math.sqrt(math.max(q * (1 - q), 1e-4) / runs) end
    if show then io.stdout:write(("  %s: %.3f of %d\n"):format(name, p, runs)) end
    t.ok(p >= least - slack(least), ("%s: %.3f, promised %.3f"):format(name, p, least))
    t.ok(p <= most + slack(most), ("%s: %.3f, more than %.3f says that the interval is useless"):format(name, p, most))
  end)
end

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end

-- Stopping as soon as the interval is narrow is what ordinary intervals do not survive.
local function population(r, N)
  local values, sum = {}, 0
  for i = 1, N do
    values[i] = r:uniform() < .3 and 0 or math.floor(r:uniform() * 7) / 6
    sum = sum + values[i]
  end
  return r:shuffle(values), sum / N
end

share("betting: stopped at +-.06, the interval holds the suite's mean", 60, .95, 1, function(r)
  local values, mean = population(r, 400)
  local s = stats.hedged_sequence(400, { grid = 400 })
  for _, v in ipairs(values) do
    local lo, hi = s:add(v)
    if hi - lo <= .12 then break end
  end
  return s.lo <= mean and mean <= s.hi
end)

t.case("betting: it stops early, and at the end it knows", function()
  local r, total = rng.new "early", 0
  for _ = 1, 10 do
    local values, mean = population(r, 2000)
    local s = stats.hedged_sequence(2000, { grid = 400 })
    local at
    for i, v in ipairs(values) do
      local lo, hi = s:add(v)
      if hi - lo <= .1 and not at then at = i end
    end
    total = total + at
    t.near(s.lo, mean, 1e-9)
    t.near(s.hi, mean, 1e-9)
  end
  t.ok(total / 10 < 800, "mean of " .. total / 10 .. " of 2000 for +-.05")
end)

-- Watching an ordinary interval at every passage: the reason for all this.
t.case("a t interval that is watched misses more often than it says", function()
  local r, missed = rng.new "watched", 0
  for _ = 1, 200 do
    local values, mean = population(r, 400)
    local n, sum, squares = 0, 0, 0
    local out = false
    for _, v in ipairs(values) do
      n, sum, squares = n + 1, sum + v, squares + v * v
      if n >= 10 and n <= 200 then
        local se = math.sqrt((squares / n - (sum / n) ^ 2) / (n - 1) * (1 - n / 400))
        out = out or math.abs(sum / n - mean) > 1.96 * se
      end
    end
    if out then missed = missed + 1 end
  end
  t.ok(missed / 200 > .15, "missed " .. missed / 200)
end)

local GRID = { 0, .1, .3, .5, .6, .7, .8, .9, .95 }
local function answers(r, C, curve)
  local rows = {}
  for c = 1, C do
    local taste = r:normal() * .5
    for _ = 1, 5 do
      local u = r:uniform()
      for _, x in ipairs(GRID) do
        local v = r:uniform() < .6 and u or r:uniform()
        rows[#rows + 1] = { passage_id = c, ratio = x, y = v < sigmoid(curve(x) + taste) and 1 or 0 }
      end
    end
  end
  return rows
end

share("spike test: a flat curve is called one in 5 %", 60, .9, 1, function(r, i)
  local s = stats.isotonic(answers(r, 30, function() return .5 end), { y = "y", replicates = 200, seed = i })
  return s.p > .05
end)
share("spike test: a cliff is no spike", 40, .9, 1, function(r, i)
  local s = stats.isotonic(answers(r, 30, function(x) return x < .75 and 1 or -2 end), { y = "y", replicates = 200,
    seed = i })
  return s.p > .05
end)
share("spike test: a rise to .8 within a fall is found", 15, .9, 1, function(r, i)
  local s = stats.isotonic(answers(r, 30, function(x) return 1.2 - 3 * x + (x == .8 and 1.4 or 0) end),
    { y = "y", replicates = 200, seed = i })
  return s.p <= .05 and s.x == .8
end)

-- Steps at 4.8 tokens (log2), each passage with a step of its own.
local function steps(r, C, width)
  local rows = {}
  for c = 1, C do
    local middle, level = 4.8 + .4 * r:normal(), .75 + .1 * r:normal()
    for _, x in ipairs { 2, 3, 4, 4.5, 5, 5.5, 6, 7 } do
      local y = width and level * sigmoid((x - middle) / width) or level * (x - 2) / 5
      rows[#rows + 1] = { passage_id = c, x = x, y = y + .12 * r:normal() }
    end
  end
  return rows
end
-- What all passages together have in the middle is their common step's middle.
share("b50: the interval holds the common middle", 24, .9, 1, function(r, i)
  local f = stats.curve_fit(steps(r, 30, .3), { x = "x", y = "y", replicates = 100, seed = i })
  return f.lo <= 4.8 and 4.8 <= f.hi
end)
share("shapes: a line is not called a step", 15, .9, 1, function(r, i)
  local f = stats.curve_fit(steps(r, 30), { x = "x", y = "y", replicates = 20, seed = i })
  return f.chosen == "linear" or not f.clear
end)
share("shapes: a step is called one", 15, .9, 1, function(r, i)
  local f = stats.curve_fit(steps(r, 30, .2), { x = "x", y = "y", replicates = 20, seed = i })
  return f.chosen == "logistic" and f.clear
end)

-- Three sizes of one system: do the intervals of the width exponent and of the shift hold, where a width shrinks and
-- where it does not?
-- The truth is what the same curves give without noise.
local function three_sizes(r, exponent, noise)
  local groups = {}
  for k, size in ipairs { 64, 256, 1024 } do
    local rows, width = {}, .8 * 4 ^ (exponent * (k - 1))
    for c = 1, 16 * 4 do
      for x = 2, 2 * (4 + 2 * k) do
        local y = .7 * sigmoid((x / 2 - 3.6 - .4 * k) / width) + noise * r:normal()
        rows[#rows + 1] = { passage_id = c % 16, ratio = 1 - 2 ^ (x / 2 - 10), x = x / 2, y = y }
      end
    end
    groups[k] = { size = size, rows = rows }
  end
  return groups
end
for _, exponent in ipairs { 0, -.25 } do
  local truth = stats.finite_size(three_sizes(rng.new "still", exponent, 0), { x = "x", y = "y", replicates = 2 })
  for _, name in ipairs { "width_exponent", "shift" } do
    share(("finite size: %s where the width goes as size^%g"):format(name, exponent), 20, .9, 1, function(r, i)
      local s = stats.finite_size(three_sizes(r, exponent, .25), { x = "x", y = "y", replicates = 200, seed = i })[name]
      return s ~= nil and s.lo <= truth[name].estimate and truth[name].estimate <= s.hi
    end)
  end
end

share("fixed effects: beta - gamma is held", 60, .93, .99, function(r)
  local rows, taste = {}, {}
  for c = 1, 40 do
    for q = 1, 4 do
      taste[q] = r:normal() * .2
      local shock = r:normal() * .1
      for k = 1, 5 do
        local ger, placebo = k / 5 + .2 * r:normal() + taste[q], k / 5 + .2 * r:normal()
        rows[#rows + 1] = { passage_id = c, question = c .. "/" .. q, condition = k, ger = ger, placebo = placebo,
          y = taste[q] + .1 * k + .5 * ger + .1 * placebo + shock * k + .2 * r:normal() }
      end
    end
  end
  local f = stats.fixed_effects(rows, { y = "y", x = { "ger", "placebo" }, effects = { "question", "condition" },
    contrast = { 1, -1 } })
  return f.contrast.lo <= .4 and .4 <= f.contrast.hi
end)

share("equivalence: differences of the margin are called equal in 5 %", 200, .94, 1, function(r)
  local a, b = {}, {}
  for c = 1, 30 do
    local y = r:normal()
    a[c], b[c] = { passage_id = c, y = y + .03 + .08 * r:normal() }, { passage_id = c, y = y }
  end
  return not stats.tost(a, b, { y = "y" }).equivalent
end)

share("d': the interval holds the true one", 24, .9, 1, function(r, i)
  local rows = {}
  for c = 1, 50 do
    local lean = .3 * r:normal()
    for q = 1, 8 do
      local unanswerable = q <= 4
      rows[#rows + 1] = { passage_id = c, answerable = not unanswerable,
        abstention = r:normal() + lean + (unanswerable and 1.2 or 0) > .5 }
    end
  end
  local s = stats.dprime(rows, { replicates = 300, seed = i })
  local truth = 1.2 / math.sqrt(1 + .3 ^ 2) -- the passages' own lean widens the noise
  return s.lo <= truth and truth <= s.hi
end)

share("crossed: passages and slot values are both samples", 40, .92, 1, function(r, i)
  local rows, value = {}, {}
  for v = 1, 20 do value[v] = .3 * r:normal() end
  for c = 1, 60 do
    local passage = .2 * r:normal()
    for _ = 1, 6 do
      local v = r:int(1, 20)
      rows[#rows + 1] = { passage_id = c, gold = v, y = .5 + passage + value[v] + .3 * r:normal() }
    end
  end
  local s = stats.crossed(rows, { y = "y", replicates = 200, seed = i })
  return s.lo <= .5 and .5 <= s.hi
end)
