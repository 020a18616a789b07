-- SPDX-License-Identifier: Apache-2.0
-- SimLayerKV: a layer whose last tokens look only at the first and the most recent tokens is lazy, and keeps only
-- those.
local attention = require "kvbench.attention"
local keepset = require "kvbench.keep"
local streaming = require "kvbench.press_streaming"
local tensor = require "kvbench.tensor"

-- Layers, the laziest first (ties: the earlier layer), and how lazy each is.
local function by_laziness(order)
  local layers, lazy = {}, {}
  for l = 1, order.layers do
    layers[l] = { l - 1 }
    lazy[l - 1] = order.scores:at(l, 1, order.evictable[1] + 1)
  end
  table.sort(layers, function(a, b)
    if lazy[a[1]] ~= lazy[b[1]] then return lazy[a[1]] > lazy[b[1]] end
    return a[1] < b[1]
  end)
  return layers, lazy
end

return {
  name = "simlayerkv",
  paper = "arXiv:2410.13846",
  doc = "Lets lazy layers keep only their first and most recent tokens, and leaves the others whole.",
  formula = "laziness of a layer: attention of the last n_last queries on the first n_initial and last n_recent keys",
  one_set = "layer",
  across = true, -- layers compete
  params = {
    lazy_threshold = { kind = "number", min = 0, max = 1, optional = true,
      doc = "cut layers lazier than this, whatever the ratio (KVPress); unset: the laziest, until the ratio is "
        .. "reached" },
    n_last = { default = 1, min = 1, integer = true, doc = "last queries that are looked at" },
    n_recent = { default = 1024, min = 1, integer = true, doc = "recent tokens that a lazy layer keeps" },
    n_initial = { default = 4, min = 0, integer = true, doc = "first tokens that a lazy layer keeps" },
  },
  needs = function(self) return { window_queries = self.n_last } end,
  budget = function(self) return self.lazy_threshold and "own" or "approx" end,
  --- The same number for all tokens of a layer.
  score = function(self, ctx)
    local n, shape = ctx.tokens, { ctx.layers, ctx.kv_heads, ctx.tokens }
    local last = self:last_of("n_last", n)
    if last == 0 then return tensor.zeros(shape) end
    local received = attention.window(ctx, last):reshape(ctx.layers, ctx.heads * last, n):mean(2):slice(-1, 1, n - last)
    local first, recent = math.min(self.n_initial, n - last), math.min(self.n_recent, n - last)
    local lazy = received:slice(-1, 1, first):sum(-1) + received:slice(-1, n - last - recent + 1):sum(-1)
    return lazy:view(ctx.layers, 1, 1):expand(shape)
  end,
  cut = function(self, order, ratio)
    local layers, lazy = by_laziness(order)
    local recent = math.max(0, self.n_recent - self.n_last)
    if not self.lazy_threshold then
      return streaming.by_ratio(self, order, layers, ratio, self.n_initial, recent)
    end
    local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
    if order.tokens <= self.n_initial + self.n_recent + self.n_last then
      self:note(("%d tokens are no more than n_initial + n_recent + n_last: nothing is evicted"):format(order.tokens))
      return keep
    end
    for _, unit in ipairs(layers) do
      if lazy[unit[1]] > self.lazy_threshold then
        streaming.cut(keep, unit, order.evictable, self.n_initial, recent)
      end
    end
    return keep
  end,
}
