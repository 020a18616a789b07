-- SPDX-License-Identifier: Apache-2.0
-- Grids of ratios and how many tokens they keep.
local t = require "kvbench.testing"
local ratios = require "kvbench.ratios"

t.case("ratios: grids, rounding, range", function()
  t.eq(ratios.paper, { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9 })
  t.eq(ratios.cliff, { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .925, .95, .97, .98, .99 })
  t.ok(ratios.round(.1 + .2) == .3, "0.30000000000000004 is 0.3")
  t.ok(ratios.round("0.9") == .9 and ratios.round(.12345678) == .123457, "strings, six decimals")
  t.eq(ratios.list("0.5, .1,0.5"), { .1, .5 })
  t.eq(ratios.list("paper"), ratios.paper)
  t.eq(ratios.list(.5), { .5 })
  for _, bad in ipairs { 1, 1.5, -.1, 90, 0 / 0, .9999999, -1e-9 } do
    local err = t.fails(function() ratios.round(bad) end, "^ratio: ")
    t.ok(not err:find("\n"), "one line")
  end
  t.fails(function() ratios.round("ten") end, "'ten' is not a number")
  t.fails(function() ratios.list({}) end, "list is empty")
end)

-- Python: max(1, int(n * (1 - r))) for n, r in the list.
t.case("ratios: tokens kept, in double", function()
  for _, c in ipairs {
    { 10, .9, 1 }, { 100, .9, 9 }, { 250, .9, 24 }, { 251, .1, 225 }, { 1000, .7, 300 }, { 1, .99, 1 }, { 5, 0, 5 },
    { 1450, .3, 1014 }, { 100, .1 + .2, 70 }, { 200, .95, 10 }, { 333, .925, 24 }, { 90, .8, 17 },
  } do
    t.eq(ratios.n_kept(c[1], c[2]), c[3], c[1] .. " at " .. c[2])
  end
  t.fails(function() ratios.n_kept(0, .5) end, "at least 1")
  t.fails(function() ratios.n_kept(2.5, .5) end, "whole number")
end)
