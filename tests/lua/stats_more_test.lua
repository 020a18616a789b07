-- SPDX-License-Identifier: Apache-2.0
-- The statistics beyond curves, by hand, and what they say when the data cannot tell.
local rng = require "kvbench.rng"
local stats = require "kvbench.stats"
local t = require "kvbench.testing"

t.case("isotonic: a spike by hand", function()
  local rows = {}
  for c = 1, 4 do
    for i, y in ipairs { 1, .4, .8, .2 } do rows[#rows + 1] = { passage_id = c, ratio = i / 10, y = y } end
  end
  local s = stats.isotonic(rows, { y = "y" })
  t.near(s.estimate, .2, 1e-12) -- .4 and .8 pool to .6
  t.eq({ s.x, s.n, s.clusters }, { .3, 16, 4 })
  t.near(s.points[2].fit, .6, 1e-12)
  t.ok(s.p < .01, "no passage differs, so nothing can make it up")
  local rising = stats.isotonic(rows, { y = "y", decreasing = false })
  t.near(rising.points[1].fit, .6, 1e-12)
end)

t.case("isotonic: too few points or passages is said, not computed", function()
  local rows = { { passage_id = 1, ratio = 0, y = 1 }, { passage_id = 2, ratio = .5, y = 0 } }
  local s = stats.isotonic(rows, { y = "y" })
  t.eq(s.p, nil)
  t.ok(s.reason:find "2 points and 2 passages")
  t.fails(function() stats.pava({ 1, 0 / 0 }) end, "point 2")
  t.fails(function() stats.pava({ 1, 2 }, { 1, 0 }) end, "positive weight")
end)

t.case("betting: bounds that need no bet, and bad input", function()
  local s = stats.hedged_sequence(4)
  t.eq({ s:add(1) }, { .25, 1 })
  s:add(0)
  s:add(0)
  local lo, hi = s:add(1)
  t.near(lo, .5, 1e-12)
  t.near(hi, .5, 1e-12)
  t.fails(function() s:add(1) end, "more than the 4 values")
  t.fails(function() stats.hedged_sequence(3):add(1.2) end, "value 1 is 1.2")
  t.fails(function() stats.hedged_sequence(2.5) end, "population of 2.5")
  t.fails(function() stats.hedged_sequence(3, { delta = 0 }) end, "delta is 0")
  t.eq(stats.hedged({}, { of = 7 }).lo, 0)
end)

t.case("betting: the interval never widens", function()
  local r, s = rng.new "narrowing", stats.hedged_sequence(300, { delta = .01 })
  local lo, hi = 0, 1
  for _ = 1, 300 do
    local l, h = s:add(r:uniform() < .8 and 1 or 0)
    t.ok(l >= lo and h <= hi and l <= h)
    lo, hi = l, h
  end
end)

t.case("equivalence: by passages, and what it cannot say", function()
  local a, b = {}, {}
  for c = 1, 6 do
    for q = 1, c do
      a[#a + 1] = { passage_id = c, y = .5 + .01 * (c % 2) }
      b[#b + 1] = { passage_id = c, y = .5, q = q }
    end
  end
  local r = stats.tost(a, b, { y = "y" })
  t.near(r.estimate, .01 * 9 / 21, 1e-12)
  t.eq({ r.n, r.clusters, r.equivalent }, { 21, 6, true })
  t.eq(stats.tost(a, b, { y = "y", margin = .002 }).equivalent, false)
  local few = stats.tost({ a[1] }, { b[1] }, { y = "y" })
  t.ok(few.reason:find "1 passages" and not few.equivalent)
  t.fails(function() stats.tost(a, { b[2] }, { y = "y" }) end, "2 rows on one side and 1 on the other")
  local same = stats.tost(b, b, { y = "y" })
  t.eq({ same.p, same.equivalent }, { 0, true })
end)

t.case("equivalence over different passages: Welch, by hand", function()
  local function rows(list)
    local out = {}
    for c, y in ipairs(list) do out[c] = { passage_id = c, y = y } end
    return out
  end
  local a, b = rows { .41, .44, .40, .43, .45 }, rows { .42, .41, .47, .44 }
  local r = stats.tost_between(a, b, { y = "y", margin = .05 })
  t.near(r.estimate, -.009, 1e-12)
  t.near(r.p, .0233041, 1e-6) -- t = .041 / .0161555 with 5.64976 degrees of freedom
  t.near(r.lo, -.0407450, 1e-6)
  t.near(r.hi, .0227450, 1e-6)
  t.eq({ r.equivalent, r.n, r.clusters }, { true, 9, 9 })
  t.eq(stats.tost_between(a, b, { y = "y" }).equivalent, false)
  t.ok(stats.tost_between(a, { b[1], b[2] }, { y = "y" }).reason:find "2 passages on one side")
  local c = rows { .5, .5, .5 }
  t.eq({ stats.tost_between(c, c, { y = "y" }).p, stats.tost_between(a, c, { y = "y" }).equivalent }, { 0, false })
end)

t.case("max-T: a cell that nothing fills is not significant; the threshold is", function()
  local values = {}
  for c = 1, 8 do values[c] = { c % 2 == 0 and 1 or -1, 1, 0 / 0 } end
  local r = stats.max_t(values)
  t.eq({ r.cells[1].t, r.cells[3].t, r.cells[3].n, r.cells[3].p }, { 0, 0, 0, 1 })
  t.near(r.cells[2].p, 2 / 256 * 2, 1e-12) -- cell 1 reaches the same |t| under two more patterns
  t.near(r.cells[2].t, math.sqrt(8), 1e-12)
  t.fails(function() stats.max_t({}) end, "0 passages")
end)

t.case("fixed effects: without effects it is least squares with a constant", function()
  local rows = {}
  for i = 1, 8 do rows[i] = { passage_id = i, x = i, y = 2 + 3 * i } end
  local f = stats.fixed_effects(rows, { y = "y", x = { "x" } })
  t.near(f.coefficients[1].estimate, 3, 1e-9)
  t.near(f.r2_within, 1, 1e-9)
end)

t.case("fixed effects: what the effects explain is said", function()
  local rows = {}
  for c = 1, 5 do
    for k = 1, 3 do rows[#rows + 1] = { passage_id = c, k = k, x = k, z = k * c, w = 2 * k * c, y = c * k % 3 } end
  end
  local function of(columns) return stats.fixed_effects(rows, { y = "y", x = columns, effects = { "k" } }) end
  t.ok(of({ "x" }).reason:find "column 1 of x %(x%) does not vary")
  t.ok(of({ "z", "w" }).reason:find "column 2 of x %(w%) is a mixture")
  t.ok(stats.fixed_effects({ rows[1] }, { y = "y", x = { "x" } }).reason:find "1 passages")
  t.ok(stats.fixed_effects(rows, { y = "nothing", x = { "x" } }).reason:find "none of 15 rows")
end)

t.case("d': always abstaining moves the criterion, not d'", function()
  local rows = {}
  for c = 1, 10 do
    for q = 1, 4 do rows[#rows + 1] = { passage_id = c, answerable = q <= 2, abstention = true } end
  end
  local s = stats.dprime(rows)
  t.near(s.estimate, 0, 1e-12)
  t.ok(s.criterion.estimate < -1.5)
  t.eq({ s.hits, s.signals, s.false_alarms, s.noises, s.clusters }, { 20, 20, 20, 20, 10 })
  local one = stats.dprime({ rows[1], rows[2] })
  t.eq(one.estimate, nil)
  t.ok(one.reason:find "0 questions that should be refused, 2 that should not")
end)

t.case("crossed: wider than passages alone when values matter", function()
  local r, rows, value = rng.new "crossed", {}, {}
  for v = 1, 8 do value[v] = r:normal() end
  for c = 1, 60 do
    for q = 1, 4 do
      local v = r:int(1, 8)
      rows[#rows + 1] = { passage_id = c, gold = "v" .. v, y = value[v] + .1 * r:normal(), q = q }
    end
  end
  local both, passages = stats.crossed(rows, { y = "y" }), stats.mean(rows, { y = "y" })
  t.near(both.estimate, passages.mean, 1e-12)
  t.ok(both.hi - both.lo > 1.5 * (passages.hi - passages.lo))
  t.eq(both.clusters, { 60, 8 })
  local few = stats.crossed({ rows[1], rows[2] }, { y = "y" })
  t.ok(few.lo == nil and few.reason:find "resampling both")
end)

t.case("shapes: too little data is said; the seed decides", function()
  local rows = {}
  for c = 1, 12 do
    for x = 1, 6 do rows[#rows + 1] = { passage_id = c, x = x, y = (x > 3 and .8 or .2) + .01 * (c * x % 7) } end
  end
  local opt = { x = "x", y = "y", replicates = 20 }
  local a, b = stats.curve_fit(rows, opt), stats.curve_fit(rows, opt)
  t.eq({ a.chosen, a.estimate, a.lo, a.hi }, { b.chosen, b.estimate, b.lo, b.hi })
  t.near(a.estimate, 3.5, .5)
  local few = stats.curve_fit({ rows[1], rows[2] }, opt)
  t.ok(few.chosen == nil and few.reason:find "1 passages at 2 x")
end)
