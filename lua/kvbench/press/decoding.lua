-- SPDX-License-Identifier: Apache-2.0
-- Decoding: the context stays whole; while an answer is written, every compression_interval steps what is left of
-- context, question and answer is cut to target_size tokens per head. How: press_decoding.lua.
local decoding = require "kvbench.press_decoding"
local keepset = require "kvbench.keep"
local protect = require "kvbench.press_protect"

return {
  name = "decoding",
  doc = "Cuts context, question and answer to a budget of tokens every few steps of decoding.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    compression_interval = { default = 512, min = 1, integer = true,
      doc = "steps between two cuts; the question is one" },
    target_size = { kind = "number", optional = true, min = 1, integer = true,
      doc = "tokens that stay; unset: as many as the ratio leaves of the context" },
  },
  paper_preset = { of = "knorm" },
  budget = "own",
  decides = true,
  check = function(self)
    decoding.check(self)
    if self.target_size then decoding.check_target(self, self.target_size) end
  end,
  --- How many tokens stay when `seen` have been read: a function, for a context, a ratio and the tokens that compete.
  decoding = function(self, ctx, ratio, evictable)
    local target = self.target_size or protect.budget(evictable, ctx.tokens, ctx.tokens, ratio)
    decoding.check_target(self, target)
    return function() return target end
  end,
  order = function() end, -- nothing is evicted before the first token of an answer
  cut = function(self, order, ratio)
    local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
    keep.decoding = { press = self, ratio = ratio, evictable = order.evictable }
    return keep
  end,
}
