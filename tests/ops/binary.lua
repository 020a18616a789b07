-- SPDX-License-Identifier: Apache-2.0
local kinds = require "kvbench.tensor.kinds"
local cases = {}
for _, kind in ipairs { "add", "sub", "mul", "div", "pow", "maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne" } do
  local fill = kind == "pow" and "positive" or "ties"
  local special = kind == "div" or nil -- 0 / 0
  for _, c in ipairs {
    { shape = {} }, { shape = { 0, 4 } }, { shape = { 577 } }, { shape = { 3, 33, 5 } }, { shape = { 150, 300 } },
    { shape = { 7, 19 }, strided = true }, { shape = { 6, 31 }, transposed = true }, { shape = { 5, 40 }, a = { 1 } },
    { shape = { 5, 40 }, b = { 2 } }, { shape = { 5, 40 }, a = { 2 } }, { shape = { 4, 3, 20 }, b = { 1, 2 } },
      { shape = { 4, 3, 20 }, a = { 1 }, b = { 2 } },
  } do
    c.kind, c.fill, c.special = kind, fill, special
    cases[#cases + 1] = c
  end
  cases[#cases + 1] = { kind = kind, shape = { 40, 50 }, fill = "special", special = true }
  cases[#cases + 1] = { kind = kind, shape = { 1000 }, fill = kind == "pow" and "positive" or "normal" }
end
return {
  op = "binary", tol = 5e-7, why = "powf; everything else is exact",
  build = function(c, h)
    c.relative = true
    return h:input({ unpack(c.shape) }, { broadcast = c.a }), h:input({ unpack(c.shape) }, { broadcast = c.b }),
      h:output(c.shape), kinds.binary[c.kind]
  end,
  cases = cases,
}
