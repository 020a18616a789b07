-- SPDX-License-Identifier: Apache-2.0
-- ChunkKV: whole chunks survive, the same ones in all heads of a layer. A chunk's score is the mean over its tokens of
-- the scores summed over heads; one chunk at least is kept. Fewer tokens than a chunk: the rule inside decides alone.
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

-- Scores [layers][chunk] as a tensor: means over whole chunks, and over what is left at the end.
local function chunk_scores(scores, length)
  local summed = scores:sum(2) -- [layers, tokens]
  local layers, n = summed:size(1), summed:size(2)
  local whole = math.floor(n / length)
  local means = summed:narrow(2, 1, whole * length):reshape(layers, whole, length):mean(-1)
  if whole * length == n then return means end
  local rest = summed:narrow(2, whole * length + 1, n - whole * length):mean(-1):view(layers, 1)
  return tensor.cat({ means, rest }, 2)
end

return {
  name = "chunkkv",
  paper = "arXiv:2502.00299",
  doc = "Keeps whole chunks of neighbouring tokens, by their mean score over all heads of a layer.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    chunk_length = { default = 20, min = 1, integer = true, doc = "tokens of a chunk" },
  },
  paper_preset = { of = "snapkv" },
  scope = "layer",
  budget = "approx",
  check = function(self) parts.expect_scorer(self, self.of, "keeps whole chunks") end,
  score = function(self, ctx, ratio) return parts.score(self.of, ctx, ratio) end,
  order = function(self, order, ctx, ratio)
    local scores = orders.scores(self, ctx, ratio, order.evictable)
    local from, to = order.evictable[1], order.evictable[2]
    if to - from >= self.chunk_length then
      order.chunk_ranks = tensor.scope(function()
        return chunk_scores(orders.finite(self.of, scores):narrow(3, from + 1, to - from), self.chunk_length):rank(-1)
      end)
    end
    order.scores = orders.protect(scores, order.evictable, 0)
  end,
  cut = function(self, order, ratio)
    if not order.chunk_ranks then return keepset.from_ranks(order:rank("head"), (order:budget(ratio))) end
    local layers, chunks = order.layers, order.chunk_ranks:size(2)
    local kept = order.chunk_ranks:lt(math.max(1, math.floor(chunks * (1 - ratio)))) -- [layers, chunks]
    local length, open = self.chunk_length, order.evictable[2] - order.evictable[1]
    local tokens = kept:view(layers, chunks, 1):expand(layers, chunks, length):reshape(layers, chunks * length)
    local bits = tokens:narrow(2, 1, open):pad(order.evictable[1], order.tokens - order.evictable[2], 1)
    return keepset.from_bits(bits:view(layers, 1, order.tokens):expand(layers, order.kv_heads, order.tokens))
  end,
}
