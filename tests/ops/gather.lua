-- SPDX-License-Identifier: Apache-2.0
local tensor = require "kvbench.tensor"
return {
  op = "gather", tol = 0,
  build = function(c, h)
    local out = { unpack(c.shape) }
    out[c.dim] = c.take
    local size = c.shape[c.dim]
    local shape = { unpack(out) }
    for _, d in ipairs(c.same or {}) do shape[d] = 1 end
    local index = tensor.rand(shape, h.seed .. "/index") * (c.outside and size + 5 or size)
    if c.negative then index = index - size end
    return h:input(c.shape), h:input(out, { dtype = "i32", values = index:to("i32"),
      broadcast = c.same }), h:output(out), c.dim - 1, 0
  end,
  cases = {
    { shape = { 5 }, dim = 1, take = 0 }, { shape = { 1 }, dim = 1, take = 3 }, { shape = { 50 }, dim = 1,
      take = 30 }, { shape = { 6, 7 }, dim = 1, take = 9 },
    { shape = { 4, 5, 60 }, dim = 2, take = 3 }, { shape = { 30, 250 }, dim = 2, take = 100 }, { shape = { 6, 7 },
      dim = 2, take = 9, strided = true },
    { shape = { 6, 7 }, dim = 2, take = 9, transposed = true }, { shape = { 300 }, dim = 1, take = 300,
      outside = true, error = "outside dimension 1" },
    { shape = { 9, 50, 64 }, dim = 2, take = 40, same = { 3 } }, { shape = { 9, 50, 64 }, dim = 2, take = 40,
      same = { 1, 3 } },
    { shape = { 40, 50, 33 }, dim = 3, take = 40, same = { 1, 2 } }, { shape = { 5, 6, 7 }, dim = 2, take = 3,
      same = { 3 }, strided = true },
    { shape = { 200, 300 }, dim = 2, take = 400 }, { shape = { 200, 30 }, dim = 2, take = 40, outside = true,
      error = "outside dimension 2" },
    { shape = { 20, 30, 50 }, dim = 2, take = 40, same = { 3 }, outside = true, error = "outside dimension 2" },
    { shape = { 300 }, dim = 1, take = 300, negative = true, error = "outside dimension 1" },
  },
}
