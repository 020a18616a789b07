-- SPDX-License-Identifier: Apache-2.0
-- Chunk: every piece of the context is scored as if it were the whole context (own query statistics, own sinks) and
-- keeps its own share. Over all pieces the number kept is only about n_kept, since each piece rounds for itself.
local attention = require "kvbench.attention"
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

-- ---- full pieces at once ----

-- What a rule may ask of a context in which every full piece is a layer. Whatever tells the pieces or the layers apart
-- is not in it (weights, seeds, positions of tokens, hidden states): a rule that asks for more is scored by piece.
local SAME = { group_size = true, heads = true, kv_heads = true, head_dim = true, device = true, all_queries = true }
local APART = {} -- raised where a rule asks for more

local function turned(x, heads, count, length, d)
  local layers = x:size(1)
  return x:view(layers, heads, count, length, d):permute(1, 3, 2, 4, 5):reshape(layers * count, heads, length, d)
end

-- The first `count` pieces of `length` tokens of a block of layers, as layers of a context of that length.
local function side_by_side(ctx, count, length)
  local made = { attention_scale = attention.scale(ctx), layer_list = ctx.layer_list or {}, -- no layer slides
    layers = ctx.layers * count, tokens = length, parent_tokens = ctx.parent_tokens or ctx.tokens,
    rope = function(_, first, n) return ctx:rope(first, n) end,
    once = function(_, key, fn) return ctx:once(("pieces of %d: %s"):format(length, key), fn) end }
  return setmetatable(made, { __index = function(_, name)
    if name == "keys" or name == "values" or name == "queries" then
      local x = ctx[name]
      if x:size(3) ~= ctx.tokens then error(APART, 0) end
      local value = turned(x:narrow(3, 1, count * length), x:size(2), count, length, x:size(4))
      rawset(made, name, value)
      return value
    end
    if not SAME[name] then error(APART, 0) end
    return ctx[name]
  end })
end

-- Scores of the full pieces [layers, kv_heads, count * length] in one go, or nil where the rule tells pieces apart.
local function score_together(self, ctx, count, ratio)
  local length = self.chunk_length
  if count < 2 or self.of.rule.apart or length <= (self.of.params.n_sink or 0) then return nil end
  local ok, score = pcall(self.of.rule.score, self.of, side_by_side(ctx, count, length), ratio)
  if not ok then return nil end -- it asked for more, or is wrong: piece by piece says which
  local shape = tensor.is(score) and score:type() == "f32" and score:size() or {}
  if #shape ~= 3 or shape[1] ~= ctx.layers * count or shape[2] ~= ctx.kv_heads or shape[3] ~= length then return nil end
  return score:reshape(ctx.layers, count, ctx.kv_heads, length):permute(1, 3, 2, 4)
    :reshape(ctx.layers, ctx.kv_heads, count * length)
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
    local list, full = pieces(self, ctx.tokens), math.floor(ctx.tokens / self.chunk_length)
    local parts = { score_together(self, ctx, full, ratio) }
    for i = parts[1] and full + 1 or 1, #list do parts[#parts + 1] = (score_piece(self, ctx, list[i], ratio)) end
    return tensor.cat(parts, 3)
  end,
  order = function(self, order, ctx, ratio)
    local scores = orders.scores(self, ctx, ratio, order.evictable)
    order.pieces, order.full = pieces(self, ctx.tokens), math.floor(ctx.tokens / self.chunk_length)
    if order.evictable[1] > 0 or order.evictable[2] < ctx.tokens then
      local open = {}
      for i, piece in ipairs(order.pieces) do
        open[i] = orders.protect(scores:narrow(3, piece.from + 1, piece.n), order.evictable, piece.from)
      end
      scores = tensor.cat(open, 3)
    end
    order.scores = scores
    local full, length, last = order.full, self.chunk_length, order.pieces[order.full + 1]
    -- full pieces are ranked, and cut, together
    order.full_ranks = full > 0 and scores:narrow(3, 1, full * length)
      :reshape(ctx.layers, ctx.kv_heads, full, length):rank(-1)
    order.last_ranks = last and scores:narrow(3, last.from + 1, last.n):rank(-1)
    for _, piece in ipairs(order.pieces) do piece.whole = piece.n <= (self.of.params.n_sink or 0) end
  end,
  cut = function(_, order, ratio)
    local kept, even, bits = {}, true, {}
    for i, piece in ipairs(order.pieces) do
      kept[i] = piece.whole and piece.n or order:budget(ratio, piece.from, piece.from + piece.n)
      even = even and (i > order.full or kept[i] == kept[1])
    end
    if order.full_ranks then
      local each = even and kept[1] or tensor.from({ unpack(kept, 1, order.full) }):view(1, 1, order.full, 1)
      local ranks = order.full_ranks
      bits[1] = ranks:lt(each):view(ranks:size(1), ranks:size(2), ranks:size(3) * ranks:size(4))
    end
    if order.last_ranks then bits[#bits + 1] = order.last_ranks:lt(kept[#kept]) end
    return keepset.from_bits(#bits > 1 and tensor.cat(bits, 3) or bits[1])
  end,
}
