-- SPDX-License-Identifier: Apache-2.0
local tensor = require "kvbench.tensor"
return {
  op = "attention", tol = 2e-6, why = "online softmax over tiles, f32",
  build = function(c, h)
    local mask = tensor.rand({ c.rows, c.kv_heads, c.keys }, h.seed .. "/mask"):lt(c.share or 0.6)
    if c.empty_row then mask:narrow(1, 1, 1):fill_(0) end
    return h:input { c.rows, c.heads, c.dim }, h:input { c.kv_heads, c.keys, c.dim }, h:input { c.kv_heads, c.keys,
      c.dim },
      h:input({ c.rows, c.kv_heads, c.keys }, { dtype = "u8", values = mask }), h:output { c.rows, c.heads, c.dim },
        c.dim ^ -0.5, c.bf16 or 0
  end,
  cases = {
    { rows = 0, heads = 2, kv_heads = 1, keys = 5, dim = 16 }, { rows = 1, heads = 1, kv_heads = 1, keys = 1,
      dim = 16, share = 2 },
    { rows = 3, heads = 4, kv_heads = 2, keys = 63, dim = 32 }, { rows = 3, heads = 4, kv_heads = 2, keys = 64,
      dim = 32, share = 2 },
    { rows = 5, heads = 9, kv_heads = 3, keys = 65, dim = 64 }, { rows = 70, heads = 9, kv_heads = 3, keys = 300,
      dim = 64 },
    { rows = 4, heads = 8, kv_heads = 1, keys = 130, dim = 128, share = 0.05 }, { rows = 2, heads = 2, kv_heads = 2,
      keys = 200, dim = 80 },
    { rows = 3, heads = 2, kv_heads = 1, keys = 70, dim = 16, empty_row = true }, { rows = 2, heads = 2, kv_heads = 1,
      keys = 0, dim = 16 },
    { rows = 3, heads = 4, kv_heads = 2, keys = 50, dim = 16, strided = true }, { rows = 2, heads = 2, kv_heads = 1,
      keys = 20, dim = 33 },
    { rows = 9, heads = 9, kv_heads = 3, keys = 200, dim = 64, fill = "wide" },
    { rows = 20, heads = 9, kv_heads = 3, keys = 250, dim = 64, bf16 = 1, tol = 1.2e-2,
      why = "probabilities are rounded to bf16 before the product with v" },
  },
}
