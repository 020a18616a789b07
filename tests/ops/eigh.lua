-- SPDX-License-Identifier: Apache-2.0
-- Only the lower triangle is read: the input is not symmetric. Random matrices have distinct eigenvalues; what belongs
-- to a repeated one is any basis, so those are tested by their properties (tests/lua/linalg_test.lua).
return {
  op = "eigh", tol = 2e-6, why = "another order of rotations, divided by the gaps between eigenvalues",
  build = function(c, h)
    return h:input(c.shape, { fill = c.fill }), h:output { unpack(c.shape, 1, #c.shape - 1) }, h:output(c.shape)
  end,
  cases = {
    { shape = { 0, 0 } }, { shape = { 1, 1 } }, { shape = { 3, 2, 2 } }, { shape = { 5, 17, 17 } }, { shape = { 2, 3,
      64,
      64 } }, { shape = { 96, 96 } },
    { shape = { 4, 9, 9 }, strided = true }, { shape = { 4, 9, 9 }, transposed = true }, { shape = { 0, 3, 3 } },
    { shape = { 60, 3, 3 }, fill = "special", special = true }, { shape = { 4, 8, 8 }, fill = "huge" },
    { shape = { 2, 3 }, error = "x is f32 %[2, 3%], expected f32 %[2, 2%]" },
  },
}
