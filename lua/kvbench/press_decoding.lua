-- SPDX-License-Identifier: Apache-2.0
-- Eviction while answers are written. A decoding press (press/decoding.lua and its kin) leaves the context whole and
-- attaches itself to the keep-set; the batch then lets each of its sequences stand still after every
-- compression_interval steps (core/batch.c), and what is here decides what the sequence goes on seeing: the press
-- inside scores all that is left of context, question and answer as if it were a context, and the best target tokens of
-- every head stay.
--
-- Every sequence has masks of its own over the shared context, so that any number of questions can be in flight.
-- Rejected: a cache of its own for each (KVPress' way: one question at a time).
local attention = require "kvbench.attention"
local check = require "kvbench.press_decoding_check"
local keepset = require "kvbench.keep"
local layer_part = require "kvbench.layer_part"
local observe = require "kvbench.press_observe"
local orders = require "kvbench.press_order"
local pick = require "kvbench.press_pick"
local protect = require "kvbench.press_protect"
local tensor = require "kvbench.tensor"

local M = {}

M.check, M.check_target = check.press, check.target

local function accumulates(press)
  return press.rule.accumulates or press.params.of and press.params.of.rule and accumulates(press.params.of) or false
end

-- Keys, values and (if asked for) queries of a context as tensors that outlive it, shared by all of its sequences.
local function captured(ctx, wants_queries)
  local held = rawget(ctx, "captured") or {}
  ctx.captured = held
  for _, name in ipairs { "keys", "values", wants_queries and "queries" or nil } do
    held[name] = held[name] or tensor.outside(function() return ctx[name] end)
  end
  return held
end

-- Attention that the context's keys received from the context itself, once for all of its sequences.
local function prefill_mass(ctx, held)
  held.mass = held.mass or tensor.outside(attention.received, ctx, ctx.tokens, ctx.kv_heads / ctx.heads)
  return held.mass
end

--- What the batch keeps for one sequence. request: as given to Batch:add; keep: its keep-set (keep.decoding = {press =,
--- ratio =}); source: whose cache it reads; position: of the first appended token.
function M.start(request, keep, source, position)
  local press = keep.decoding.press
  if source.ragged then
    error(("press '%s': an evicted context has no masks to evict with -> generate from the context itself"):format(
      press.name), 0)
  end
  observe.ensure(press, source)
  local list, all = layer_part.of(source), source
  if list then -- layers that slide are left alone; the part is the same for all sequences, as what it holds
    all.full_part = rawget(all, "full_part") or layer_part.new(all, list)
    source = all.full_part
  end
  local state = {
    press = press, target = press.rule.decoding and press.rule.decoding(press, source, keep.decoding.ratio,
      keep.decoding.evictable) or function() return math.huge end,
    context = source, held = captured(source, press.needs.queries or press.needs.window_queries), seed = source.seed,
    tokens = source.tokens, position = position, question = #request.ids, seen = 0, accumulates = accumulates(press.of),
    list = list, all_layers = all.layers,
  }
  state.live = tensor.outside(function()
    local bits = keep:bits():to("f32")
    return list and layer_part.pick(bits, list) or bits
  end)
  state.protected = protect.mask(press, keep.decoding.evictable, source.tokens, state.target(position + #request.ids))
  if state.accumulates then state.mass = prefill_mass(source, state.held) end
  if press.rule.outlives then -- tokens are scored when they come, each once
    state.held.scores = state.held.scores or {}
    state.held.scores[press.source_hash] = state.held.scores[press.source_hash]
      or tensor.outside(orders.scores, press.of, source)
    state.scores = state.held.scores[press.source_hash]
  end
  if press.rule.merge then -- it counts from the last question token on, and changes values: a cache of its own
    state.merges, state.steps, state.handle = true, 0, list and layer_part.new(all:share(), list) or all:share()
    state.mass = tensor.outside(tensor.zeros, source.layers, source.kv_heads, source.tokens)
    state.held = { keys = state.held.keys, values = state.held.values, queries = state.held.queries }
  end
  -- as in the reference: the question is one step, and one that is no smaller than the budget is cut at once
  state.pause = #request.ids >= state.target(position + #request.ids) and 1 or press.compression_interval or 1
  return state
end

-- Everything the sequence ever saw, as tensors; own: {keys =, values =, queries =} of its own n tokens.
local function whole_of(state, own)
  local ctx, held, n = state.context, state.held, own.keys:size(3)
  local function joined(name) return held[name] and tensor.cat({ held[name], own[name] }, 3) or own[name] end
  return {
    model = ctx.model, layers = ctx.layers, layer_first = 0, heads = ctx.heads, kv_heads = ctx.kv_heads,
    head_dim = ctx.head_dim, group_size = ctx.group_size, device = ctx.device, tokens = state.tokens + n,
    parent_tokens = state.position + n, seed = state.seed, keys = joined "keys", values = joined "values",
    queries = joined "queries", rope = function(_, first, count) return ctx:rope(first, count) end,
    weight = function(_, slot, layer) return ctx:weight(slot, layer) end,
  }
end

-- The survivors of live [layers, kv_heads, tokens] at index, as a context.
local function part_of(state, whole, index, mass_of)
  return pick.new(whole, index, { all_queries = true, parent_tokens = whole.parent_tokens, seed = state.seed,
    attention_mass = mass_of and mass_of:gather(3, index) })
end

-- How many tokens each head holds, [layer][head], and the most and least of them.
local function counts_of(live)
  local counts, most, least = live:sum(3):tolua(), 0, math.huge
  for _, layer in ipairs(counts) do
    for _, m in ipairs(layer) do most, least = math.max(most, m), math.min(least, m) end
  end
  return counts, most, least
end

-- What the queries of the last `rows` tokens paid to each key, added to what was paid before.
local function accumulate(state, whole, live, rows)
  local total = state.mass:pad(0, whole.tokens - state.mass:size(3))
  local counts, most, least = counts_of(live)
  local function received(source, bits, m)
    local index = pick.index_of(bits, m)
    return index, attention.received(part_of(state, source, index), rows, source.kv_heads / source.heads)
  end
  if most == least then
    local index, paid = received(whole, live, most)
    return total:scatter_add(3, index, paid)
  end
  for l = 1, whole.layers do
    for h = 1, whole.kv_heads do
      local function cut(x) return x:narrow(1, l, 1):narrow(2, h, 1) end
      local index, paid = received(pick.head(whole, l, h), cut(live), counts[l][h])
      cut(total):copy_(cut(total):scatter_add(3, index, paid))
    end
  end
  return total
end

-- A ratio at which n tokens leave exactly `target`.
local function ratio_for(n, target) return 1 - (target + 0.5) / n end

-- Heads hold different numbers of tokens: each is scored alone, then the press shares the budget among the scores.
local function choose_ragged(state, whole, live, counts, most, target)
  local layers, heads = whole.layers, whole.kv_heads
  local scores, index = tensor.full({ layers, heads, most }, -math.huge), tensor.ones({ layers, heads, most })
  local ratio = ratio_for(most, target)
  for l = 1, layers do
    for h = 1, heads do
      local m, bits = counts[l][h], live:narrow(1, l, 1):narrow(2, h, 1)
      local at = pick.index_of(bits, m)
      local of_head = state.mass and state.mass:narrow(1, l, 1):narrow(2, h, 1)
      local part = part_of(state, pick.head(whole, l, h), at, of_head)
      scores:narrow(1, l, 1):narrow(2, h, 1):narrow(3, 1, m):copy_(orders.scores(state.press.of, part, ratio))
      index:narrow(1, l, 1):narrow(2, h, 1):narrow(3, 1, m):copy_(at:to("f32"))
    end
  end
  index = index:to("i32")
  return protect.first(orders.from_scores(state.press.of, scores), state, index):cut(ratio), index
end

-- What stays of live: 1 and 0.
local function choose(state, whole, live, target)
  local counts, most, least = counts_of(live)
  if most <= target then return live end
  local keep, index
  if most == least then
    index = pick.index_of(live, most)
    local ratio = ratio_for(most, target)
    local part = part_of(state, whole, index, state.mass)
    keep = protect.first(state.press.of:order(part, nil, ratio), state, index):cut(ratio)
  else
    keep, index = choose_ragged(state, whole, live, counts, most, target)
  end
  -- places that only fill a head up point at token 1 with a 0: "max" leaves what is there
  return tensor.zeros(live:size()):scatter(3, index, keep:bits():to("f32"), "max")
end

-- What stays of live by a rule that judges each token alone: rows that came since are scored as they are.
local function leaving(state, whole, live, rows)
  local from, fresh = whole.tokens - rows, {}
  for name in pairs { keys = true, values = true, queries = true } do
    fresh[name] = whole[name] and whole[name]:size(3) == whole.tokens and whole[name]:narrow(3, from + 1, rows) or nil
  end
  fresh.tokens, fresh.token_first = rows, from
  local scores = orders.scores(state.press.of, setmetatable(fresh, { __index = whole }))
  state.scores = tensor.outside(function() return tensor.cat({ state.scores, scores }, 3) end)
  local stays = state.press.rule.outlives(state.press, state.scores)
  if state.protected then
    local safe = state.protected:to("f32"):pad(0, whole.tokens - state.tokens)
    stays = tensor.where(safe:expand(live:size()), 1, stays)
  end
  return live * stays
end

-- As compress, for presses that merge values: also returns the variant of the context and the own values.
local function merge(state, whole, live, n, capacity)
  local target, counts = state.target(state.position + n), live:sum(3)
  local most, changed = counts:max(), nil
  local since = state.seen == 0 and n - (state.question - 1) or n - state.seen
  state.mass = tensor.outside(tensor.scope, accumulate, state, whole, live, since)
  state.steps = state.steps + (state.seen == 0 and n - state.question + 1 or n - state.seen)
  state.pause = state.press.compression_interval
  local kept = live
  if most > target then
    local index = pick.index_of(live, most)
    local part = part_of(state, whole, index)
    local seed = ("%s/%d"):format(tostring(state.seed or table.concat(state.context.ids, " ")), n)
    local bits, values = state.press.rule.merge(state.press, part, state.mass:gather(3, index), target, state.steps,
      seed)
    kept = tensor.zeros(live:size()):scatter(3, index, bits)
    local all = pick.put(whole.values, index, values)
    state.held.values = tensor.outside(function() return all:narrow(3, 1, state.tokens):clone() end)
    changed = { prefix = tensor.outside(function() return state.handle:variant { values = state.held.values } end),
      values = all:narrow(3, state.tokens + 1, n):contiguous() }
    state.steps = 0
  else
    state.pause = 1 -- as the reference, which cuts as soon as there is something to cut
  end
  state.seen, state.live, state.cuts = n, tensor.outside(function() return kept:clone() end), (state.cuts or 0) + 1
  local mine = kept:narrow(3, state.tokens + 1, n):pad(0, capacity - n, 1)
  return keepset.from_bits(kept:narrow(3, 1, state.tokens)), keepset.from_bits(mine), state.pause, changed
end

local function compress(state, own, capacity)
  local n = own.keys:size(3)
  local whole = whole_of(state, own)
  local rows = n - state.seen
  local live = tensor.cat({ state.live, tensor.ones(whole.layers, whole.kv_heads, rows) }, 3)
  if state.merges then return merge(state, whole, live, n, capacity) end
  if state.accumulates then
    state.mass = tensor.outside(tensor.scope, accumulate, state, whole, live, rows)
  end
  local kept = state.scores and leaving(state, whole, live, rows)
    or choose(state, whole, live, state.target(state.position + n))
  state.seen, state.live, state.cuts = n, tensor.outside(function() return kept:clone() end), (state.cuts or 0) + 1
  state.pause = state.press.compression_interval or 1
  local mine = kept:narrow(3, state.tokens + 1, n):pad(0, capacity - n, 1)
  return keepset.from_bits(kept:narrow(3, 1, state.tokens)), keepset.from_bits(mine), state.pause
end

--- Decides for a sequence that stands still. own: its keys, values and queries [layers, (kv_)heads, n, head_dim];
--- capacity: tokens it may grow to. Returns the keep-sets of context and own tokens, the steps to the next pause, and
--- from presses that merge values {prefix = context, values = of its own tokens}.
function M.compress(state, own, capacity)
  if not state.list then return compress(state, own, capacity) end
  return layer_part.decide(state.list, state.all_layers, own, function(part) return compress(state, part, capacity) end)
end

return M
