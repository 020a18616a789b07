-- SPDX-License-Identifier: Apache-2.0
-- What figures are made of, by hand-made expectations: CSV text in full, ticks and labels, wrapped text, numbers as
-- papers print them, colours.
local csv = require "kvbench.csv"
local ffi = require "ffi"
local kvb = require "kvbench.ffi"
local t = require "kvbench.testing"

ffi.cdef "int getpid(void);"
local nan = 0 / 0
local folder = "/tmp/kvb_plot_parts_test_" .. ffi.C.getpid()

local slurp = t.read
-- ---- csv ------------------------------------------------------------

t.case("csv numbers are the shortest that restore the double", function()
  for _, c in ipairs {
    { 0.1, "0.1" }, { 1, "1" }, { -3, "-3" }, { 1 / 3, "0.3333333333333333" }, { 0.1 + 0.2, "0.30000000000000004" },
    { 1e300, "1e+300" }, { 2 ^ 53, "9007199254740992" }, { 1e14, "100000000000000" }, { nan, "nan" },
    { math.huge, "inf" }, { -math.huge, "-inf" },
  } do
    t.eq(csv.number(c[1]), c[2])
  end
  for i = 1, 200 do
    local x = math.sin(i) * 10 ^ (i % 40 - 20)
    t.ok(tonumber(csv.number(x)) == x, "round trip of " .. csv.number(x))
  end
end)

t.case("csv quotes as RFC 4180 asks", function()
  t.eq(csv.text({ "a", "b,c" }, { { 1, 'say "x"' }, { a = "two\nlines", ["b,c"] = true }, { nil, " edge" } }),
    'a,"b,c"\n1,"say ""x"""\n"two\nlines",true\n," edge"\n')
  t.eq(csv.cell(12345678901234567LL), "12345678901234567")
  t.eq(csv.text({ "only" }, {}), "only\n")
  t.fails(function() csv.cell {} end, "a cell is a table")
end)

t.case("csv is written whole, or an error names the path", function()
  kvb.check(kvb.C.kvb_dir_make(folder))
  t.eq(csv.write(folder .. "/a.csv", { "x" }, { { 1 }, { 2 } }), folder .. "/a.csv")
  t.eq(slurp(folder .. "/a.csv"), "x\n1\n2\n")
  t.fails(function() csv.write(folder .. "/none/a.csv", { "x" }, {}) end, "none/a.csv")
end)

-- ---- scales, labels, text ------------------------------------------------------------

local scale = require "kvbench.plot.scale"

local function ticks_of(lo, hi, axis, most)
  local s = scale.new(lo, hi, axis, true)
  s:place(100, 0)
  local out = {}
  for i, tick in ipairs(s:ticks(function(list) return #list <= most end)) do out[i] = tick.label end
  return table.concat(out, " "), s
end

t.case("linear ticks are 1-2-5 and as many as fit", function()
  t.eq((ticks_of(0, 70, { max = 70 }, 8)), "0 10 20 30 40 50 60 70")
  t.eq((ticks_of(0, 70, { max = 70 }, 4)), "0 20 40 60")
  t.eq((ticks_of(-1, 1, { min = -1, max = 1 }, 5)), "−1.0 −0.5 0.0 0.5 1.0")
  t.eq((ticks_of(0, 1, { format = "percent" }, 6)), "0% 20% 40% 60% 80% 100%")
  t.eq((ticks_of(0, 1, { format = "percent" }, 5)), "0% 25% 50% 75% 100%")
  t.eq((ticks_of(0, 40000, {}, 5)), "0 10,000 20,000 30,000 40,000")
end)

t.case("rates start at zero and end at 100 %", function()
  local _, s = ticks_of(0.02, 0.97, { format = "percent" }, 6)
  t.eq({ s.lo, s.hi }, { 0, 1 })
  _, s = ticks_of(0, 0, { format = "percent" }, 6)
  t.eq({ s.lo, s.hi }, { 0, 1 }, "a constant zero")
  _, s = ticks_of(5, 5, {}, 6)
  t.ok(s.lo < 5 and s.hi > 5)
end)

t.case("huge and tiny numbers share a factor", function()
  local labels, s = ticks_of(-4e12, 9e12, {}, 9)
  t.eq(labels, "−4 −2 0 2 4 6 8 10")
  t.eq(s:multiplier(), "×10¹²")
  labels, s = ticks_of(0, 9e-7, {}, 6)
  t.eq(labels, "0.0 0.2 0.4 0.6 0.8 1.0")
  t.eq(s:multiplier(), "×10⁻⁶")
end)

t.case("log2 ticks are powers of two", function()
  t.eq((ticks_of(1, 1024, { scale = "log2" }, 11)), "1 2 4 8 16 32 64 128 256 512 1024")
  t.eq((ticks_of(1, 1024, { scale = "log2" }, 6)), "1 4 16 64 256 1024")
  t.eq((ticks_of(1, 2 ^ 30, { scale = "log2" }, 7)), "2⁰ 2⁵ 2¹⁰ 2¹⁵ 2²⁰ 2²⁵ 2³⁰")
  t.eq((ticks_of(0.25, 2, { scale = "log2" }, 9)), "0.25 0.5 1 2")
  local s = scale.new(1, 256, { scale = "log2", min = 1, max = 256 })
  s:place(0, 80)
  t.near(s:map(1), 0, 1e-9)
  t.near(s:map(2), 10, 1e-9)
  t.near(s:map(256), 80, 1e-9)
end)

t.case("given ticks stay where they are", function()
  local s = scale.new(0, 1, { ticks = { 0, 0.5, 0.9, 7 }, labels = { "none", "half", "most", "outside" }, min = 0,
    max = 1 })
  s:place(0, 100)
  local ticks = s:ticks(function() return true end)
  t.eq(#ticks, 3)
  t.eq({ ticks[3].at, ticks[3].label }, { 0.9, "most" })
end)

t.case("names along x are all shown, upright where they do not fit; numbers are thinned", function()
  local lines, style = require "kvbench.plot.lines", require "kvbench.plot.style"
  local function room(n, labels)
    local ticks, names, x = {}, {}, {}
    for i = 1, n do ticks[i], names[i], x[i] = i, "condition " .. i, i end
    local panel = lines.prepare({ x = { ticks = ticks, labels = labels and names, min = 0, max = n + 1 },
      series = { { label = "", x = x, y = x } } }, "test", style.assigner())
    lines.scales(panel, panel.range)
    return lines.measure(panel, 200, 100, { x_ticks = true, figure_width = 300 }).bottom
  end
  t.eq(room(2, true), room(2, false)) -- two names lie side by side
  t.ok(room(9, true) > room(9, false) + 20, "nine stand upright")
end)

t.case("labels at line ends: nearest places without overlap", function()
  local spread = require("kvbench.plot.labels").spread
  t.eq(spread({ 10, 50 }, { 10, 10 }, 0, 100), { 10, 50 })
  t.eq(spread({ 50, 50 }, { 10, 10 }, 0, 100), { 45, 55 })
  t.eq(spread({ 0, 1 }, { 10, 10 }, 0, 100), { 5, 15 }, "pushed off the top")
  t.eq(spread({ 100, 100, 20 + 80 }, { 10, 10, 10 }, 0, 100), { 75, 85, 95 }, "pushed off the bottom")
  t.eq(spread({ 50, 50 }, { 20, 10 }, 0, 100), { 42.5, 57.5 }, "15 apart, around 50")
  t.eq(spread({}, {}, 0, 100), {})
end)

local text = require "kvbench.plot.text"
local measure = require("kvbench.plot.canvas").measure

t.case("text wraps between words, and inside one only when it must", function()
  local words = "Share of answerable questions with a wrong, fluent answer against the ratio"
  local lines = text.wrap(words, 8, false, 90)
  t.ok(#lines > 2)
  for _, line in ipairs(lines) do t.ok(measure(line, 8) <= 90, line) end
  t.eq(table.concat(lines, " "), words)
  local long = text.wrap(("Übermäßig"):rep(12), 8, false, 60)
  t.eq(table.concat(long), ("Übermäßig"):rep(12), "no byte lost")
  for _, line in ipairs(long) do
    t.ok(measure(line, 8) <= 60)
    t.ok(not line:find "^[\128-\191]", "cut inside a character")
  end
  t.eq(text.wrap("a\nb", 8, false, 100), { "a", "b" })
  t.eq(text.wrap("", 8, false, 100), { "" })
end)

t.case("numbers as papers print them", function()
  t.eq({ text.number(1234, 0), text.number(12345, 0), text.number(-0.5, 1), text.number(-0.0001, 1),
    text.number(1234567.25, 2) },
    { "1234", "12,345", "−0.5", "0.0", "1,234,567.25" })
  t.eq(text.power("2", -17), "2⁻¹⁷")
  t.ok(measure(text.shorten(("x"):rep(100), 8, 50), 8) <= 50)
end)

t.case("colours: viridis' ends and middle, readable text", function()
  local colormap, style = require "kvbench.plot.colormap", require "kvbench.plot.style"
  local v = colormap.table "viridis"
  t.eq({ v[0], v[255] }, { 0x440154ff, 0xfde725ff })
  t.eq(colormap.table "jet", nil)
  local d = colormap.table "diverging"
  t.eq({ d[0], d[255] }, { 0x053061ff, 0x67001fff })
  t.eq(style.rgba("#ff0080", 0.5), 0xff008080)
  t.eq(style.for_text "#000000", "#000000")
  t.ok(style.for_text "#E69F00" ~= "#e69f00", "orange is too light for text")
  t.fails(function() style.rgba "blueish" end, "no colour 'blueish'")
end)

os.execute("rm -rf " .. folder)
