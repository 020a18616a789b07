-- SPDX-License-Identifier: Apache-2.0
local kinds = require "kvbench.tensor.kinds"
local tensor = require "kvbench.tensor"
local cases = {}
for _, kind in ipairs { "set", "add", "max" } do
  for _, c in ipairs {
    { shape = { 5 }, dim = 1, put = 0 }, { shape = { 1 }, dim = 1, put = 3 }, { shape = { 50 }, dim = 1, put = 300 },
    { shape = { 6, 7 }, dim = 1, put = 9 }, { shape = { 4, 5, 60 }, dim = 2, put = 13 }, { shape = { 30, 250 },
      dim = 2, put = 1000 },
    { shape = { 3, 0 }, dim = 1, put = 4 }, { shape = { 6, 7 }, dim = 2, put = 19, strided = true },
    { shape = { 6, 7 }, dim = 2, put = 19, transposed = true }, { shape = { 9, 40 }, dim = 1, put = 90,
      transposed = true },
    { shape = { 40, 20 }, dim = 2, put = 50, fill = "special", special = true }, { shape = { 8, 20 }, dim = 2,
      put = 400, repeated = true },
    { shape = { 2, 3, 4, 5 }, dim = 3, put = 30 }, { shape = { 5, 50 }, dim = 2, put = 60, broadcast = { 1 } },
    { shape = { 5 }, dim = 2, put = 5, error = "dimension 2" },
    { shape = { 300 }, dim = 1, put = 300, outside = true, error = "outside dimension 1" },
    { shape = { 300 }, dim = 1, put = 300, negative = true, error = "outside dimension 1" },
  } do
    c.kind = kind
    cases[#cases + 1] = c
  end
end
return {
  op = "scatter", tol = 0,
  build = function(c, h)
    local into = { unpack(c.shape) }
    into[c.dim] = c.put
    local size = c.shape[c.dim] or 1
    local index = tensor.rand(into, h.seed .. "/index") * (c.outside and size + 5 or c.repeated and 2 or size)
    if c.negative then index = index - size end
    local y = h:inout(c.shape)
    return h:input(into, { broadcast = c.broadcast }), h:input(into, { dtype = "i32", values = index:to("i32") }), y,
      c.dim - 1, 0, kinds.scatter[c.kind]
  end,
  cases = cases,
}
