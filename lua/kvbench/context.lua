-- SPDX-License-Identifier: Apache-2.0
-- Context: the cache of one passage and what prefill observed.
--
-- A context never changes: every press, ratio and question reads the same one. Tensors are copied out of the cache
-- (queries: shared, not copied) when first touched and dropped by ctx:forget(). Positions of tokens are 0-based, tensor
-- dimensions 1-based. Where contexts come from: prefill.lua; what they can be asked: context_ask.lua.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local core = require "kvbench.tensor.core"
local given = require "kvbench.given"
require "kvbench.tensor"
local C, check = library.C, library.check

local M = {}

-- ---- Context ----

local Context = {}

local function handle(ctx)
  local h = rawget(ctx, "handle")
  if h == nil then error("this context was closed -> prefill the passage again", 0) end
  return h
end

local function read(ctx, what, shape, first, given)
  local t = core.new(shape, "f32", ctx.device, true)
  check(C.kvb_ctx_read(handle(ctx), what, first, given, t))
  return core.persist(t)
end

-- Properties that cost a copy: computed when first touched.
local lazy = {
  keys = function(ctx)
    return read(ctx, C.KVB_KEYS, { ctx.layers, ctx.kv_heads, ctx.tokens, ctx.head_dim }, 0, ctx.layers)
  end,
  values = function(ctx)
    return read(ctx, C.KVB_VALUES, { ctx.layers, ctx.kv_heads, ctx.tokens, ctx.head_dim }, 0, ctx.layers)
  end,
  queries = function(ctx)
    if ctx.original then return ctx.original.queries end -- a variant was not prefilled
    local shared = core.empty()
    check(C.kvb_ctx_queries(handle(ctx), shared))
    return core.adopt(shared)
  end,
  hidden = function(ctx)
    if ctx.original then return ctx.original.hidden end
    return read(ctx, C.KVB_HIDDEN, { ctx.layers + 1, ctx.tokens, ctx.model.hidden }, 0, ctx.layers + 1)
  end,
  prefill_logits = function(ctx)
    local observed = C.kvb_ctx_observed(handle(ctx))
    local rows = observed % (2 * C.KVB_OBSERVE_LOGITS) >= C.KVB_OBSERVE_LOGITS and ctx.tokens or 1
    return read(ctx, C.KVB_LOGITS, { rows, ctx.model.vocab }, 0, 1)
  end,
}

local context_meta = {
  __index = function(ctx, name)
    local method = Context[name]
    if method then return method end
    local compute = lazy[name]
    if not compute then return nil end
    local value = compute(ctx)
    rawset(ctx, name, value)
    return value
  end,
  __tostring = function(ctx)
    if rawget(ctx, "handle") == nil then return "context (closed)" end
    return ("context of %d tokens (%d layers, %d KV heads, %.1f MiB%s)"):format(ctx.tokens, ctx.layers, ctx.kv_heads,
      ctx:bytes() / 2 ^ 20, ctx.ragged and ", evicted" or "")
  end,
}

--- The Context of a kvb_ctx * (owned from here on) of a model; extra: fields it shall have.
local function new_context(model, pointer, extra)
  local ctx = setmetatable(extra or {}, context_meta)
  ctx.handle = ffi.gc(pointer, C.kvb_ctx_free)
  ctx.model, ctx.tokens = model, C.kvb_ctx_tokens(pointer)
  ctx.layers, ctx.layer_first, ctx.heads, ctx.kv_heads = model.layers, 0, model.heads, model.kv_heads
  ctx.head_dim, ctx.group_size = model.head_dim, model.heads / model.kv_heads
  ctx.device = core.device_id(model.device) and model.device or "cpu" -- whose memory its tensors are in
  ctx.ragged = C.kvb_ctx_is_ragged(pointer) == 1
  return ctx
end

--- Bytes of keys and values this context really holds.
function Context:bytes() return tonumber(C.kvb_ctx_bytes(handle(self))) end

--- The kvb_ctx * (borrowed); an error after close.
function Context:pointer() return handle(self) end

--- Drops observations and the tensors copied out of the cache; the cache stays.
function Context:forget()
  for name in pairs(lazy) do self[name] = nil end
  C.kvb_ctx_forget(handle(self))
end

--- Frees the cache now instead of when the collector comes by. Continuations in flight keep it until they end.
function Context:close()
  if rawget(self, "handle") == nil then return end
  for name in pairs(lazy) do self[name] = nil end
  self.captured = nil -- by decoding presses
  C.kvb_ctx_free(ffi.gc(self.handle, nil))
  self.handle = nil
end

--- A weight of the model as an f32 tensor (rows = outputs), for rules that look through a projection: ctx:weight("o",
--- layer), layers counted from 0 in the model.
function Context:weight(slot, layer) return self.model:weight(slot, layer):to(self.device) end

--- cos and sin of RoPE for n positions from `first`: two tensors [n, head_dim], rotate-half layout. sliding = true:
--- those of the sliding layers, where the model has such.
function Context:rope(first, n, sliding)
  local shape = { n, self.head_dim }
  local cos, sin = core.new(shape, "f32", "cpu"), core.new(shape, "f32", "cpu")
  check(C.kvb_model_rope(self.model:pointer(), sliding and 1 or 0, first, n, cos, sin))
  return cos:to(self.device), sin:to(self.device)
end

--- Keys [n, head_dim], values [n, head_dim] and positions (Lua array) of one head (0-based layer and head); works for
--- evicted contexts too, whose heads keep different numbers of tokens.
function Context:head(layer, head)
  if not given.counts(layer, self.layers) or not given.counts(head, self.kv_heads) then
    error(("ctx:head: no layer %s, KV head %s in a model of %d and %d (counted from 0)"):format(given.show(layer),
      given.show(head), self.layers, self.kv_heads), 0)
  end
  local n = C.kvb_ctx_head_tokens(handle(self), layer, head)
  local shape = { n, self.head_dim }
  local keys, values = core.new(shape, "f32", self.device), core.new(shape, "f32", self.device)
  local positions = ffi.new("int32_t[?]", math.max(n, 1))
  check(C.kvb_ctx_head(handle(self), layer, head, keys, values, positions))
  local list = {}
  for i = 1, n do list[i] = positions[i - 1] end
  return keys, values, list
end

--- The observations of tokens [from, to) as if they were the context (Chunk and Block score so). Shares storage.
function Context:select(from, to)
  if not given.counts(from, self.tokens) or not given.counts(to, self.tokens + 1) or from >= to then
    error(("ctx:select(%s, %s): the context has tokens 0 to %d"):format(given.show(from), given.show(to), self.tokens),
      0)
  end
  local part = {
    model = self.model, layers = self.layers, layer_first = self.layer_first, heads = self.heads,
    kv_heads = self.kv_heads, head_dim = self.head_dim, group_size = self.group_size, tokens = to - from,
    parent_tokens = self.parent_tokens or self.tokens, seed = self.seed, rope = self.rope, select = self.select,
    device = self.device, weight = self.weight,
  }
  local source = self
  return setmetatable(part, { __index = function(t, name)
    if not lazy[name] then return nil end
    local whole = source[name]
    if name == "hidden" then return core.persist(whole:narrow(2, from + 1, to - from)) end
    local rows = whole:size(3)
    if rows ~= source.tokens then
      error(("ctx:select needs the %s of all tokens, prefill kept %d of %d -> needs = {queries = true}"):format(name,
        rows, source.tokens), 0)
    end
    local value = core.persist(whole:narrow(3, from + 1, to - from))
    rawset(t, name, value)
    return value
  end })
end

--- A new context that physically holds only what `keep` keeps (with the keys and values of the press that made the set,
--- where it changed them); its bytes are :bytes().
function Context:evict(keep)
  if not require("kvbench.keep").is(keep) then
    error(("ctx:evict takes a KeepSet, got a %s -> ctx:evict(press:keep(ctx, 0.9))"):format(type(keep)), 0)
  end
  if keep.decoding then
    error(("ctx:evict: '%s' evicts while an answer is written, through masks -> ctx:generate(text, {keep = keep})")
      :format(keep.decoding.press.name), 0)
  end
  local out = ffi.new "kvb_ctx *[1]"
  check(C.kvb_ctx_evict(handle(keep.cache or self), keep.handle, out))
  return new_context(self.model, out[0], { ids = self.ids, text = self.text, spans = self.spans,
    question_position = keep.position or self.question_position })
end

--- A new context for the same tokens with other keys or values: {keys =, values =}, f32 [layers, kv_heads, tokens,
--- head_dim], copied; what is not given stays. Observations are this context's. (position, which a press gives beside
--- them, is for its keep-set.)
function Context:variant(new)
  if new == nil then error("ctx:variant: nothing was given -> {keys = tensor, values = tensor}; {} is a copy", 0) end
  given.options("ctx:variant", new, { keys = true, values = true, position = true })
  for _, name in ipairs { "keys", "values" } do
    if new[name] ~= nil and not core.is(new[name]) then
      error(("ctx:variant: %s is %s -> a tensor [layers, kv_heads, tokens, head_dim]"):format(name,
        given.show(new[name])), 0)
    end
  end
  local out = ffi.new "kvb_ctx *[1]"
  check(C.kvb_ctx_variant(handle(self), new.keys and new.keys:contiguous(), new.values and new.values:contiguous(),
    out))
  return new_context(self.model, out[0], { ids = self.ids, text = self.text, spans = self.spans, seed = self.seed,
    original = self.original or self, question_position = self.question_position })
end

--- The model reading `ids` behind the context's own tokens: a Context of both, with the queries of `ids` observed, and
--- what `needs` names besides. For rules that ask what a further reading looks at.
function Context:read_on(ids, needs)
  given.ids("ctx:read_on", ids)
  local both, observed = {}, { window_queries = #ids }
  for i = 1, self.tokens do both[i] = self.ids[i] end
  for i = 1, #ids do both[self.tokens + i] = ids[i] end
  for name, value in pairs(needs or {}) do observed[name] = value end
  return self.model:prefill(both, observed)
end

--- Token ids of a text by this context's model, or the ids themselves.
function Context:encode(text) return self.model:ids(text) end

--- A second handle of the same cache, for those who need it longer than its owner.
function Context:share()
  C.kvb_ctx_retain(handle(self))
  return new_context(self.model, self.handle, { ids = self.ids, seed = self.seed, original = self.original or self })
end

require("kvbench.context_ask")(Context) -- generate, logits, logprob

M.new = new_context

--- Is x a Context?
function M.is(x) return getmetatable(x) == context_meta end

return M
