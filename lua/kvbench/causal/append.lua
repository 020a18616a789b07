-- SPDX-License-Identifier: Apache-2.0
-- Rows read behind a context, and what they leave: their keys, values and queries, where they look, and contexts whose
-- later tokens never saw some earlier ones.
--
-- A row that is appended under a keep-set attends to what the set keeps. Appending the rest of a passage behind its
-- beginning, with some tokens dropped, is therefore a prefill in which those tokens are no source: nothing in the
-- engine has to know about it. Rejected: an attention mask argument of prefill, a second way to say the same.
local attention = require "kvbench.attention"
local core = require "kvbench.tensor.core"
local keepset = require "kvbench.keep"
local library = require "kvbench.ffi"
local tensor = require "kvbench.tensor"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = {}

local function tensors_of(model) return model.device == "ref" and "cpu" or model.device end

--- Reads ids behind ctx (under `keep`, nil: everything) in one step; returns {keys =, values =, queries =} of these
--- rows, f32 [layers, heads, rows, head_dim]: keys after RoPE, queries before it.
function M.rows(ctx, ids, keep)
  local model = ctx.model
  local out, request = ffi.new "kvb_batch *[1]", ffi.new "kvb_request"
  check(C.kvb_batch_new(model:pointer(), ffi.new "int32_t[1]", 0, 0, out))
  local batch = ffi.gc(out[0], C.kvb_batch_free)
  local c_ids = ffi.new("int32_t[?]", #ids, ids)
  request.ctx, request.keep = (keep and keep.cache or ctx):pointer(), keep and keep.handle or nil
  request.ids, request.n, request.position = c_ids, #ids, keep and keep.position or -1
  request.max_new, request.flags, request.pause_after, request.tag = 2, C.KVB_IGNORE_STOP, 1, 1
  check(C.kvb_batch_add(batch, request))
  local paused, pending = ffi.new "kvb_paused", ffi.new "int32_t[1]"
  repeat check(C.kvb_batch_step(batch, pending)) until C.kvb_batch_paused(batch, paused) == 1
  local function read(what, heads)
    local t = core.new({ model.layers, heads, paused.capacity, model.head_dim }, "f32", tensors_of(model), true)
    check(C.kvb_ctx_read(paused.own, what, 0, model.layers, t))
    return t:narrow(3, 1, #ids)
  end
  local own = { keys = read(C.KVB_KEYS, model.kv_heads), values = read(C.KVB_VALUES, model.kv_heads),
    queries = read(C.KVB_QUERIES, model.heads) }
  C.kvb_batch_free(ffi.gc(batch, nil))
  return own
end

-- Attention of the last `rows` of the appended ids: [layers, kv_heads, group * rows, tokens of the context].
local function weights(ctx, ids, rows, keep)
  local own, n = M.rows(ctx, ids, keep), ctx.tokens + #ids
  local whole = { layers = ctx.layers, heads = ctx.heads, kv_heads = ctx.kv_heads, head_dim = ctx.head_dim,
    group_size = ctx.group_size, tokens = n, queries = own.queries, keys = tensor.cat({ ctx.keys, own.keys }, 3),
    model = ctx.model, rope = function(_, first, count, sliding) return ctx:rope(first, count, sliding) end,
    once = function(_, _, make) return make() end }
  return attention.window(whole, rows):narrow(-1, 1, ctx.tokens)
end

--- Attention of the last `rows` of the appended ids to the context's tokens: f32 [layers, kv_heads, tokens], mean over
--- these rows and over the query heads of a KV head. What they pay to each other is left out, so a head's row sums to
--- at most 1. With keep, the rows are read under that set and then asked where they would look were everything there.
function M.attention(ctx, ids, rows, keep)
  return tensor.scope(function() return weights(ctx, ids, rows, keep):mean(3) end)
end

--- The same of the last row, query head by query head: [layers, heads, tokens], on the host.
function M.last_row(ctx, ids, keep)
  return tensor.scope(function()
    return weights(ctx, ids, 1, keep):reshape(ctx.layers, ctx.heads, ctx.tokens):contiguous():cpu()
  end)
end

--- Attention received by each token of the context from the last row of the appended ids, mean over all cells (or over
--- `cells(layer, head)`): {[token from 0] = mass}. keep: as for attention.
function M.received(ctx, ids, cells, keep)
  local all = M.attention(ctx, ids, 1, keep):contiguous():cpu()
  local p, n, out, count = all:pointer(), ctx.tokens, {}, 0
  for t = 0, n - 1 do out[t] = 0 end
  for l = 0, ctx.layers - 1 do
    for h = 0, ctx.kv_heads - 1 do
      if not cells or cells(l, h) then
        local base = (l * ctx.kv_heads + h) * n
        count = count + 1
        for t = 0, n - 1 do out[t] = out[t] + p[base + t] end
      end
    end
  end
  for t = 0, n - 1 do out[t] = out[t] / math.max(1, count) end
  return out
end

-- Keys or values with those from token `from` on replaced.
local function joined(x, from, rows) return tensor.cat({ x:narrow(3, 1, from), rows }, 3) end

--- A variant of ctx in which no later token attended to `spans` ({from, to} ranges, ascending): the passage as it would
--- have been read had those tokens been evicted as soon as they were read. The spans' own keys and values are those of
--- ctx where they come first, and of a reading without the earlier spans after that. Close it after use.
function M.unseen(ctx, spans)
  local keys, values = ctx.keys, ctx.values
  for i, span in ipairs(spans) do
    local from = span[2]
    if from < ctx.tokens then
      local head, rest = {}, {}
      for t = 1, ctx.tokens do
        local list = t <= from and head or rest
        list[#list + 1] = ctx.ids[t]
      end
      local start = ctx.model:prefill(head)
      local source = start
      if i > 1 then
        source = start:variant { keys = keys:narrow(3, 1, from), values = values:narrow(3, 1, from) }
      end
      local keep = keepset.all(ctx.layers, ctx.kv_heads, from)
      for j = 1, i do keep:set(nil, nil, spans[j][1], spans[j][2], false) end
      local own = M.rows(source, rest, keep)
      keys, values = joined(keys, from, own.keys), joined(values, from, own.values)
      if source ~= start then source:close() end
      start:close()
    end
  end
  return ctx:variant { keys = keys, values = values }
end

return M
