-- SPDX-License-Identifier: Apache-2.0
-- KVzip: the model is asked to repeat the context, and a key is worth the largest attention that any query of the
-- repetition pays it, among the sinks, the part of the context that is repeated, and the repetition so far. One more
-- prefill of context and repetition for every chunk_size tokens; all layers and heads share one budget.
local attention = require "kvbench.attention"
local chat = require "kvbench.prompt.chat"
local global = require "kvbench.press_global"
local inputs = require "kvbench.layer_input"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

local FIRST = "\n\nRepeat the previous context exactly."
local NEXT = "\n\nRepeat the part of the previous context exactly, starting with"
local OVERLAP = 8 -- tokens of the part before that a later prompt quotes

local function starts_with(ids, prefix)
  for i, id in ipairs(prefix) do if ids[i] ~= id then return false end end
  return true
end

local function append(into, list, from, to)
  for i = from or 1, to or #list do into[#into + 1] = list[i] end
  return into
end

-- {from, to, ids}: each part of the context (tokens from 0) and what is appended to have it repeated. The chat
-- template's opening is not repeated.
local function parts_of(self, ctx)
  local turn = chat.turn(ctx.model and ctx.model.chat or "none")
  local prefix = turn.before ~= "" and ctx:encode(turn.before) or {}
  local suffix = ctx:encode(turn.before ~= "" and turn.after or "\n")
  local start = starts_with(ctx.ids, prefix) and #prefix < ctx.tokens and #prefix or 0
  local parts = {}
  for from = start, ctx.tokens - 1, self.chunk_size do
    local to = math.min(ctx.tokens, from + self.chunk_size)
    local ids = ctx:encode(from == start and FIRST or NEXT)
    if from > start then ids = append(append({}, ids), ctx.ids, math.max(start, from - OVERLAP) + 1, from) end
    parts[#parts + 1] = { from = from, to = to,
      ids = append(append(append({}, ids), suffix), ctx.ids, from + 1, to) }
  end
  return parts
end

-- Largest attention that one layer's keys [from, to) receive: [kv_heads, to - from].
local function attended(self, ctx, more, l, part)
  local m, n = #part.ids, ctx.tokens
  local sinks, length = math.min(self.n_sink, part.from), part.to - part.from
  local cos, sin = ctx:rope(n, m)
  local queries = rotary.apply(more.queries:narrow(1, l, 1):slice(3, -m), cos, sin) * attention.scale(ctx)
  local all = more.keys:narrow(1, l, 1)
  local keys = tensor.cat({ all:narrow(3, 1, sinks), all:narrow(3, part.from + 1, length), all:narrow(3, n + 1, m) }, 3)
    :transpose()
  local kv_heads, group, before = ctx.kv_heads, ctx.group_size, sinks + length
  local best = tensor.zeros(kv_heads, group, length)
  local strength = self.kvzip_plus_normalization and 1 / inputs.of(more, l):slice(1, -m):norm(-1) or nil
  queries = queries:split_heads(group)
  attention.blocks(m, ctx.heads, before + m, function(from, to)
    local rows = to - from
    local logits = attention.rows(queries, from, to):matmul(keys:narrow(-1, 1, before + to))
    logits = logits:reshape(kv_heads, group, rows, before + to) + tensor.causal_mask(rows, before + to)
    local weights = logits:softmax(-1):narrow(-1, sinks + 1, length)
    if strength then weights = weights * strength:narrow(1, from + 1, rows):unsqueeze(2) end
    best:copy_(best:maximum(weights:max(3)))
  end)
  if strength then
    best = best * inputs.value_norms(more, l, more.values:narrow(1, l, 1):narrow(3, part.from + 1, length))
  end
  return best:max(2)
end

return {
  name = "kvzip",
  paper = "arXiv:2505.23416",
  doc = "Keeps what the model attends to when it is made to repeat the context.",
  formula = "max over the repetition's queries i and the group: softmax_j(q_i k_j / sqrt d); plus: * |W_o v_j| / |h_i|",
  params = {
    layerwise = global.layerwise,
    n_sink = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" },
    kvzip_plus_normalization = { default = false, doc = "weigh by the value's norm after W_o and the query's input "
      .. "(KVzip+)" },
    chunk_size = { default = 2048, min = 1, integer = true, doc = "tokens repeated at a time" },
  },
  aliases = { kvzip_plus = { kvzip_plus_normalization = true } },
  extra_pass = "prefills context and repetition once per chunk_size tokens",
  scope = global.scope,
  whole = true, -- one repetition serves every layer
  budget = "approx",
  thresholds = global.thresholds,
  score = function(self, ctx)
    local n, sinks = ctx.tokens, self:at_most("n_sink", ctx.tokens - 1)
    local score = tensor.zeros(ctx.layers, ctx.kv_heads, n)
    for _, part in ipairs(parts_of(self, ctx)) do
      local more = ctx:read_on(part.ids, { hidden = self.kvzip_plus_normalization or nil })
      for l = 1, ctx.layers do
        local into = score:narrow(1, l, 1):narrow(3, part.from + 1, part.to - part.from)
        into:copy_(tensor.scope(attended, self, ctx, more, l, part):unsqueeze(1))
      end
      more:close()
    end
    return tensor.where(tensor.arange(n):lt(sinks), math.huge, score)
  end,
}
