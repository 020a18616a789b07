-- SPDX-License-Identifier: Apache-2.0
-- DMS, as the reference has it: a score below a threshold means eviction, whatever that leaves, and recent tokens are
-- safe. Meant for scores that mean the same in every context and layer (KVzap's log scores). Without a threshold the
-- ratio sets one for the whole model. While decoding, every token is scored when it comes, apart from all others, and
-- goes when it leaves the window. (The paper's own evictors are heads of models trained for it, not a file.)
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

return {
  name = "dms",
  paper = "arXiv:2506.05345",
  doc = "Evicts what scores below one threshold for all layers and heads; recent tokens are safe.",
  formula = "the inner score",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    threshold = { kind = "number", optional = true,
      doc = "scores below it are evicted, whatever the ratio (KVPress); unset: as the ratio needs" },
    sliding_window_size = { default = 128, min = 0, integer = true, doc = "recent tokens that always stay" },
    decoding = { default = false, doc = "also while an answer is written, after every token (needs the threshold)" },
  },
  paper_preset = { of = "knorm" },
  scope = "model",
  budget = function(self) return self.threshold and "own" or "exact" end,
  check = function(self)
    require("kvbench.press_parts").expect_scorer(self, self.of, "compares scores with a threshold")
    if not self.decoding then return end
    if not self.threshold then
      error("press 'dms': decoding = true judges tokens one by one, without a budget -> threshold = number", 0)
    elseif next(self.of.needs) then
      error(("press 'dms': '%s' scores by %s, which no token of an answer has alone -> decoding = false, or a rule "
        .. "that needs keys and values only"):format(self.of.name, self.of.needs.hidden and "hidden states" or "queries"), 0)
    end
  end,
  score = function(self, ctx, ratio)
    local n = ctx.tokens
    local window = self.threshold and math.min(n, self.sliding_window_size) or self:last_of("sliding_window_size", n)
    local score = orders.checked_score(self.of, ctx, ratio)
    return tensor.where(tensor.arange(n):ge(n - window), math.huge, score)
  end,
  --- While decoding: 1 for what stays, by the scores [layers, kv_heads, tokens] of everything that was read.
  outlives = function(self, scores)
    local n = scores:size(3)
    return tensor.where(tensor.arange(n):ge(n - self.sliding_window_size), 1, scores:ge(self.threshold))
  end,
  cut = function(self, order, ratio)
    if not self.threshold then
      return keepset.from_ranks(order:rank "model", order.layers * order.kv_heads * (order:budget(ratio)))
    end
    local keep = keepset.from_bits(order.scores:ge(self.threshold))
    if self.decoding then keep.decoding = { press = self, ratio = ratio, evictable = order.evictable } end
    return keep
  end,
}
