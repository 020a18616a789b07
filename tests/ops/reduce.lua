-- SPDX-License-Identifier: Apache-2.0
local kinds = require "kvbench.tensor.kinds"
local cases = {}
local function add(c) cases[#cases + 1] = c end
for _, kind in ipairs { "sum", "mean", "var", "min", "max", "argmin", "argmax", "norm", "logsumexp", "prod" } do
  local fill = kind:find "arg" and "ties" or "normal"
  for _, c in ipairs {
    { shape = { 1 }, dim = 1 }, { shape = { 577 }, dim = 1 }, { shape = { 5, 33 }, dim = 2 }, { shape = { 5, 33 },
      dim = 1 }, { shape = { 4, 7, 65 }, dim = 2 },
    { shape = { 30, 250, 64 }, dim = 2 }, { shape = { 200, 301 }, dim = 2 }, { shape = { 0, 5 }, dim = 2 },
      { shape = { 3, 9, 130 }, dim = 1 },
    { shape = { 6, 21 }, dim = 2, strided = true }, { shape = { 6, 21 }, dim = 1, strided = true }, { shape = { 9,
      70 }, dim = 2, transposed = true },
    { shape = { 3, 2000 }, dim = 2, transposed = true }, { shape = { 2, 3, 4, 5, 6 }, dim = 3 },
  } do
    c.kind, c.fill = kind, fill
    if kind == "var" then c.special = true end -- of one element: 0 / 0
    add(c)
  end
  add { kind = kind, shape = { 40, 50 }, dim = 2, fill = "special", special = true }
  add { kind = kind, shape = { 40, 50 }, dim = 1, fill = "special", special = true }
  local needs_one = kind:find "min" or kind:find "max"
  add { kind = kind, shape = { 3, 0 }, dim = 2, special = true, fill = fill, error = needs_one and "no elements"
    or nil }
end
for _, p in ipairs { 1, 3, 0.5, math.huge } do
  add { kind = "norm", p = p, shape = { 7, 100 }, dim = 2 }
  add { kind = "norm", p = p, shape = { 100, 70 }, dim = 1 }
  add { kind = "norm", p = p, shape = { 40, 50 }, dim = 2, fill = "special", special = true }
end
add { kind = "var", p = 0, shape = { 7, 100 }, dim = 2 }
add { kind = "norm", shape = { 7, 100 }, dim = 2, fill = "huge" }
add { kind = "prod", shape = { 7, 100 }, dim = 2, fill = "huge" }
add { kind = "logsumexp", shape = { 7, 100 }, dim = 2, fill = "huge" }
add { kind = "norm", p = 0, shape = { 7, 3 }, dim = 2, error = "above 0" }
add { kind = "sum", shape = { 7, 3 }, dim = 3, error = "dimension 3" }
local usual = { norm = 2, var = 1, argmin = 1, argmax = 0 }
return {
  op = "reduce", tol = 2e-6, why = "double sums in another order; log-sum-exp with an f32 exp",
  build = function(c, h)
    local out = {}
    for i, size in ipairs(c.shape) do if i ~= c.dim then out[#out + 1] = size end end
    return h:input(c.shape), h:output(out, c.kind:find "arg" and "i32" or nil), c.dim - 1, kinds.reduce[c.kind], c.p
      or usual[c.kind] or 0
  end,
  cases = cases,
}
