-- SPDX-License-Identifier: Apache-2.0
-- DuoAttention: retrieval heads stay whole, streaming heads keep their first and their most recent tokens. How much of
-- a retrieval head a head is comes from a pattern file, or is found on the fly: the mean query looks at the mean key at
-- every distance, and the area under its cumulated attention is large where far keys count.
local attention = require "kvbench.attention"
local head_pattern = require "kvbench.head_pattern"
local keepset = require "kvbench.keep"
local layer_part = require "kvbench.layer_part"
local ratios = require "kvbench.ratios"
local rotary = require "kvbench.rotary"
local streaming = require "kvbench.press_streaming"
local tensor = require "kvbench.tensor"

local LENGTH = 500 -- distances looked at on the fly

local rule = {
  name = "duo_attention",
  paper = "arXiv:2410.10819",
  doc = "Lets streaming heads keep only their first and most recent tokens, and leaves retrieval heads whole.",
  formula = "retrieval score of a head: from a file, or mean over j of cumulated softmax_j(R q' R_j k'), q' k' the "
    .. "means",
  params = {
    head_compression_ratio = { kind = "number", min = 0, max = 1, optional = true,
      doc = "share of heads that stream, whatever the ratio (KVPress); unset: as many as the ratio needs" },
    on_the_fly_scoring = { default = true, doc = "find the pattern from this context, when there is no file" },
    path = { kind = "string", optional = true, doc = "folder with full_attention_heads.tsv and config.json" },
    sink_size = { kind = "number", min = 0, integer = true, optional = true,
      doc = "first tokens that streaming heads keep; unset: the file's, or 128" },
    recent_size = { kind = "number", min = 1, integer = true, optional = true,
      doc = "recent tokens that streaming heads keep; unset: the file's, or 256" },
  },
  across = true, -- heads of all layers compete
  needs = function(self) return { queries = self.on_the_fly_scoring and not self.path or nil } end,
  budget = function(self) return self.head_compression_ratio and "own" or "approx" end,
}

--- Retrieval scores [layers, kv_heads] found from a context's own queries and keys.
function rule.on_the_fly(ctx)
  local keys = rotary.keys_before(ctx):mean(3):unsqueeze(3) -- [layers, kv_heads, 1, d]
  local queries = ctx.queries:mean(3):unsqueeze(3)
  local cos, sin = ctx:rope(0, LENGTH)
  local turned = rotary.apply(keys:expand(-1, -1, LENGTH, -1), cos, sin)
  local last = rotary.apply(queries, cos:narrow(1, LENGTH, 1), sin:narrow(1, LENGTH, 1))
  local logits = last:split_heads(ctx.group_size):matmul(turned:unsqueeze(3):transpose()) * attention.scale(ctx)
  return logits:softmax(-1):cumsum(-1):mean(-1):squeeze(4):mean(3)
end

--- The same number for all tokens of a head.
function rule.score(self, ctx)
  local scores
  if self.path or not self.on_the_fly_scoring then
    local pattern = ctx:once("pattern", function() return head_pattern.read(self, ctx) end)
    scores = layer_part.rows(ctx, pattern.scores)
  else
    scores = rule.on_the_fly(ctx)
  end
  return scores:unsqueeze(3):expand(ctx.layers, ctx.kv_heads, ctx.tokens)
end

function rule.order(self, order, ctx, ratio)
  local orders = require "kvbench.press_order"
  order.scores = orders.scores(self, ctx, ratio)
  local sizes = (self.path or not self.on_the_fly_scoring) and head_pattern.read(self, ctx) or {}
  order.first = self.sink_size or sizes.sink_size or 128
  order.recent = self.recent_size or sizes.recent_size or 256
end

function rule.cut(self, order, ratio)
  local heads, value = {}, {}
  for l = 0, order.layers - 1 do
    for h = 0, order.kv_heads - 1 do
      heads[#heads + 1] = { l, h, place = #heads }
      value[#heads - 1] = order.scores:at(l + 1, h + 1, 1)
    end
  end
  table.sort(heads, function(a, b)
    if value[a.place] ~= value[b.place] then return value[a.place] < value[b.place] end
    return a.place < b.place
  end)
  if not self.head_compression_ratio then
    return streaming.by_ratio(self, order, heads, ratio, order.first, order.recent)
  end
  local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
  for i = 1, ratios.round_half_even(#heads * self.head_compression_ratio) do
    streaming.cut(keep, heads[i], order.evictable, order.first, order.recent)
  end
  return keep
end

return rule
