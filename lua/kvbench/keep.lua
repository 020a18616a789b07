-- SPDX-License-Identifier: Apache-2.0
-- KeepSet: which tokens of a context survive, one bit per (layer, KV head, token). Layers, heads and tokens count from
-- 0 here, as positions do everywhere outside tensors; ranges are half-open.
--   keep.layers, .kv_heads, .tokens, .handle (kvb_keep *, for the engine), .notes (what a press had to adapt), .press,
--   .ratio
-- and, from a press that changes what survives: .cache, the context to use instead (Context:variant), and .position,
-- where a question starts. generate, logits, batches and evict follow both by themselves. From a press that evicts
-- while the answer is written: .decoding = {press =, ratio =}, which generate and batches follow. Asked for with {ranks
-- = true}: .ranks, the press's order of the tokens in every head (u32, 0 = best), and .evictable, for force and drop.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local given = require "kvbench.given"
local C = library.C

local M = {}
local Keep = {}
Keep.__index = Keep

local out_type = ffi.typeof "kvb_keep *[1]"
local pair = ffi.typeof "int64_t[2]"

--- Takes ownership of a kvb_keep *.
function M.wrap(handle)
  return setmetatable({
    handle = ffi.gc(handle, C.kvb_keep_free), layers = C.kvb_keep_layers(handle), kv_heads = C.kvb_keep_heads(handle),
    tokens = C.kvb_keep_tokens(handle), notes = {},
  }, Keep)
end

--- Is x a KeepSet?
function M.is(x) return getmetatable(x) == Keep end

local function made(status, out)
  library.check(status)
  return M.wrap(out[0])
end

--- Everything kept.
function M.all(layers, kv_heads, tokens)
  local out = out_type()
  return made(C.kvb_keep_new(layers, kv_heads, tokens, out), out)
end

--- From u32 ranks [layers, kv_heads, tokens] and thresholds: uint32_t[layers * kv_heads] or one number for all.
function M.from_ranks(ranks, thresholds)
  local out = out_type()
  if type(thresholds) == "number" then
    thresholds = ffi.new("uint32_t[?]", math.max(1, ranks:size(1) * ranks:size(2)), thresholds)
    if ranks:size(1) * ranks:size(2) > 1 then
      local value = thresholds[0]
      for i = 1, ranks:size(1) * ranks:size(2) - 1 do thresholds[i] = value end
    end
  end
  return made(C.kvb_keep_from_ranks(ranks, thresholds, out), out)
end

--- From a tensor [layers, kv_heads, tokens], non-zero = kept.
function M.from_bits(bits)
  local out = out_type()
  local u8 = bits:type() == "u8" and bits:contiguous() or bits:ne(0):to("u8")
  return made(C.kvb_keep_from_bits(u8, out), out)
end

--- An equal set of its own, with what the press noted in this one.
function Keep:copy()
  local out = out_type()
  local k = made(C.kvb_keep_copy(self.handle, out), out)
  k.press, k.ratio, k.notes = self.press, self.ratio, { unpack(self.notes) }
  k.cache, k.position, k.decoding = self.cache, self.position, self.decoding
  k.ranks, k.evictable, k.compressed = self.ranks, self.evictable, self.compressed
  return k
end

--- What one of two sets of a shape keeps and the other does not. The difference of that and one of them is the other.
function Keep:difference(other)
  local out = out_type()
  return made(C.kvb_keep_difference(self.handle, other.handle, out), out)
end

local function cell(self, op, layer, head)
  if not given.counts(layer, self.layers) or not given.counts(head, self.kv_heads) then
    error(("keep:%s: layer %s, head %s is outside %d layers x %d KV heads (both count from 0)"):format(op,
      given.show(layer), given.show(head), self.layers, self.kv_heads), 0)
  end
end

-- The handle, its bits on the host: what counts them cannot fail then.
local function host(self)
  library.check(C.kvb_keep_fetch(self.handle))
  return self.handle
end

--- Is the token kept by that head?
function Keep:kept(layer, head, token)
  cell(self, "kept", layer, head)
  return C.kvb_keep_kept(host(self), layer, head, token) ~= 0
end

--- Tokens of [from, to) (all unless told) that one head keeps.
function Keep:count(layer, head, from, to)
  cell(self, "count", layer, head)
  return C.kvb_keep_count(host(self), layer, head, from or 0, to or self.tokens)
end

--- Keeps or evicts [from, to) in one head, or in all (layer and head nil). Changes the set; returns it.
function Keep:set(layer, head, from, to, kept)
  if from < 0 or to > self.tokens or from > to then
    error(("keep:set: tokens [%s, %s) do not lie inside a context of %d"):format(from, to, self.tokens), 0)
  end
  for l = layer or 0, layer or self.layers - 1 do
    for h = head or 0, head or self.kv_heads - 1 do
      cell(self, "set", l, h)
      library.check(C.kvb_keep_set(self.handle, l, h, from, to, kept and 1 or 0))
    end
  end
  return self
end

--- cdata uint16_t c[layer * tokens + token]: how many KV heads of the layer keep the token.
function Keep:layer_counts()
  local counts = ffi.new("uint16_t[?]", self.layers * self.tokens)
  library.check(C.kvb_keep_layer_counts(self.handle, counts))
  return counts
end

--- How many (layer, head) cells keep every token of [from, to).
function Keep:span_cells(from, to)
  if not given.counts(from, self.tokens + 1) or not given.counts(to, self.tokens + 1) then
    error(("keep:span_cells(%s, %s): the context has tokens 0 to %d"):format(given.show(from), given.show(to),
      self.tokens), 0)
  end
  return C.kvb_keep_span_cells(host(self), from, to)
end

--- Kept (layer, head, token) triples.
function Keep:total() return tonumber(C.kvb_keep_total(host(self))) end

--- The share of [from, to) (all unless told) that is really evicted, averaged over layers and heads: the effective
--- ratio.
function Keep:evicted(from, to)
  from, to = from or 0, to or self.tokens
  if to <= from then return 0 end
  local kept, handle, list = 0, host(self), self:judged_layers()
  for _, l in ipairs(list) do
    for h = 0, self.kv_heads - 1 do kept = kept + C.kvb_keep_count(handle, l, h, from, to) end
  end
  return 1 - kept / (#list * self.kv_heads * (to - from))
end

--- The layers (from 0) that a press compressed: all, but in models with sliding windows. Shares and overlaps are of
--- them.
function Keep:judged_layers()
  local list = {}
  for i = 1, self.compressed and #self.compressed or self.layers do
    list[i] = (self.compressed and self.compressed[i] or i) - 1
  end
  return list
end

--- Sizes of intersection and union with another set, over one head or (without arguments) over all.
function Keep:overlap(other, layer, head)
  if not layer and self.compressed then
    local sum, all = 0, 0
    for _, l in ipairs(self:judged_layers()) do
      for h = 0, self.kv_heads - 1 do
        local b, e = self:overlap(other, l, h)
        sum, all = sum + b, all + e
      end
    end
    return sum, all
  end
  local both, either = pair(), pair()
  library.check(C.kvb_keep_overlap(self.handle, other.handle, layer or -1, head or -1, both, either))
  return tonumber(both[0]), tonumber(either[0])
end

--- Intersection over union; 1 for two empty sets.
function Keep:jaccard(other, layer, head)
  local both, either = self:overlap(other, layer, head)
  return either == 0 and 1 or both / either
end

--- u8 tensor [layers, kv_heads, tokens] on the current device, 1 = kept.
function Keep:bits()
  local tensor = require "kvbench.tensor"
  local out = tensor.zeros({ self.layers, self.kv_heads, self.tokens }, "u8", { device = "cpu" })
  library.check(C.kvb_keep_to_bits(self.handle, out))
  return out:to(tensor.current())
end

--- 16 hexadecimal digits; equal sets have equal hashes, sets with a cache or a position of their own or with eviction
--- while decoding only at the same press, ratio and position.
function Keep:hash()
  local h = C.kvb_keep_hash(host(self))
  if self.cache or self.decoding or self.position then
    local own = ("%s %.6f %d"):format(tostring(self.press), self.ratio or 0, self.position or -1)
    h = C.kvb_hash64(own, #own, h)
  end
  return ("%08x%08x"):format(tonumber(h / 4294967296ULL), tonumber(h % 4294967296ULL))
end

require("kvbench.keep_edit").extend(Keep)

function Keep:__tostring()
  return ("keep-set of %d layers x %d KV heads x %d tokens, %.1f %% evicted%s"):format(self.layers, self.kv_heads,
    self.tokens,
    100 * self:evicted(), #self.notes > 0 and " (" .. table.concat(self.notes, "; ") .. ")" or "")
end

return M
