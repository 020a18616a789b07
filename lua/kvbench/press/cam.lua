-- SPDX-License-Identifier: Apache-2.0
-- CaM: before tokens are evicted while decoding, the values of the best of them are merged into the kept tokens that
-- follow, with a probability: the attention that the token received while decoding against the mean of those that
-- follow. All heads of a layer keep the same tokens. How sequences stand still: press_decoding.lua.
local decoding = require "kvbench.press_decoding"
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

-- Order of one layer's tokens (from 1) by falling score, the earlier first.
local function falling(scores)
  local index = {}
  for i = 1, #scores do index[i] = i end
  table.sort(index, function(a, b) return scores[a] > scores[b] or scores[a] == scores[b] and a < b end)
  return index
end

-- Which tokens a layer keeps ({[i] = true}), those kept in token order, and the `steps` best of the evicted, which
-- merge.
local function selection(scores, target, steps)
  local index, keeps, kept, merged = falling(scores), {}, {}, {}
  for i = 1, target do keeps[index[i]] = true end
  for i = 1, #scores do
    if keeps[i] then kept[#kept + 1] = i end
  end
  for i = target + 1, #index do merged[#merged + 1] = index[i] end
  table.sort(merged, function(a, b) return scores[a] > scores[b] or scores[a] == scores[b] and a > b end)
  for i = #merged, steps + 1, -1 do merged[i] = nil end
  return keeps, kept, merged
end

-- The kept tokens that take token i's value: the first `budget` behind it.
local function window_of(kept, i, budget)
  local out = {}
  for _, j in ipairs(kept) do
    if j > i and #out < budget then out[#out + 1] = j end
  end
  return out
end

local function probability(received, i, window)
  local sum = 0
  for _, j in ipairs(window) do sum = sum + received[j] end
  local mean = sum / math.max(1, #window)
  if mean == 0 then return received[i] > 0 and 1 or 0 end
  return math.max(0, math.min(1, received[i] / mean))
end

-- One layer: values [1, kv_heads, m, d] with what is evicted merged in; draw(): uniform numbers.
local function merge_layer(self, values, received, kept, merged, draw)
  local heads, m = values:size(2), values:size(3)
  local goes = tensor.zeros(1, heads, m, m) -- [.., into, from]
  for _, i in ipairs(merged) do
    local window = window_of(kept, i, self.merge_budget)
    for h = 1, heads do
      local p = probability(received[h], i, window)
      local happens = #window > 0 and (self.sampling and draw() < p or not self.sampling and p >= 0.5)
      for _, j in ipairs(happens and window or {}) do
        goes:select(3, j):select(3, i):narrow(2, h, 1):fill_(1 / #window)
      end
    end
  end
  return values + goes:matmul(values)
end

return {
  name = "cam",
  paper = "openreview:LCTmppB165",
  doc = "Merges the values of tokens into those that follow before it evicts them while decoding (CaM).",
  formula = "v_j = v_j + b v_i / m for the m kept tokens j behind i, b ~ Bernoulli(a_i / mean a_j)",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    compression_interval = { default = 512, min = 1, integer = true,
      doc = "steps between two cuts; the question is one" },
    target_size = { kind = "number", optional = true, min = 1, integer = true,
      doc = "tokens that stay; unset: as many as the ratio leaves of the context" },
    merge_budget = { default = 32, min = 1, integer = true, doc = "kept tokens that share a merged value" },
    sampling = { default = true, doc = "draw whether a token merges; false: it does from probability .5 on" },
    seed = { default = 0, kind = "seed", doc = "of the draws, with the context's own" },
  },
  paper_preset = { of = "knorm" },
  one_set = "layer",
  budget = "own",
  decides = true,
  check = function(self)
    decoding.check(self)
    if self.of.decides then
      error(("press 'cam': '%s' decides by itself what is kept -> a rule that only scores"):format(self.of.name), 0)
    end
    if self.target_size then decoding.check_target(self, self.target_size) end
  end,
  decoding = function(self, ctx, ratio)
    local target = decoding.check_target(self, self.target_size or ratios.n_kept(ctx.tokens, ratio))
    return function() return target end
  end,
  --- For press_decoding: part holds m tokens in every head, received [layers, kv_heads, m] is the attention they got
  --- since decoding began. Returns bits [layers, kv_heads, m] of `target` tokens and the merged values.
  merge = function(self, part, received, target, steps, seed)
    local scores = orders.scores(self.of, part, 1 - (target + 0.5) / part.tokens)
    scores = orders.finite(self.of, scores):mean(2):tolua()
    local attention, bits, values, drawn = received:tolua(), {}, {}, 0
    local draws = part.layers * part.kv_heads * math.max(1, steps)
    local uniform = tensor.rand({ draws }, ("%s/%s"):format(self.seed, seed)):tolua()
    local function draw()
      drawn = drawn + 1
      return uniform[drawn]
    end
    for l = 1, part.layers do
      local keeps, kept, merged = selection(scores[l], target, steps)
      local row = {}
      for i = 1, part.tokens do row[i] = keeps[i] and 1 or 0 end
      bits[l] = { row }
      values[l] = merge_layer(self, part.values:narrow(1, l, 1), attention[l], kept, merged, draw)
    end
    return tensor.from(bits):expand(part.layers, part.kv_heads, part.tokens), tensor.cat(values, 1)
  end,
  order = function() end,
  cut = function(self, order, ratio)
    local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
    keep.decoding = { press = self, ratio = ratio, evictable = order.evictable }
    return keep
  end,
}
