-- SPDX-License-Identifier: Apache-2.0
-- AdaKV: the heads of a layer share one budget. In every head the best alpha_safeguard of its even share is safe; the
-- rest of the layer's budget goes to the highest scores of any head. What a head keeps is always its own best tokens,
-- so the decision is one number per head: how many.
return {
  name = "adakv",
  paper = "arXiv:2407.11550",
  doc = "Lets the heads of a layer compete for one budget, with a guaranteed minimum each.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    alpha_safeguard = { default = 0.2, min = 0, max = 1, doc = "share of its even budget that every head keeps" },
  },
  paper_preset = { of = { press = "expected_attention", epsilon = 1e-2 } },
  check = function(self)
    if self.of.decides then
      error(("press 'adakv': '%s' decides by itself what is kept -> a rule that only scores"):format(self.of.name), 0)
    end
  end,
  score = function(self, ctx, ratio) return self.of.rule.score(self.of, ctx, ratio) end,
  thresholds = function(self, order, ratio)
    local layers, heads, n = order.layers, order.kv_heads, order.tokens
    local total, open = order:budget(ratio)
    local safe = total - open + math.floor(open * self.alpha_safeguard)
    local layer_ranks = order:rank("layer")
    local rank = layer_ranks:pointer()
    local head_at = {} -- head of the element that comes k-th in its layer
    local kept = order:thresholds(function() return safe end)
    for l = 0, layers - 1 do
      local base, seen, left = l * heads * n, {}, heads * (total - safe)
      for i = 0, heads * n - 1 do head_at[rank[base + i]] = math.floor(i / n) end
      for h = 0, heads - 1 do seen[h] = 0 end
      for k = 0, heads * n - 1 do
        local h = head_at[k]
        seen[h] = seen[h] + 1
        if seen[h] > safe and left > 0 then
          kept[l * heads + h], left = kept[l * heads + h] + 1, left - 1
        end
      end
    end
    return kept, layer_ranks
  end,
}
