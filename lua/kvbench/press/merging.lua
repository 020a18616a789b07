-- SPDX-License-Identifier: Apache-2.0
-- Merging: the value of an evicted token goes into the surviving token of its head whose key is most similar (cosine),
-- weighted by similarity and by its norm against the survivor's. Keys stay as they are.
local orders = require "kvbench.press_order"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

local SMALL = 1e-6

-- The q-quantile of the evicted tokens' similarities, as torch interpolates: those that do not merge count as -inf.
local function quantile(similarity, merges, evicted, q)
  local list = {}
  for i = 1, #similarity do
    if evicted[i] ~= 0 then list[#list + 1] = merges[i] ~= 0 and similarity[i] or -math.huge end
  end
  if #list == 0 then return -math.huge end
  table.sort(list)
  local at = q * (#list - 1)
  local low = math.floor(at)
  local a, b = list[low + 1], list[math.min(low + 2, #list)]
  return a == -math.huge and a or a + (at - low) * (b - a)
end

-- 1 for the evicted tokens whose similarity is among the most similar merge_fraction of their head.
local function most_similar(self, similarity, merges, evicted)
  if self.merge_fraction == 1 then return merges end
  local s, m, e = similarity:tolua(), merges:tolua(), evicted:tolua()
  local limit = tensor.zeros(similarity:size(1), similarity:size(2), 1)
  for l = 1, #s do
    for h = 1, #s[l] do limit[l][h]:fill_(quantile(s[l][h], m[l][h], e[l][h], 1 - self.merge_fraction)) end
  end
  return merges * similarity:ge(limit)
end

-- Merged values [layers, kv_heads, tokens, d] of one layer; kept: 1 and 0 [layers, kv_heads, tokens].
local function merged(self, keys, values, kept)
  local n = keys:size(3)
  local unit = keys / keys:norm(-1):clamp(SMALL, math.huge):unsqueeze(-1)
  local all = tensor.where(kept:unsqueeze(3), unit:matmul(unit:transpose()), -math.huge) -- [.., evicted, survivor]
  local similarity, target, evicted = all:max(-1), all:argmax(-1), 1 - kept
  local merges = most_similar(self, similarity, evicted * similarity:ge(self.similarity_threshold), evicted)
  local norm = values:norm(-1)
  local weight = similarity:clamp(0, math.huge) * merges * norm / (norm + norm:gather(3, target) + SMALL)
  local goes = tensor.arange(1, n + 1):view(1, 1, 1, n):eq(target:unsqueeze(-1)) * weight:unsqueeze(-1)
  local added = goes:transpose():matmul(values)
  local total = goes:sum(3):unsqueeze(-1)
  return tensor.where(total:gt(0), (values + added) / (total + 1), values)
end

return {
  name = "merging",
  paper = "arXiv:2406.13035",
  doc = "Folds the values of evicted tokens into the most similar survivors.",
  formula = "v_j = (v_j + sum w_i v_i) / (1 + sum w_i), w_i = cos(k_i, k_j) |v_i| / (|v_i| + |v_j|)",
  params = {
    of = { kind = "press", doc = "the press that chooses" },
    similarity_threshold = { default = 0, min = 0, max = 1, doc = "least cosine similarity that merges" },
    merge_fraction = { default = 1, min = 1e-6, max = 1, doc = "share of the evicted tokens that merges, the most "
      .. "similar" },
  },
  paper_preset = { of = "knorm" },
  check = function(self) parts.expect_prefill(self, self.of) end,
  scope = function(self) return self.of.scope end,
  budget = function(self) return self.of.budget end,
  order = function(self, order, ctx, ratio)
    order.inner = self.of:order(ctx, { evictable = order.evictable }, ratio)
  end,
  cut = function(_, order, ratio) return order.inner:cut(ratio) end,
  rewrite = function(self, ctx, keep)
    local bits = keep:bits()
    return { values = orders.by_block(self, ctx, nil, function(block)
      local out = {}
      for l = 1, block.layers do -- tokens x tokens numbers a head: one layer at a time
        out[l] = tensor.scope(merged, self, block.keys:narrow(1, l, 1), block.values:narrow(1, l, 1),
          bits:narrow(1, block.layer_first - (ctx.layer_first or 0) + l, 1):to("f32"))
      end
      return tensor.cat(out, 1)
    end) }
  end,
}
