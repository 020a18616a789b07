-- SPDX-License-Identifier: Apache-2.0
-- Ratio decoding: as decoding, with a budget that grows: a fixed share of all tokens read so far.
local decoding = require "kvbench.press_decoding"
local keepset = require "kvbench.keep"
local protect = require "kvbench.press_protect"
local ratios = require "kvbench.ratios"

return {
  name = "ratio_decoding",
  doc = "Cuts context, question and answer to a share of all tokens read so far every few steps of decoding.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    compression_interval = { default = 512, min = 1, integer = true,
      doc = "steps between two cuts; the question is one" },
    target_compression_ratio = { default = "ratio", kind = "share",
      doc = "share of the tokens read so far that is gone" },
  },
  paper_preset = { of = "knorm" },
  budget = "own",
  decides = true,
  check = function(self) decoding.check(self) end,
  decoding = function(self, ctx, ratio, evictable)
    local share = ratios.round(ratios.expression(self.target_compression_ratio, "press 'ratio_decoding'")(ratio))
    decoding.check_target(self, protect.budget(evictable, ctx.tokens, ctx.tokens, share))
    return function(seen) return protect.budget(evictable, ctx.tokens, seen, share) end
  end,
  order = function() end,
  cut = function(self, order, ratio)
    local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
    keep.decoding = { press = self, ratio = ratio, evictable = order.evictable }
    return keep
  end,
}
