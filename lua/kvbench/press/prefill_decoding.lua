-- SPDX-License-Identifier: Apache-2.0
-- Prefill and decoding: one press evicts from the context before the question, a decoding press goes on while the
-- answer is written. Either may be missing.
local keepset = require "kvbench.keep"
local ratios = require "kvbench.ratios"

return {
  name = "prefill_decoding",
  doc = "One press for the context, a decoding press for the answer.",
  params = {
    prefilling_press = { kind = "press", optional = true, doc = "evicts from the context before the question" },
    decoding_press = { kind = "press", optional = true, doc = "decoding or ratio_decoding" },
    prefilling_ratio = { default = "ratio", kind = "share", doc = "ratio of the first, of the ratio asked for" },
    decoding_ratio = { default = "ratio", kind = "share", doc = "ratio of the second, of the ratio asked for" },
  },
  ratio_dependent = true,
  nested = false,
  decides = true,
  budget = "own",
  check = function(self)
    if self.decoding_press and not self.decoding_press.rule.decoding then
      error(("press 'prefill_decoding': decoding_press = '%s' does not evict while decoding -> {press = \"decoding\", "
        .. "of = "
        .. "\"%s\"}"):format(self.decoding_press.name, self.decoding_press.name), 0)
    end
    if self.prefilling_press and self.prefilling_press.rule.decoding then
      error(("press 'prefill_decoding': prefilling_press = '%s' is a decoding press"):format(
        self.prefilling_press.name), 0)
    end
  end,
  order = function() end,
  cut = function(self, order, ratio)
    local function share(name)
      return ratios.round(ratios.expression(self[name], "press 'prefill_decoding': " .. name)(ratio))
    end
    local keep
    if self.prefilling_press then
      local first = share "prefilling_ratio"
      keep = self.prefilling_press:order(order.ctx, { evictable = order.evictable }, first):cut(first)
    else
      keep = keepset.all(order.layers, order.kv_heads, order.tokens)
    end
    if not self.prefilling_press and not self.decoding_press then
      self:note "neither a prefilling_press nor a decoding_press: nothing is evicted"
    end
    if self.decoding_press then
      keep.decoding = { press = self.decoding_press, ratio = share "decoding_ratio", evictable = order.evictable }
    end
    return keep
  end,
}
