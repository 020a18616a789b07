-- SPDX-License-Identifier: Apache-2.0
local kinds = require "kvbench.tensor.kinds"
local cases = {}
for _, kind in ipairs { "avg", "max" } do
  for _, c in ipairs {
    { shape = { 5 }, kernel = 1 }, { shape = { 5 }, kernel = 5, padding = 2 }, { shape = { 3, 40 }, kernel = 5,
      padding = 2, exclude = true },
    { shape = { 3, 41 }, kernel = 4, step = 3, padding = 2 }, { shape = { 3, 4 }, kernel = 9, padding = 4 },
      { shape = { 2, 3 }, kernel = 5 },
    { shape = { 20, 9, 250 }, kernel = 5, padding = 2 }, { shape = { 4, 30 }, kernel = 3, padding = 1, strided = true },
    { shape = { 4, 30 }, kernel = 3, padding = 1, transposed = true }, { shape = { 20, 40 }, kernel = 3, padding = 1,
      fill = "special", special = true },
    { shape = { 5 }, kernel = 3, padding = 2, error = "half the kernel" },
  } do
    c.kind = kind
    cases[#cases + 1] = c
  end
end
return {
  op = "pool1d", tol = 1e-6, why = "sums may be kept in f32",
  build = function(c, h)
    local out, step, padding = { unpack(c.shape) }, c.step or 1, c.padding or 0
    out[#out] = math.max(0, math.floor((out[#out] + 2 * padding - c.kernel) / step) + 1)
    return h:input(c.shape), h:output(out), kinds.pool[c.kind], c.kernel, step, padding, c.exclude and 0 or 1
  end,
  cases = cases,
}
