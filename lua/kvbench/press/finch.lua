-- SPDX-License-Identifier: Apache-2.0
-- FINCH: the last window_size tokens of the context are the question, and what they attend to stays. Each of their rows
-- is weighted by how many keys it sees; survivors close ranks as in key_rerotation. (The reference finds the question
-- by a delimiter token in the text; here its length is a parameter.)
local attention = require "kvbench.attention"
local keepset = require "kvbench.keep"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

return {
  name = "finch",
  paper = "doi:10.1162/tacl_a_00716",
  doc = "Keeps what the question at the end of the context attends to, and moves the survivors together.",
  formula = "mean over the window and the group of softmax_j(q_i k_j / sqrt d) (i if normalize_scores)",
  params = {
    window_size = { default = 32, min = 1, integer = true,
      doc = "last tokens of the context that guide: the question" },
    chunk_length = { kind = "number", optional = true, min = 1, integer = true,
      doc = "evict in pieces of this length" },
    normalize_scores = { default = true, doc = "weight a row of attention by the number of keys it sees" },
    rerotate_keys = { default = true, doc = "move survivors to positions 0, 1, 2, ..." },
  },
  needs = function(self) return { window_queries = self.window_size } end,
  budget = function(self) return self.chunk_length and "approx" or "exact" end,
  decides = true,
  score = function(self, ctx)
    local n = ctx.tokens
    local window = self:last_of("window_size", n)
    if window == 0 then return tensor.zeros(ctx.layers, ctx.kv_heads, n) end
    local received = attention.window(ctx, window):view(ctx.layers, ctx.kv_heads, ctx.group_size, window, n)
      :slice(-1, 1, n - window)
    if self.normalize_scores then received = received * tensor.arange(n - window, n):view(window, 1) end
    return received:mean(4):mean(3):pad(0, window, math.huge)
  end,
  cut = function(self, order, ratio)
    if not self.chunk_length then return keepset.from_ranks(order:rank("head"), (order:budget(ratio))) end
    if self.chunk_length <= self.window_size / (1 - ratio) then
      error(("press 'finch': at ratio %g a chunk_length of %d leaves no room for the window of %d -> at least %d")
        :format(ratio, self.chunk_length, self.window_size, math.floor(self.window_size / (1 - ratio)) + 1), 0)
    end
    local bits = {}
    for from = 0, order.tokens - 1, self.chunk_length do
      local n = math.min(self.chunk_length, order.tokens - from)
      bits[#bits + 1] = order.scores:narrow(3, from + 1, n):rank(-1):lt((order:budget(ratio, from, from + n)))
    end
    return keepset.from_bits(tensor.cat(bits, 3))
  end,
  rewrite = function(self, ctx, keep)
    if not self.rerotate_keys then return nil end
    return { keys = parts.close_ranks(self, ctx, keep), position = keep:count(0, 0) }
  end,
}
