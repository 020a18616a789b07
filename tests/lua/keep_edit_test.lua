-- SPDX-License-Identifier: Apache-2.0
-- keep:force and keep:drop: budgets per head hold exactly, what is named changes, and what gives way is the
-- lowest-ranked (what comes back the highest-ranked) of what may.
local t = require "kvbench.testing"
local fake = require "kvbench.fake_context"
local keepset = require "kvbench.keep"
local kv = require "kvbench"
local rng = require "kvbench.rng"

local L, H, N = 3, 2, 70 -- more than one word of bits

local function context()
  return fake.new { layers = L, kv_heads = H, heads = 4, tokens = N, head_dim = 8, seed = "edit" }
end

local function each(keep, fn)
  for l = 0, keep.layers - 1 do
    for h = 0, keep.kv_heads - 1 do fn(l, h) end
  end
end

local function rank_at(keep, l, h, tok)
  return tonumber(keep.ranks:pointer()[(l * keep.kv_heads + h) * keep.tokens + tok])
end

local function kept_list(keep, l, h)
  local list = {}
  for i = 0, keep.tokens - 1 do if keep:kept(l, h, i) then list[#list + 1] = i end end
  return list
end

-- Ranks 0 .. N - 1 by position: token 0 is best.
local function by_position(layers, heads, n)
  local scores = kv.tensor.arange(n):neg():view(1, 1, n):expand(layers, heads, n):contiguous()
  return scores:rank(-1):cpu()
end

t.case("by hand: the worst kept gives way, the best evicted comes back", function()
  local keep = keepset.from_ranks(by_position(1, 1, 10), 4) -- keeps 0 1 2 3
  keep.ranks = by_position(1, 1, 10)
  t.eq(kept_list(keep:force { 7 }, 0, 0), { 0, 1, 2, 7 })
  t.eq(kept_list(keep:force { { 7, 9 } }, 0, 0), { 0, 1, 7, 8 })
  t.eq(kept_list(keep:force({ 7 }, { fixed = { 3 } }), 0, 0), { 0, 1, 3, 7 })
  t.eq(kept_list(keep:force { 1, 2 }, 0, 0), { 0, 1, 2, 3 }) -- nothing to do
  t.eq(kept_list(keep:force { 3, 9 }, 0, 0), { 0, 1, 3, 9 }) -- the worst is named itself
  t.eq(kept_list(keep:drop { 0 }, 0, 0), { 1, 2, 3, 4 })
  t.eq(kept_list(keep:drop { 0, 4 }, 0, 0), { 1, 2, 3, 5 })
  t.eq(kept_list(keep:drop({ 0 }, { fixed = { 4 } }), 0, 0), { 1, 2, 3, 5 })
  t.eq(kept_list(keep:drop({ 0 }, { budget = false }), 0, 0), { 1, 2, 3 })
  t.eq(kept_list(keep:force({ 8 }, { evictable = { 2, 10 } }), 0, 0), { 0, 1, 2, 8 })
  t.eq(kept_list(keep:force({ 7, 8, 9 }, { evictable = { 2, 10 }, partial = true }), 0, 0), { 0, 1, 7, 8 })
  t.eq(keep:force({ 7, 8, 9 }, { evictable = { 2, 10 }, partial = true }).short, 1)
  t.eq(kept_list(keep, 0, 0), { 0, 1, 2, 3 }) -- the original is not touched
end)

t.case("random edits of sets of several presses hold every budget", function()
  local r = rng.new "keep edit"
  for _, name in ipairs { "knorm", "adakv", "chunk", "random", "keydiff" } do
    local press = name == "adakv" and kv.press("adakv", { of = "knorm" })
      or name == "chunk" and kv.press("chunk", { of = "knorm", chunk_length = 16 }) or kv.press(name)
    local from, to = 5, 66
    for _, ratio in ipairs { .3, .6, .9 } do
      local keep = press:keep(context(), ratio, { evictable = { from, to }, ranks = true })
      t.ok(keep.ranks, name)
      for _ = 1, 4 do
        local a = r:int(from, to - 4)
        local span = { a, a + 3 }
        local layer = r:int(0, 2)
        local options = { partial = true, layers = r:int(0, 1) == 1 and { layer } or nil }
        local forced, dropped = keep:force({ span }, options), keep:drop({ span }, options)
        each(keep, function(l, h)
          local named = not options.layers or l == layer
          t.eq(forced:count(l, h), keep:count(l, h))
          t.eq(dropped:count(l, h), keep:count(l, h))
          local before = keep:count(l, h, a, a + 3)
          -- every kept token of the passage may give way to the span
          t.eq(forced:count(l, h, a, a + 3), named and math.min(3, keep:count(l, h, from, to)) or before)
          local evicted = (to - from) - keep:count(l, h, from, to)
          t.eq(dropped:count(l, h, a, a + 3), named and math.max(0, before - (evicted - (3 - before))) or before)
          local worst_left, best_gone = -1, math.huge
          for tok = 0, N - 1 do
            local inside = tok >= a and tok < a + 3
            if tok < from or tok >= to then
              t.ok(forced:kept(l, h, tok) and dropped:kept(l, h, tok), "a protected token moved")
            elseif not inside and named then
              local rank = rank_at(keep, l, h, tok)
              t.ok(keep:kept(l, h, tok) or not forced:kept(l, h, tok), "force brought another token back")
              t.ok(not keep:kept(l, h, tok) or dropped:kept(l, h, tok), "drop evicted another token")
              if forced:kept(l, h, tok) then worst_left = math.max(worst_left, rank)
              elseif keep:kept(l, h, tok) then best_gone = math.min(best_gone, rank) end
            end
          end
          t.ok(best_gone > worst_left, name .. ": a token gave way before one of lower rank")
        end)
        t.eq(forced:force({ span }, options):hash(), forced:hash()) -- twice is once
      end
    end
  end
end)

t.case("cells, layers and heads are chosen", function()
  local keep = kv.press("knorm"):keep(context(), .8, { ranks = true })
  local evicted
  for tok = 0, N - 1 do
    local n = 0
    each(keep, function(l, h) n = n + (keep:kept(l, h, tok) and 1 or 0) end)
    if n == 0 then evicted = tok end
  end
  t.ok(evicted, "the draw keeps every token somewhere")
  local function where(options)
    local list, forced = {}, keep:force({ evicted }, options)
    each(keep, function(l, h) if forced:kept(l, h, evicted) then list[#list + 1] = l .. "." .. h end end)
    return table.concat(list, " ")
  end
  t.eq(where {}, "0.0 0.1 1.0 1.1 2.0 2.1")
  t.eq(where { layers = { 1 } }, "1.0 1.1")
  t.eq(where { layers = function(l) return l > 0 end, heads = { 1 } }, "1.1 2.1")
  t.eq(where { cells = function(l, h) return l == h end }, "0.0 1.1")
end)

t.case("what cannot be edited is said in one line", function()
  local keep = kv.press("knorm"):keep(context(), .9)
  t.fails(function() keep:force { 3 } end, "keep:force: it is not known in which order tokens give way %-> press:keep")
  t.eq(keep:drop({ 3 }, { budget = false }):count(0, 0, 3, 4), 0) -- needs no order
  local ranked = kv.press("knorm"):keep(context(), .9, { ranks = true, evictable = { 10, 60 } })
  t.fails(function() ranked:force { 5 } end, "token 5 is outside the evictable tokens %[10, 60%)")
  t.fails(function() ranked:force { 70 } end, "token 70 is not inside a context of 70")
  -- floor(50 * (1 - .9)) is 4
  t.fails(function() ranked:force { { 10, 40 } } end, "layer 0, KV head 0 has nothing to give way for 26 of 30")
  t.fails(function() ranked:force({ 12 }, { layer = 1 }) end, "no option 'layer'")
  t.fails(function() ranked:force({ 12 }, { layers = { 3 } }) end, "layer 3 is outside 0 to 2")
  t.fails(function() keep:force({ 3 }, { order = by_position(1, 1, 10) }) end, "expected u32 ranks %[layers 3")
  local full = keepset.all(L, H, N)
  t.fails(function() full:drop({ 3 }, { order = by_position(L, H, N) }) end, "has evicted nothing that could come back")
end)
