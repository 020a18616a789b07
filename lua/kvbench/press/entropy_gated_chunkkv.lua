-- SPDX-License-Identifier: Apache-2.0
-- ChunkKV keeps whole chunks, in the order of their mean score. A chunk that matters because of one token alone wastes
-- its other slots, so here an important chunk with low entropy of its scores keeps only its best tokens; what that
-- saves goes to the next chunks, and what is left over to the best tokens anywhere.
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

local EPSILON = 1e-8

-- Indices 1 .. #list by falling value, then by index.
local function falling(list)
  local index = {}
  for i = 1, #list do index[i] = i end
  table.sort(index, function(a, b)
    if list[a] ~= list[b] then return list[a] > list[b] end
    return a < b
  end)
  return index
end

-- The lower of the two middle values, as torch's median.
local function median(list)
  local index = falling(list)
  return list[index[math.floor(#list / 2) + 1]]
end

local function entropy(scores, from, to)
  local low, sum = 0, 0
  if to - from == 1 then return 0 end
  for t = from + 1, to do low = math.min(low, scores[t]) end
  for t = from + 1, to do sum = sum + scores[t] - low end
  local h = 0
  for t = from + 1, to do
    local p = (scores[t] - low) / (sum + EPSILON)
    h = h - p * math.log(p + EPSILON)
  end
  return math.max(0, math.min(1, h / math.log(to - from)))
end

-- Chunks of one layer's scores: {from, to, mean, entropy}, and the order in which they are filled.
local function chunks_of(scores, n, length)
  local list, means, entropies = {}, {}, {}
  for from = 0, n - 1, length do
    local to, sum = math.min(n, from + length), 0
    for t = from + 1, to do sum = sum + scores[t] end
    list[#list + 1] = { from = from, to = to }
    means[#list], entropies[#list] = sum / (to - from), entropy(scores, from, to)
  end
  local middle_mean, middle_entropy = median(means), median(entropies)
  for i, chunk in ipairs(list) do
    chunk.spiky = means[i] >= middle_mean and entropies[i] < middle_entropy
  end
  local sorted = {}
  for i, k in ipairs(falling(means)) do sorted[i] = list[k] end
  return sorted
end

-- Marks the best `count` of the tokens [from, to) that are not yet kept.
local function keep_best(kept, scores, from, to, count)
  local open, values = {}, {}
  for t = from, to - 1 do
    if kept[t] == 0 then open[#open + 1], values[#values + 1] = t, scores[t + 1] end
  end
  local sorted = falling(values)
  for i = 1, math.min(count, #sorted) do kept[open[sorted[i]]] = 1 end
end

return {
  name = "entropy_gated_chunkkv",
  paper = "arXiv:2502.00299",
  doc = "Keeps the best chunks whole, but of important chunks with one strong token only the best tokens.",
  formula = "mean over the chunk of the inner score summed over heads; gate: normalised entropy within the chunk",
  one_set = "layer",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    chunk_length = { default = 10, min = 2, integer = true, doc = "tokens of a chunk" },
    low_entropy_chunk_length = { default = 4, min = 1, integer = true, doc = "tokens kept of a spiky chunk" },
  },
  paper_preset = { of = "snapkv" },
  nested = false,
  check = function(self)
    if self.of.decides then
      error(("press '%s': '%s' decides by itself what is kept -> a rule that only scores"):format(self.name,
        self.of.name), 0)
    end
    if self.low_entropy_chunk_length >= self.chunk_length then
      error(("press '%s': low_entropy_chunk_length = %d, expected less than chunk_length = %d"):format(self.name,
        self.low_entropy_chunk_length, self.chunk_length), 0)
    end
  end,
  score = function(self, ctx, ratio) return self.of.rule.score(self.of, ctx, ratio) end,
  cut = function(self, order, ratio)
    local from, to = order.evictable[1], order.evictable[2]
    local _, budget = order:budget(ratio)
    local n = to - from
    -- one set for all heads: their scores are added
    local summed = orders.finite(self.of, order.scores:narrow(3, from + 1, n)):sum(2):tolua()
    local bits = tensor.on("cpu", tensor.ones, { order.layers, 1, order.tokens }, "u8")
    for l = 1, order.layers do
      local scores, left = summed[l], budget
      local kept = ffi.cast("uint8_t *", bits.data) + (l - 1) * order.tokens + from
      ffi.fill(kept, n, 0)
      for _, chunk in ipairs(chunks_of(scores, n, self.chunk_length)) do
        if left <= 0 then break end
        local count = math.min(chunk.to - chunk.from, left)
        if chunk.spiky then count = math.min(count, self.low_entropy_chunk_length) end
        keep_best(kept, scores, chunk.from, chunk.to, count)
        left = left - count
      end
      keep_best(kept, scores, 0, n, left)
    end
    return keepset.from_bits(bits:expand(order.layers, order.kv_heads, order.tokens):contiguous())
  end,
}
