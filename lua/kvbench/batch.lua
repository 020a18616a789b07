-- SPDX-License-Identifier: Apache-2.0
-- Batch: many continuations in flight over shared contexts. Lua adds and takes, C packs and steps (core/batch.c);
-- order and company never change an answer.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local core = require "kvbench.tensor.core"
local given = require "kvbench.given"
local decoding = require "kvbench.press_decoding"
local protect = require "kvbench.press_protect"
local keepset = require "kvbench.keep"
local trace = require "kvbench.trace"
local C, check = library.C, library.check

local M = {}

local Batch = {}
Batch.__index = Batch

-- Where a model's tensors are: the scalar reference shares the host's memory.
local function tensors_of(model) return model.device == "ref" and "cpu" or model.device end

--- Queues a continuation: {ctx =, ids = (array), keep =, position =, max_new_tokens =, ignore_stop =, logits = true or
--- the first question row (from 0) whose logits are wanted, trunk =, tag = any value}; temperature, patch, hidden: see
--- trace.lua.
function Batch:add(request)
  local n, keep = #given.ids("batch", request.ids), request.keep
  if keep ~= nil and not keepset.is(keep) then
    error(("keep is a %s, expected a KeepSet -> keep = press:keep(ctx, 0.9)"):format(type(keep)), 0)
  end
  local ids = ffi.new("int32_t[?]", math.max(n, 1), request.ids)
  local r = self.request
  local source = keep and keep.cache or request.ctx -- a press that changes keys or values brings its own
  local position = request.position or keep and keep.position or request.ctx.question_position
  r.ctx, r.keep = source:pointer(), keep and keep.handle or nil
  r.position = position and given.whole("batch", "position", position, -1) or -1
  r.max_new = given.whole("batch", "max_new_tokens", request.max_new_tokens or 24, 0)
  r.ids, r.n = ids, n
  local state = keep and keep.decoding and r.max_new > 0
    and core.on(tensors_of(self.model), decoding.start, request, keep, source, position or source.tokens) or nil
  r.pause_after = state and state.pause or 0
  r.flags = (request.ignore_stop and C.KVB_IGNORE_STOP or 0) + (request.logits and C.KVB_WANT_LOGITS or 0)
  r.logits_from = type(request.logits) == "number" and request.logits or 0
  r.trunk = request.trunk or 0
  local spec, anchors = trace.fill(r, self.model, request)
  self.last_tag = self.last_tag + 1
  r.tag = self.last_tag
  check(C.kvb_batch_add(self:pointer(), r))
  anchors = nil -- copied
  self.specs[self.last_tag] = spec
  self.tags[self.last_tag] = request.tag == nil and self.last_tag or request.tag
  self.states[self.last_tag] = state
end

-- What was appended to a sequence that stands still: its keys, values and queries so far.
local function own_tensors(model, paused)
  local function read(what, heads)
    local t = core.new({ model.layers, heads, paused.capacity, model.head_dim }, "f32", tensors_of(model), true)
    check(C.kvb_ctx_read(paused.own, what, 0, model.layers, t))
    return t:narrow(3, 1, paused.own_tokens)
  end
  return { keys = read(C.KVB_KEYS, model.kv_heads), values = read(C.KVB_VALUES, model.kv_heads),
    queries = read(C.KVB_QUERIES, model.heads) }
end

-- Asks the decoding press of every sequence that stands still what it goes on with.
local function resume(batch)
  local paused = batch.paused
  while C.kvb_batch_paused(batch:pointer(), paused) == 1 do
    local state = batch.states[tonumber(paused.tag)]
    local keep, own_keep, pause, changed = core.scope(function()
      return core.on(tensors_of(batch.model), decoding.compress, state, own_tensors(batch.model, paused),
        paused.capacity)
    end)
    if changed then check(C.kvb_batch_own_values(batch:pointer(), paused.tag, changed.values)) end
    check(C.kvb_batch_resume(batch:pointer(), paused.tag, changed and changed.prefix:pointer() or nil, keep.handle,
      own_keep.handle, pause))
    if changed then changed.prefix:close() end -- the sequence keeps it
  end
end

--- The kvb_batch * (borrowed); an error after close.
function Batch:pointer()
  if self.handle == nil then error("this batch was closed -> model:batch() makes another", 0) end
  return self.handle
end

-- Memory ran out, for another continuation or for something beside the batch: a smaller batch goes on, and says so.
local function tell(batch, beside)
  local bytes = ffi.new "int64_t[1]"
  local shrunk = C.kvb_batch_shrunk(batch:pointer(), bytes)
  if shrunk == batch.shrunk then return end
  batch.shrunk = shrunk
  io.stderr:write(("kvbench: out of memory on %s %s %d continuations in flight: going on with %s at a time, %.3g MiB "
    .. "of keys and values\n"):format(batch.model.device, beside and "beside" or "with",
    C.kvb_batch_in_flight(batch:pointer()), beside and "half of these" or "these", tonumber(bytes[0]) / 2 ^ 20))
end

--- One packed step; returns how many continuations are still queued or in flight.
function Batch:step()
  check(C.kvb_batch_step(self:pointer(), self.pending))
  tell(self)
  if next(self.states) then resume(self) end
  return self.pending[0]
end

--- Makes room for what memory ran out for beside the batch: half of what is in flight ends before others are admitted.
--- collect(): called after every step, takes what finished (a result holds on to its context). false: there was nothing
--- to give.
function Batch:relieve(collect)
  local b = self:pointer()
  local given, pending = C.kvb_batch_relieve(b, 1), C.kvb_batch_queued(b)
  tell(self, true)
  if given == 0 and pending == 0 then return false end
  local all = given == 0 -- the passages of what is queued are what takes the room
  while given == 2 or all and pending > 0 do
    pending = self:step()
    collect()
    given = C.kvb_batch_relieve(b, 0)
  end
  collectgarbage()
  return true
end

--- Continuations waiting for admission.
function Batch:queued() return C.kvb_batch_queued(self:pointer()) end

--- Rows pushed through the model so far, rows with padding, steps.
function Batch:rows()
  local b = self:pointer()
  return tonumber(C.kvb_batch_rows(b)), tonumber(C.kvb_batch_padded_rows(b)), tonumber(C.kvb_batch_steps(b))
end

--- The next finished continuation, or nil: {tag, ids, margins, stop, logits = tensor [rows, vocab] or nil, rows = own
--- rows that ran, decoding = what a decoding press left (press_protect.lua), and what trace.lua recorded}.
function Batch:next()
  local r = self.result
  if C.kvb_batch_next(self:pointer(), r) == 0 then return nil end
  local tag = tonumber(r.tag)
  local stop = r.stop == C.KVB_STOP_TOKEN and "token" or "length"
  local out = { tag = self.tags[tag], ids = {}, margins = {}, stop = stop, rows = r.rows }
  out.decoding = self.states[tag] and protect.report(self.states[tag])
  trace.read(out, self.specs[tag], r, self.model)
  self.tags[tag], self.states[tag], self.specs[tag] = nil, nil, nil
  for i = 1, r.n do out.ids[i], out.margins[i] = r.ids[i - 1], r.margins[i - 1] end
  if r.n_logits > 0 then
    out.logits = core.new({ r.n_logits, self.model.vocab }, "f32", "cpu")
    ffi.copy(out.logits.data, r.logits, r.n_logits * self.model.vocab * 4)
  end
  return out
end

--- Runs until nothing is pending; returns the results in order of completion.
function Batch:run()
  local results = {}
  repeat
    local pending = self:step()
    for result in function() return self:next() end do results[#results + 1] = result end
  until pending == 0
  return results
end

--- Frees it now; continuations in flight are dropped. More calls do nothing.
function Batch:close()
  if self.handle == nil then return end
  C.kvb_batch_free(ffi.gc(self.handle, nil))
  self.handle, self.states, self.tags, self.specs = nil, {}, {}, {}
end

--- A Batch of a model. opts: stop_ids (default: the model's), max_bytes of keys and values in flight (default 640 MiB),
--- refill = false: what ends gives its place to nobody before the others have ended (the same answers, later).
function M.new(model, opts)
  opts = opts or {}
  local stop = opts.stop_ids or model.stop_ids or {}
  local out = ffi.new "kvb_batch *[1]"
  local ids = ffi.new("int32_t[?]", math.max(#stop, 1), stop)
  check(C.kvb_batch_new(model:pointer(), ids, #stop, opts.max_bytes or 0, out))
  if opts.refill == false then C.kvb_batch_refill(out[0], 0) end
  return setmetatable({
    handle = ffi.gc(out[0], C.kvb_batch_free), model = model, shrunk = 0, tags = {}, last_tag = 0, states = {},
    specs = {}, request = ffi.new "kvb_request", paused = ffi.new "kvb_paused", result = ffi.new "kvb_result",
    pending = ffi.new "int32_t[1]",
  }, Batch)
end

return M
