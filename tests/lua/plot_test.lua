-- SPDX-License-Identifier: Apache-2.0
-- Whole figures: pixels read back through Cairo's own PNG reader, CSV text in full, and for many kinds of data the one
-- property a figure must have: nothing is cut off at the page's edge. What figures are made of: plot_parts_test.lua.
local ffi = require "ffi"
local kvb = require "kvbench.ffi"
local plot = require "kvbench.plot"
local t = require "kvbench.testing"

ffi.cdef [[
  typedef struct test_surface test_surface;
  test_surface *cairo_image_surface_create_from_png(const char *);
  unsigned char *cairo_image_surface_get_data(test_surface *);
  int cairo_image_surface_get_width(test_surface *);
  int cairo_image_surface_get_height(test_surface *);
  int cairo_image_surface_get_stride(test_surface *);
  void cairo_surface_destroy(test_surface *);
  int setenv(const char *, const char *, int);
  int unsetenv(const char *);
  int getpid(void);
]]
local C = ffi.C
local nan = 0 / 0
local folder = "/tmp/kvb_plot_test_" .. C.getpid()

local slurp = t.read

--- width, height and at(x, y) -> 0xRRGGBB of a PNG.
local function png(path)
  local s = ffi.gc(C.cairo_image_surface_create_from_png(path), C.cairo_surface_destroy)
  local data, stride = C.cairo_image_surface_get_data(s), C.cairo_image_surface_get_stride(s)
  t.ok(data ~= nil, path .. " is no PNG")
  local function at(x, y)
    local p = data + y * stride + x * 4
    return p[2] * 65536 + p[1] * 256 + p[0], s
  end
  return C.cairo_image_surface_get_width(s), C.cairo_image_surface_get_height(s), at
end

--- Number of pixels of a colour and their mean place.
local function find(path, color)
  local w, h, at = png(path)
  local n, sx, sy = 0, 0, 0
  for y = 0, h - 1 do
    for x = 0, w - 1 do
      if (at(x, y)) == color then n, sx, sy = n + 1, sx + x, sy + y end
    end
  end
  return n, sx / n, sy / n
end

local function edge_is_white(path)
  local w, h, at = png(path)
  for x = 0, w - 1 do
    if (at(x, 0)) ~= 0xffffff or (at(x, h - 1)) ~= 0xffffff then return false, "x = " .. x end
  end
  for y = 0, h - 1 do
    if (at(0, y)) ~= 0xffffff or (at(w - 1, y)) ~= 0xffffff then return false, "y = " .. y end
  end
  return true
end

local ratios = { 0, 0.5, 0.9, 0.95 }
local function two_lines()
  return plot.lines {
    title = "t", caption = "A caption.", x = { label = "ratio", format = "percent" }, y = { label = "rate",
      format = "percent" },
    series = {
      { label = "ea", x = ratios, y = { 0.1, 0.2, nan, 0.9 }, lo = { 0, 0.1, nan, 0.8 }, hi = { 0.2, 0.3, nan, 1 } },
      { label = "null, indep.", style = "reference", x = ratios, y = { 0, 0.1, 0.2, 1 / 3 } },
    },
    vlines = { { x = 0.9, label = "cliff" } }, hlines = { { y = 0.05, label = "full cache" } },
  }
end

t.case("save writes PNG, PDF, SVG and the drawn numbers", function()
  local files = two_lines():save(folder .. "/deep/er/fig")
  local stem = folder .. "/deep/er/fig"
  t.eq(files, { stem .. ".png", stem .. ".pdf", stem .. ".svg", stem .. ".csv" })
  t.eq(slurp(files[4]), [[
panel,series,x,y,lo,hi
1,ea,0,0.1,0,0.2
1,ea,0.5,0.2,0.1,0.3
1,ea,0.9,nan,nan,nan
1,ea,0.95,0.9,0.8,1
1,"null, indep.",0,0,,
1,"null, indep.",0.5,0.1,,
1,"null, indep.",0.9,0.2,,
1,"null, indep.",0.95,0.3333333333333333,,
1,vline: cliff,0.9,,,
1,hline: full cache,,0.05,,
]])
  local w, h = png(files[1])
  t.eq(w, 1020, "3.4 in at 300 dpi")
  t.ok(h > 780 and h < 1000, "2.6 in, title and caption")
  t.ok(find(files[1], 0x0072B2) > 200, "the first series is blue")
  t.eq(slurp(files[2]):sub(1, 5), "%PDF-")
  t.ok(slurp(files[3]):find("</svg>", 1, true))
end)

t.case("the same figure has the same bytes", function()
  local a, b = two_lines():save(folder .. "/same_a"), two_lines():save(folder .. "/same_b")
  for i = 1, #a do t.ok(slurp(a[i]) == slurp(b[i]), a[i]) end
end)

t.case("formats, dpi and the extension choose what is written", function()
  t.eq(#two_lines():save(folder .. "/one", { formats = { "svg" } }), 2)
  t.eq(two_lines():save(folder .. "/v1.5.png"), { folder .. "/v1.5.png", folder .. "/v1.5.csv" })
  local files = two_lines():save(folder .. "/small", { formats = { "png" }, dpi = 75 })
  t.eq((png(files[1])), 255)
  t.fails(function() two_lines():save(folder .. "/x", { formats = { "gif" } }) end, "known extension")
  t.fails(function() two_lines():save(folder .. "/x", { dpi = 5 }) end, "dpi is 5")
  t.fails(function() two_lines():save "/proc/nowhere/fig" end, "/proc/nowhere")
end)

t.case("a heatmap's first row is on top, its first column left", function()
  local files = plot.heatmap { matrix = { { 0, 0 }, { 0, 1 } } }:save(folder .. "/h", { formats = { "png" } })
  local low, lx, ly = find(files[1], 0x440154)
  local high, hx, hy = find(files[1], 0xfde725)
  t.near(low / high, 3, 0.15, "three cells low, one high")
  t.ok(hx > lx and hy > ly)
  files = plot.heatmap { matrix = { { 0, 0 }, { 0, 1 } }, y = { origin = "bottom" } }:save(folder .. "/h2",
    { formats = { "png" } })
  local _, _, low_y = find(files[1], 0x440154)
  local _, _, high_y = find(files[1], 0xfde725)
  t.ok(high_y < low_y)
end)

t.case("a heatmap's CSV uses the axes' own names", function()
  local files = plot.heatmap({ { 1, nan }, { 0.5, -2 } }, folder .. "/short.png", { y = { labels = { "a", "b" } },
    x = { first = 4 } })
  t.eq(files, { folder .. "/short.png", folder .. "/short.csv" })
  t.eq(slurp(files[2]), "panel,row,column,value\n1,a,4,1\n1,a,5,nan\n1,b,4,0.5\n1,b,5,-2\n")
end)

t.case("a heatmap takes a strided tensor", function()
  local tensor, shape = ffi.new "kvb_tensor", ffi.new("int64_t[2]", 2, 3)
  kvb.check(C.kvb_tensor_new(C.KVB_F32, 2, shape, tensor))
  local data = ffi.cast("float *", tensor.data)
  for i = 0, 5 do data[i] = i end
  local turned = ffi.new("kvb_tensor", tensor) -- [3, 2] view of the same numbers
  turned.shape[0], turned.shape[1], turned.stride[0], turned.stride[1] = 3, 2, 1, 3
  local _, rows = plot.heatmap { matrix = turned }:numbers()
  local values = {}
  for i, row in ipairs(rows) do values[i] = row.value end
  t.eq(values, { 0, 3, 1, 4, 2, 5 })
  turned.ndim = 3
  t.fails(function() plot.heatmap { matrix = turned } end, "3 dimensions")
  C.kvb_tensor_release(tensor)
end)

t.case("small multiples: one colour per label, shared scales, one table of numbers", function()
  local function panel(title, names, top)
    local series = {}
    for i, name in ipairs(names) do series[i] = { label = name, x = { 1, 2 }, y = { 0, top / i } } end
    return { kind = "lines", title = title, x = { label = "x" }, y = { label = "y" }, series = series }
  end
  local f = plot.small_multiples { columns = 2, panels = { panel("A", { "p", "q" }, 1), panel("B", { "q", "r" }, 8),
    panel("C", { "r" }, 2) } }
  t.eq(f.panels[1].ys.hi, f.panels[2].ys.hi)
  t.eq(f.panels[1].series[2].look.color, f.panels[2].series[1].look.color)
  t.ok(f.panels[1].series[1].look.color ~= f.panels[2].series[1].look.color)
  local free = plot.small_multiples { share_y = false, panels = { panel("A", { "p" }, 1), panel("B", { "p" }, 8) } }
  t.ok(free.panels[1].ys.hi < free.panels[2].ys.hi)
  local columns, rows = f:numbers()
  t.eq(columns, { "panel", "series", "x", "y", "lo", "hi" })
  t.eq({ #rows, rows[3].panel, rows[5].series }, { 10, "A", "q" })
  local mixed = plot.small_multiples { panels = { panel("A", { "p" }, 1), { matrix = { { 1, 2 } } } } }
  t.eq((mixed:numbers()), { "panel", "series", "x", "y", "lo", "hi", "row", "column", "value" })
  t.ok(edge_is_white(f:save(folder .. "/multi", { formats = { "png" }, dpi = 100 })[1]))
  t.ok(edge_is_white(mixed:save(folder .. "/mixed", { formats = { "png" }, dpi = 100 })[1]))
end)

t.case("lines break at NaN and bands follow", function()
  local runs = require("kvbench.plot.series").runs
  local s = { n = 7, x = { 1, 2, 3, 4, 5, 6, 7 }, y = { 1, 2, nan, 4, nan, 6, 7 } }
  t.eq(runs(s, false), { { 1, 2 }, { 4, 4 }, { 6, 7 } })
  s.lo, s.hi = { nan, 1, 1, 1, 1, 1, 1 }, { 2, 2, 2, 2, 2, 2, nan }
  t.eq(runs(s, true), { { 2, 6 } })
end)

local function many(n)
  local series = {}
  for k = 1, n do
    series[k] = { label = "series number " .. k, x = {}, y = {} }
    for i = 1, 12 do series[k].x[i], series[k].y[i] = i, math.sin(i / 3 + k / 5) * k end
  end
  return series
end
local function grid(rows, columns, f)
  local m = {}
  for r = 1, rows do
    m[r] = {}
    for c = 1, columns do m[r][c] = f and f(r, c) or (r * c) % 17 end
  end
  return m
end
local sentence = "a very long text that describes in great detail and without mercy what can be seen, with units [tokens]"
local words = {}
for i = 1, 60 do words[i] = "Donaudampfschifffahrt " .. i end

for name, make in pairs {
  ["one point"] = function()
    return plot.lines { series = { { label = "one", x = { 3 }, y = { 0.5 }, lo = { 0.4 }, hi = { 0.7 } } } }
  end,
  ["a constant"] = function()
    return plot.lines { series = { { x = { 1, 2, 3 }, y = { 0, 0, 0 } } }, y = { format = "percent" } }
  end,
  ["huge and negative"] = function()
    return plot.lines { series = { { label = "h", x = { -1e9, 3e9 }, y = { -4e12, 9e200 } } } }
  end,
  ["an offset"] = function() return plot.lines { series = { { label = "o", x = { 0, 1 }, y = { 1e9, 1e9 + 1 } } } } end,
  ["forty series"] = function() return plot.lines { series = many(40), title = "forty" } end,
  ["nine series"] = function() return plot.lines { series = many(9) } end,
  ["long texts"] = function()
    local series = { { label = sentence, x = { 1, 2 }, y = { 1, 2 } },
      { label = ("x"):rep(200), x = { 1, 2 }, y = { 2, 1 } } }
    local caption = (sentence .. " "):rep(4)
    return plot.lines { title = sentence, caption = caption, x = { label = sentence },
      y = { label = sentence }, series = series }
  end,
  ["long direct labels"] = function()
    return plot.lines {
      series = {
        { label = "expected attention with sinks", x = { 1, 2 }, y = { 1, 2 } },
        { label = "random with one set for all heads", x = { 1, 2 }, y = { 2, 1 } },
      },
      vlines = { { x = 2, label = "the paper's cliff" } },
    }
  end,
  ["unicode and stray bytes"] = function()
    return plot.lines { title = "Überprüfung: χ = ∂H/∂α ≥ 0.9, Привет", x = { label = "α\0\255" },
      series = { { label = "naïve\n\t", x = { 1, 2 }, y = { 1, 2 } } } }
  end,
  ["values outside the limits"] = function()
    return plot.lines { y = { min = 0, max = 1 }, series = { { label = "c", x = { 0, 1, 2 }, y = { -5, 0.5, 9 },
      lo = { -9, 0, 1 }, hi = { 0, 1, 99 } } } }
  end,
  ["log2 both ways"] = function()
    return plot.lines { x = { scale = "log2", label = "bytes" }, y = { scale = "log2" },
      series = { { label = "l", x = { 1, 1024, 2 ^ 30 }, y = { 0.01, 100, 1e6 } } } }
  end,
  ["a narrow log2 axis"] = function()
    return plot.lines { x = { scale = "log2" }, series = { { x = { 9, 10, 15 }, y = { 1, 2, 3 } } } }
  end,
  ["crowded marks"] = function()
    return plot.lines { series = { { x = { 0, 10 }, y = { 0, 1 } } },
      vlines = { { x = 9, label = "one of the marks" }, { x = 9.2, label = "another one" },
        { x = 10, label = "third" } } }
  end,
  ["one cell"] = function()
    return plot.heatmap { matrix = { { 3 } }, x = { label = "x" }, y = { label = "y" }, color = { label = "v" },
      annotate = true }
  end,
  ["90 x 300 cells"] = function()
    return plot.heatmap { matrix = grid(90, 300), x = { label = "token" }, y = { label = "head" },
      color = { label = sentence } }
  end,
  ["1 x 3000 cells"] = function() return plot.heatmap { matrix = grid(1, 3000), x = { label = "token" } } end,
  ["300 x 1 cells"] = function() return plot.heatmap { matrix = grid(300, 1) } end,
  ["word labels"] = function()
    return plot.heatmap { matrix = grid(60, 60), x = { labels = words }, y = { labels = words }, height = 4 }
  end,
  ["NaN cells, diverging, spans"] = function()
    return plot.heatmap { matrix = grid(4, 40, function(r, c) return c == 7 and nan or r - c / 10 end),
      color = { map = "diverging", label = "difference" }, annotate = true,
      spans = { { from = 0, to = 3, label = "sinks of the context" }, { from = 5, to = 9, label = "answer value" },
        { from = 38, to = 40, label = "question tokens" } } }
  end,
} do
  t.case("nothing is cut off: " .. name, function()
    local files = make():save(folder .. "/edge", { formats = { "png" }, dpi = 100 })
    local ok, where = edge_is_white(files[1])
    t.ok(ok, "something is drawn at the page's edge, " .. tostring(where))
  end)
end

t.case("mistakes are named", function()
  local function lines(s) return function() plot.lines(s) end end
  local xy = { x = { 1, 2 }, y = { 1, 2 } }
  t.fails(lines {}, "series is empty")
  t.fails(lines { series = {} }, "series is empty")
  t.fails(lines { serie = {} }, "no option 'serie'")
  t.fails(lines { series = { { label = "ea", x = {}, y = {} } } }, "'ea'.*has no points")
  t.fails(lines { series = { { label = "ea", x = { 1 }, y = { 1, 2 } } } }, "x has 1 numbers, y has 2")
  t.fails(lines { series = { { label = "ea", x = { 1, 2 }, y = { nan, nan } } } }, "every x is NaN")
  t.fails(lines { series = { { x = { 1, 2 }, y = { 1, "2" } } } }, "y%[2%] is 2")
  t.fails(lines { series = { { x = { 1, 2 }, y = { 1, math.huge } } } }, "infinite")
  t.fails(lines { series = { { x = { 1, 2 }, y = { 1, 2 }, lo = { 1, 2 } } } }, "only one of lo and hi")
  t.fails(lines { series = { xy, xy } }, "has no label")
  t.fails(lines { series = { { x = { 0, 2 }, y = { 1, 2 } } }, x = { scale = "log2" } },
    "x = 0 has no place on a log2 scale")
  t.fails(lines { series = { xy }, x = { scale = "log10" } }, "linear or log2")
  t.fails(lines { series = { xy }, y = { min = 2, max = 1 } }, "y.min is 2 and y.max is 1")
  t.fails(lines { series = { { x = { 1 }, y = { -1e308 } } } }, "1e300")
  t.fails(lines { series = { xy }, width = 1e9 }, "width is")
  t.fails(lines { series = { { x = { 1 }, y = { 1 }, color = "mauve" } } }, "no colour 'mauve'")
  t.fails(lines { series = { { x = { 1 }, y = { 1 }, style = "wavy" } } }, "no style 'wavy'")
  t.fails(function() plot.lines { series = { xy }, width = 0.6, height = 0.5 }:draw() end, "larger width or height")
  t.fails(function() plot.heatmap { matrix = { { nan, nan } } } end, "every value of the 1 x 2 matrix is NaN")
  t.fails(function() plot.heatmap { matrix = {} } end, "empty")
  t.fails(function() plot.heatmap { matrix = { { 1, 2 }, { 1 } } } end,
    "row 2 of the matrix has 1 numbers, row 1 has 2")
  t.fails(function() plot.heatmap { matrix = { { 1 } }, color = { map = "jet" } } end, "viridis, magma or diverging")
  t.fails(function() plot.heatmap { matrix = { { 1 } }, x = { labels = { "a", "b" } } } end, "2 texts for 1 columns")
  t.fails(function() plot.heatmap(nil) end, "plot.heatmap")
  t.fails(function() plot.small_multiples { panels = {} } end, "panels is empty")
  t.fails(function() plot.small_multiples { panels = { { kind = "pie" } } } end, "no kind 'pie'")
  t.fails(function() plot.small_multiples { panels = { { title = "(a)", series = { { x = {}, y = {} } } } } } end,
    "panel 1 %('%(a%)'%)")
end)

t.case("a font that is not there is an error with a way out", function()
  C.setenv("KVBENCH_FONT", "/nowhere/fonts", 1)
  local ok, err = pcall(function() two_lines():save(folder .. "/font") end)
  C.unsetenv "KVBENCH_FONT"
  t.ok(not ok and err:find("/nowhere/fonts", 1, true) and err:find("-> ", 1, true), tostring(err))
  two_lines():save(folder .. "/font", { formats = { "svg" } })
end)

os.execute("rm -rf '" .. folder .. "'")
