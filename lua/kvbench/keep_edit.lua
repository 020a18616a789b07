-- SPDX-License-Identifier: Apache-2.0
-- Editing a keep-set with every head's budget held exact: what is forced in pushes out the lowest-ranked kept tokens of
-- the same head, what is dropped lets the highest-ranked evicted ones come back. So an edited set differs from the
-- set of the press in the named tokens and in as many others as that takes, and in nothing else: bytes, budgets of
-- heads and layers, and everything outside the evictable range stay as they were.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}

local options_known = { layers = true, heads = true, cells = true, order = true, evictable = true, fixed = true,
  budget = true, partial = true }

local function fail(op, text, ...) error(("keep:%s: " .. text):format(op, ...), 0) end

-- Positions, {from, to} ranges, or a mix, into a set and an ascending array.
local function token_set(op, keep, given)
  local set, list = {}, {}
  if type(given) ~= "table" then
    fail(op, "tokens are a table of positions or {from, to} ranges, got %s", type(given))
  end
  local function add(t)
    if type(t) ~= "number" or t ~= math.floor(t) or t < 0 or t >= keep.tokens then
      fail(op, "token %s is not inside a context of %d (positions count from 0)", tostring(t), keep.tokens)
    end
    if not set[t] then set[t], list[#list + 1] = true, t end
  end
  for _, x in ipairs(given) do
    if type(x) == "table" then
      if type(x[1]) ~= "number" or type(x[2]) ~= "number" then fail(op, "a range is {from, to}") end
      for t = x[1], x[2] - 1 do add(t) end
    else
      add(x)
    end
  end
  table.sort(list)
  return set, list
end

local function chooser(op, what, given, limit)
  if given == nil then return function() return true end end
  if type(given) == "function" then return given end
  local set = {}
  for _, i in ipairs(type(given) == "number" and { given } or given) do
    if type(i) ~= "number" or i < 0 or i >= limit then
      fail(op, "%s %s is outside 0 to %d", what, tostring(i), limit - 1)
    end
    set[i] = true
  end
  return function(i) return set[i] == true end
end

-- u32 ranks on the host, [layers, kv_heads, tokens]: those given, or those of the press that made the set.
local function ranks_of(op, keep, opt)
  local ranks = opt.order or keep.ranks
  if not ranks then
    fail(op, "it is not known in which order tokens give way -> press:keep(ctx, ratio, {ranks = true}), or order = u32 "
      .. "ranks [layers, kv_heads, tokens], 0 = best")
  end
  if ranks:type() ~= "u32" or ranks.ndim ~= 3 or ranks:size(1) ~= keep.layers or ranks:size(2) ~= keep.kv_heads
    or ranks:size(3) ~= keep.tokens then
    fail(op, "order is %s of %s, expected u32 ranks [layers %d, kv_heads %d, tokens %d]", tostring(ranks),
      ranks:type(), keep.layers, keep.kv_heads, keep.tokens)
  end
  return ranks:cpu():contiguous()
end

local function range_of(op, keep, opt)
  local range = opt.evictable or keep.evictable or { 0, keep.tokens }
  if range[1] < 0 or range[2] > keep.tokens or range[1] > range[2] then
    fail(op, "evictable tokens [%s, %s) do not lie inside a context of %d", tostring(range[1]), tostring(range[2]),
      keep.tokens)
  end
  return range[1], range[2]
end

-- The token of [from, to) whose bit is `kept`, that no mark holds, and whose rank is best (sign -1) or worst (sign 1).
local function extreme(handle, l, h, rank, base, from, to, marks, kept, sign)
  local best, best_rank = -1, 0
  for t = from, to - 1 do
    if marks[t] == 0 and C.kvb_keep_kept(handle, l, h, t) == kept then
      local r = sign * tonumber(rank[base + t])
      if best < 0 or r > best_rank then best, best_rank = t, r end
    end
  end
  return best
end

local function put(keep, l, h, t, kept) check(C.kvb_keep_set(keep.handle, l, h, t, t + 1, kept)) end

-- One head: tokens of `list` become `kept` (1 or 0); as many others become the opposite. Returns how many found no
-- counterpart.
local function edit_cell(e, keep, l, h)
  local changing, marks = {}, e.marks
  for _, t in ipairs(e.list) do
    if C.kvb_keep_kept(keep.handle, l, h, t) ~= e.kept then changing[#changing + 1] = t end
  end
  if not e.budget then
    for _, t in ipairs(changing) do put(keep, l, h, t, e.kept) end
    return 0
  end
  local base = (l * keep.kv_heads + h) * keep.tokens
  for i, t in ipairs(changing) do
    local other = extreme(keep.handle, l, h, e.rank, base, e.from, e.to, marks, e.kept, e.kept == 1 and 1 or -1)
    if other < 0 then return #changing - i + 1 end
    put(keep, l, h, t, e.kept)
    put(keep, l, h, other, 1 - e.kept)
  end
  return 0
end

local function edit(self, op, kept, tokens, opt)
  opt = opt or {}
  for name in pairs(opt) do
    if not options_known[name] then
      fail(op, "no option '%s' -> layers, heads, cells, order, evictable, fixed, budget, partial", tostring(name))
    end
  end
  if self.cache or self.decoding then
    fail(op, "'%s' made its cache for the very set that it chose -> edit the set of the press inside it", self.press or
      "a press")
  end
  local set, list = token_set(op, self, tokens)
  local fixed = token_set(op, self, opt.fixed or {})
  local e = { list = list, kept = kept, budget = opt.budget ~= false, marks = ffi.new("uint8_t[?]", self.tokens) }
  e.from, e.to = range_of(op, self, opt)
  local ranks = e.budget and ranks_of(op, self, opt) or nil
  e.rank = ranks and ranks:pointer()
  for t in pairs(set) do
    e.marks[t] = 1
    if e.budget and (t < e.from or t >= e.to) then
      fail(op, "token %d is outside the evictable tokens [%d, %d), which stay as they are", t, e.from, e.to)
    end
  end
  for t in pairs(fixed) do e.marks[t] = 1 end
  local of_layer = chooser(op, "layer", opt.layers, self.layers)
  local of_head = chooser(op, "KV head", opt.heads, self.kv_heads)
  local of_cell = opt.cells or function() return true end
  local out, short = self:copy(), 0
  for l = 0, self.layers - 1 do
    for h = 0, self.kv_heads - 1 do
      if of_layer(l) and of_head(h) and of_cell(l, h) then
        local missing = edit_cell(e, out, l, h)
        if missing > 0 and not opt.partial then
          fail(op, "layer %d, KV head %d %s for %d of %d tokens -> a smaller ratio, fewer tokens, or partial = true", l,
            h, kept == 1 and "has nothing to give way" or "has evicted nothing that could come back", missing, #list)
        end
        if missing > 0 then short = short + 1 end
      end
    end
  end
  out.short = short
  return out
end

--- Adds keep:force and keep:drop to the class of keep-sets. Both take positions and {from, to} ranges and return a new
--- set of the same budgets per (layer, head); options:
---   layers, heads  0-based numbers, a list, or function(i) -> boolean; cells = function(layer, head) -> boolean
---   order      u32 ranks [layers, kv_heads, tokens], 0 = kept longest; default: keep.ranks, of the press
---   evictable  {from, to}; default keep.evictable: nothing outside changes
---   fixed      tokens that may neither give way nor come back
---   partial    true: a head without enough counterparts changes as many tokens as it can, first ones first; out.short
---     counts such heads. Without it that is an error
---   budget     false: nothing gives way or comes back; budgets change by what was named
function M.extend(Keep)
  --- Keeps `tokens`; the lowest-ranked kept tokens of each head give way.
  function Keep:force(tokens, opt) return edit(self, "force", 1, tokens, opt) end

  --- Evicts `tokens`; the highest-ranked evicted tokens of each head come back.
  function Keep:drop(tokens, opt) return edit(self, "drop", 0, tokens, opt) end
end

return M
