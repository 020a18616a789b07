-- SPDX-License-Identifier: Apache-2.0
-- CurDKV: squared row norms stand for the leverage of a token in a CUR decomposition of keys and values.
local tensor = require "kvbench.tensor"

local RANK = 20 -- columns of the random projection

-- Each token's share of the sum over its window of w tokens; the last window may be short.
local function share(x, w)
  local layers, heads, n = x:size(1), x:size(2), x:size(3)
  local padded = x:pad(0, (w - n % w) % w):reshape(layers, heads, -1, w)
  return (padded / padded:sum(-1):unsqueeze(-1)):reshape(layers, heads, -1):narrow(3, 1, n)
end

local combine = {
  key = function(k) return k end,
  value = function(_, v) return v end,
  kv_avg = function(k, v) return (k + v) / 2 end,
  kv_product = function(k, v) return k * v end,
}

return {
  name = "cur",
  paper = "arXiv:2509.15038",
  doc = "Keeps tokens whose keys and values are large among their neighbours (CurDKV).",
  formula = "|k_j|^2 / sum over the window of |k|^2, times the same for v",
  params = {
    num_sinks = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" },
    leverage_type = { default = "kv_product", doc = "key, value, kv_avg or kv_product" },
    use_random_leverage = { default = false, doc = "project keys and values on 20 random directions first" },
    use_local_approximation = { default = true, doc = "compare with the window, not with nothing" },
    local_window_size = { default = 16, min = 1, integer = true, doc = "tokens of a window" },
    seed = { default = 0, kind = "seed", doc = "of the random directions" },
  },
  forced = function() return 1 end,
  check = function(self)
    if not combine[self.leverage_type] then
      error(("press 'cur': leverage_type = '%s' -> key, value, kv_avg or kv_product"):format(self.leverage_type), 0)
    end
  end,
  score = function(self, ctx)
    local keys, values, d = ctx.keys, ctx.values, ctx.head_dim
    if self.use_random_leverage then
      local draw = tensor.randn({ ctx.layers, 1, d, RANK }, "cur/" .. self.params.seed, ctx.layer_first * d * RANK)
      local directions = draw / math.sqrt(RANK)
      keys, values = keys:matmul(directions), values:matmul(directions)
    end
    local k, v = keys:vecdot(keys), values:vecdot(values)
    if self.use_local_approximation then k, v = share(k, self.local_window_size), share(v, self.local_window_size) end
    local score = combine[self.leverage_type](k, v)
    score = score / score:sum(-1):unsqueeze(-1)
    local sinks = self:at_most("num_sinks", ctx.tokens - 1)
    return tensor.where(tensor.arange(ctx.tokens):lt(sinks), math.huge, score)
  end,
}
