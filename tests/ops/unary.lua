-- SPDX-License-Identifier: Apache-2.0
local kinds = require "kvbench.tensor.kinds"
local cases = {}
for _, kind in ipairs { "neg", "exp", "log", "sqrt", "abs", "clamp", "cos", "sin", "tanh", "sigmoid",
  "floor", "round", "erf" } do
  local fill = (kind == "log" or kind == "sqrt") and "positive" or "normal"
  for _, shape in ipairs { {}, { 0 }, { 1 }, { 577 }, { 3, 33, 5 }, { 200, 300 } } do
    cases[#cases + 1] = { kind = kind, shape = shape, fill = fill }
  end
  cases[#cases + 1] = { kind = kind, shape = { 7, 19 }, fill = fill, strided = true }
  cases[#cases + 1] = { kind = kind, shape = { 6, 31 }, fill = fill, transposed = true }
  cases[#cases + 1] = { kind = kind, shape = { 40, 50 }, fill = "special", special = true }
end
cases[#cases + 1] = { kind = "exp", shape = { 4000 }, fill = "wide", tol = 3e-7,
  why = "a degree-7 polynomial in f32, 1 to 2 ulp" }
cases[#cases + 1] = { kind = "exp", shape = { 100 }, fill = "huge" }
for _, kind in ipairs { "sigmoid", "floor", "round", "erf" } do
  cases[#cases + 1] = { kind = kind, shape = { 4000 }, fill = "wide" }
  cases[#cases + 1] = { kind = kind, shape = { 100 }, fill = "huge" }
end
for _, fill in ipairs { "uniform", "tiny", "huge", "wide" } do
  cases[#cases + 1] = { kind = "log", shape = { 4000 }, fill = fill, special = true }
end
cases[#cases + 1] = { kind = "round", shape = { 400 }, fill = "halves" }
return {
  op = "unary", tol = 3e-7, why = "f32 functions of 1 to 2 ulp; the reference rounds once",
  build = function(c, h)
    c.relative = true
    return h:input(c.shape), h:output(c.shape), kinds.unary[c.kind], -0.5, 0.75
  end,
  cases = cases,
}
