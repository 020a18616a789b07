-- SPDX-License-Identifier: Apache-2.0
-- The numbers behind the kinds of the generic ops (core/ref/operands.h) and the dtypes (kvb_dtype), by name.
return {
  unary = { neg = 0, exp = 1, log = 2, sqrt = 3, abs = 4, clamp = 5, cos = 6, sin = 7, tanh = 8,
    sigmoid = 9, floor = 10, round = 11, erf = 12 },
  binary = { add = 0, sub = 1, mul = 2, div = 3, pow = 4, maximum = 5, minimum = 6, lt = 7, le = 8, gt = 9, ge = 10,
    eq = 11, ne = 12 },
  reduce = { sum = 0, mean = 1, var = 2, min = 3, max = 4, argmin = 5, argmax = 6, norm = 7, logsumexp = 8,
    prod = 9 },
  scatter = { set = 0, add = 1, max = 2 },
  pool = { avg = 0, max = 1 },
  dtype = { f32 = 0, f16 = 1, bf16 = 2, i32 = 3, u8 = 4, u32 = 5, i64 = 6 },
  dtype_name = { [0] = "f32", "f16", "bf16", "i32", "u8", "u32", "i64" },
}
