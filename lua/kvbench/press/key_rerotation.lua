-- SPDX-License-Identifier: Apache-2.0
-- Key rerotation: the survivors of a head close ranks. The j-th key that stays is rotated from its own position to
-- position j, as if the evicted tokens had never been read, and the question starts behind the last of them. Rotations
-- of one frequency add, so a key moves by the angles of the distance.
local parts = require "kvbench.press_parts"

return {
  name = "key_rerotation",
  doc = "Moves the surviving keys of each head to positions 0, 1, 2, ... and the question behind them.",
  formula = "k_j = R(j - position) k",
  params = { of = { kind = "press", doc = "the press that chooses" } },
  paper_preset = { of = "knorm" },
  check = function(self) parts.expect_prefill(self, self.of) end,
  scope = function(self) return self.of.scope end,
  budget = function(self) return self.of.budget end,
  order = function(self, order, ctx, ratio)
    order.inner = self.of:order(ctx, { evictable = order.evictable }, ratio)
  end,
  cut = function(_, order, ratio) return order.inner:cut(ratio) end,
  rewrite = function(self, ctx, keep)
    local longest = 0
    for l = 0, keep.layers - 1 do
      for h = 0, keep.kv_heads - 1 do longest = math.max(longest, keep:count(l, h)) end
    end
    return { keys = parts.close_ranks(self, ctx, keep), position = longest }
  end,
}
