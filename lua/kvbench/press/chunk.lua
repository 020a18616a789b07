-- SPDX-License-Identifier: Apache-2.0
-- Chunk: every piece of the context is scored as if it were the whole context (own query statistics, own sinks) and
-- keeps its own share. Over all pieces the number kept is only about n_kept, since each piece rounds for itself.
local keepset = require "kvbench.keep"
local tensor = require "kvbench.tensor"
local orders = require "kvbench.press_order"

local function pieces(self, tokens)
  local list, length = {}, self.chunk_length
  for from = 0, tokens - 1, length do list[#list + 1] = { from = from, n = math.min(length, tokens - from) } end
  return list
end

-- Scores of a piece; a last piece no longer than the sinks of the rule is kept whole.
local function score_piece(self, ctx, piece, ratio)
  if piece.n <= (self.of.params.n_sink or 0) then
    self:note(("the last %d tokens are no more than n_sink and kept whole"):format(piece.n))
    return tensor.full({ ctx.layers, ctx.kv_heads, piece.n }, math.huge), true
  end
  return orders.checked_score(self.of, ctx:select(piece.from, piece.from + piece.n), ratio)
end

return {
  name = "chunk",
  paper = "arXiv:2408.00167",
  doc = "Scores and evicts each piece of the context on its own.",
  params = {
    of = { kind = "press", doc = "the rule that scores" },
    chunk_length = { default = 1024, min = 1, integer = true, doc = "tokens of a piece" },
  },
  paper_preset = { of = "expected_attention", chunk_length = 64 },
  budget = "approx",
  check = function(self)
    if self.of.decides then
      error(("press 'chunk': '%s' decides by itself what is kept -> a rule that only scores"):format(self.of.name), 0)
    end
  end,
  widen_needs = function(_, needs) -- the last queries of every piece are queries all over the context
    if needs.window_queries then needs.window_queries, needs.queries = nil, true end
  end,
  score = function(self, ctx, ratio)
    local parts = {}
    for i, piece in ipairs(pieces(self, ctx.tokens)) do parts[i] = (score_piece(self, ctx, piece, ratio)) end
    return tensor.cat(parts, 3)
  end,
  order = function(self, order, ctx, ratio)
    local scores = orders.scores(self, ctx, ratio, order.evictable)
    order.pieces = pieces(self, ctx.tokens)
    for _, piece in ipairs(order.pieces) do
      local part = scores:narrow(3, piece.from + 1, piece.n)
      orders.protect(part, order.evictable, piece.from)
      piece.ranks = part:rank(-1)
      piece.whole = piece.n <= (self.of.params.n_sink or 0)
    end
    order.scores = scores
  end,
  cut = function(self, order, ratio)
    local bits = {}
    for i, piece in ipairs(order.pieces) do
      local kept = piece.whole and piece.n or order:budget(ratio, piece.from, piece.from + piece.n)
      bits[i] = piece.ranks:lt(kept)
    end
    return keepset.from_bits(tensor.cat(bits, 3))
  end,
}
