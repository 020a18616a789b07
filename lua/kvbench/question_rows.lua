-- SPDX-License-Identifier: Apache-2.0
-- Attention of the question's rows, as the full cache computes their queries, over all keys or over those that a
-- keep-set leaves. What a press changes by leaving keys out is seen here layer by layer; what it changes in later
-- layers' queries is not ("frozen queries"), so the rows of different keep-sets can be compared key by key. Layers come
-- one at a time, computed when asked for: all rows of a long context would not fit.
local attention = require "kvbench.attention"
local ffi = require "ffi"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

local M = {}
local Rows = {}
Rows.__index = Rows

--- Reads `question` (a text or ids) behind ctx with everything kept. opt.all: the context's own rows too (first = 0).
-- Returns rows: context (tokens), first (position of the first row), rows, keys = context + question tokens, layers,
-- heads, kv_heads, and the methods below. Close it.
function M.of(ctx, question, opt)
  local ids = ctx.model:ids(question)
  local all = opt and opt.all
  local more = ctx:read_on(ids, all and { queries = true } or nil)
  local first = all and 0 or ctx.tokens
  return setmetatable({ ctx = ctx, more = more, context = ctx.tokens, first = first, rows = ctx.tokens + #ids - first,
    keys = ctx.tokens + #ids, layers = ctx.layers, heads = ctx.heads, kv_heads = ctx.kv_heads,
    recent = {}, turn = 0, cos_sin = { ctx:rope(first, ctx.tokens + #ids - first) },
    cos_sin_sliding = attention.sliding(ctx) and { ctx:rope(first, ctx.tokens + #ids - first, true) } }, Rows)
end

local function logits_of(self, layer)
  local ctx, r, n = self.ctx, self.rows, self.keys
  local sliding, window = attention.sliding(ctx)
  local slides = sliding and sliding[layer + 1]
  local cos, sin = unpack(slides and self.cos_sin_sliding or self.cos_sin)
  local q = rotary.apply(self.more.queries:narrow(1, layer + 1, 1):slice(3, -r), cos, sin)
  q = (q * attention.scale(ctx)):reshape(ctx.kv_heads, ctx.group_size * r, ctx.head_dim)
  local out = q:matmul(self.more.keys:narrow(1, layer + 1, 1):squeeze(1):transpose())
  local mask = tensor.causal_mask(r, n)
  if slides then mask = mask + attention.window_mask(n - r, r, n, window) end
  return out:reshape(ctx.kv_heads, ctx.group_size, r, n) + mask:to(out.device)
end

-- Calls fn where the context is, and frees its temporaries: masks are made on the current device.
local function there(self, fn) return tensor.on(self.ctx.device, tensor.scope, fn) end

local RECENT = 8

-- A pointer into an array does not keep it from being collected, so the rows do, for the last arrays they gave out.
local function held(self, array)
  self.turn = self.turn % RECENT + 1
  self.recent[self.turn] = array
  return array
end

local function copied(t, count)
  local out = ffi.new("float[?]", count)
  local host = t:contiguous():to "cpu"
  ffi.copy(out, host.data, 4 * count)
  return out
end

--- Weights [heads, rows, keys] of a layer (from 0) as a cdata float array: a[(h * rows + i) * keys + t]. Pointers into
--- it (a + n) are good until eight further arrays were asked for. With a
-- keep-set the keys it evicted weigh 0 and the rest sums to 1, in the rows of the question only: the context read
-- itself before anything was evicted. Own rows are never evicted.
function Rows:weights(layer, keep)
  return there(self, function()
    local logits = logits_of(self, layer)
    if keep then
      local mask = ((keep:bits():narrow(1, layer + 1, 1):view(self.kv_heads, 1, 1, self.context):to "f32" - 1) * 1e30)
        :pad(0, self.keys - self.context, 0)
      if self.first == self.context then
        logits = logits + mask
      else
        local asked = self.keys - self.context
        local dense = logits:narrow(3, 1, self.context)
        logits = tensor.cat({ dense, logits:narrow(3, self.context + 1, asked) + mask }, 3)
      end
    end
    return held(self, copied(logits:softmax(-1), self.heads * self.rows * self.keys))
  end)
end

--- |W_o v| of every key in a layer (from 0), by query head: cdata float [heads, keys].
function Rows:value_norms(layer)
  return there(self, function()
    local input = require "kvbench.layer_input"
    local norms = input.value_norms(self.more, layer + 1, self.more.values:narrow(1, layer + 1, 1))
    return held(self, copied(norms:reshape(self.heads, self.keys), self.heads * self.keys))
  end)
end

--- Values of a layer (from 0): cdata float [kv_heads, keys, head_dim].
function Rows:values(layer)
  return there(self, function()
    return held(self, copied(self.more.values:narrow(1, layer + 1, 1), self.kv_heads * self.keys * self.ctx.head_dim))
  end)
end

function Rows:close() self.more:close() end

return M
