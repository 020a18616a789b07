-- SPDX-License-Identifier: Apache-2.0
-- Prefilling the contexts of a sweep: several at once, and what contexts of one record begin with only once.
--
-- Where one question stands inside the context (aware_one), the contexts of a record differ in their last tokens only.
-- Rows do not depend on their neighbours, so copying what they share gives the same bits as computing it again.
local M = {}

local LEAST = 16 -- shared tokens that are worth a step of their own

-- Tokens that all of these begin with; each keeps one of its own.
local function common(prepared)
  local first, n = prepared[1].ids, #prepared[1].ids - 1
  for i = 2, #prepared do
    local ids, k = prepared[i].ids, 0
    while k < n and k < #ids - 1 and ids[k + 1] == first[k + 1] do k = k + 1 end
    n = k
  end
  return n
end

local function shared(model, units, needs)
  local prepared, beginning = {}, {}
  for i, unit in ipairs(units) do prepared[i] = model:prepare(unit.prompt.context) end
  local n = common(prepared)
  if #units < 2 or n < LEAST then return model:prefill_many(prepared, needs), 0 end
  for i = 1, n do beginning[i] = prepared[1].ids[i] end
  local base = model:prefill(beginning, needs)
  local ok, contexts = pcall(model.prefill_many, model, prepared, needs, { from = base })
  base:close()
  if not ok then error(contexts, 0) end
  return contexts, (#units - 1) * n
end

-- Units in the order of the sweep, cut into lists that are prefilled together.
local function lists(o, units)
  local out = {}
  for _, unit in ipairs(units) do
    local last = out[#out]
    local alone = o.prefix_cache and unit.regime == "aware_one"
    local fits = last and #last < o.group and last.shared == alone and (not alone or last[1].record == unit.record)
    if not fits then
      last = { shared = alone }
      out[#out + 1] = last
    end
    last[#last + 1] = unit
  end
  return out
end

local function prefill(model, list, needs)
  if list.shared then return shared(model, list, needs) end
  local texts = {}
  for i, unit in ipairs(list) do texts[i] = unit.prompt.context end
  return model:prefill_many(texts, needs), 0
end

--- fn(...), and again where memory ran out and the batch in flight had some to give. state.relieve(): makes room.
function M.with_room(state, fn, ...)
  while true do
    local ok, a, b = pcall(fn, ...)
    if ok then return a, b end
    if not tostring(a):find "out of memory" or not state.relieve or not state.relieve() then error(a, 0) end
  end
end

-- Prefills a list, or its halves one after the other where memory runs out for all of it.
local function take(o, state, list, each)
  local ok, contexts, copied = pcall(#list == 1 and M.with_room or function(_, fn, ...) return fn(...) end, state,
    prefill, o.model, list, state.needs)
  if not ok then
    if #list == 1 or not tostring(contexts):find "^out of memory" then error(contexts, 0) end
    local half = math.ceil(#list / 2)
    io.stderr:write(("kvbench: out of memory on %s for %d passages at once: going on with %d\n"):format(o.model.device,
      #list, half))
    take(o, state, { shared = list.shared, unpack(list, 1, half) }, each)
    return take(o, state, { shared = list.shared, unpack(list, half + 1) }, each)
  end
  state.shared_tokens = (state.shared_tokens or 0) + copied
  for i, ctx in ipairs(contexts) do
    list[i].ctx = ctx
    each(list[i])
  end
end

--- Calls each(unit) for every unit once unit.ctx is there. state.shared_tokens counts tokens that were copied.
function M.each(o, state, units, each)
  for _, list in ipairs(lists(o, units)) do take(o, state, list, each) end
end

return M
