-- SPDX-License-Identifier: Apache-2.0
-- Tensors put together, taken apart, repeated and turned; triangles and diagonals. Parts (split, chunk, unbind) are
-- views,
-- everything else is a copy.
local core = require "kvbench.tensor.core"
local T = core.methods

local MANY = 2 ^ 31 -- elements that no copy here shall have

local function array(op, list)
  if type(list) ~= "table" or #list == 0 then error(op .. ": expected a non-empty list of tensors", 0) end
  for i = 1, #list do core.expect(op, list[i]) end
  return list
end

--- Joined along an existing dimension (the first unless told); the first one's dtype.
---     tensor.cat({ tensor.ones(1, 2), tensor.zeros(1, 2) }) --> { { 1, 1 }, { 0, 0 } }
function core.cat(list, dim)
  local first = array("cat", list)[1]
  local d = core.dim("cat", first, dim or 1)
  local shape, total = core.sizes(first), 0
  for i = 1, #list do
    local t = list[i]
    for k = 0, math.max(first.ndim, t.ndim) - 1 do
      if t.ndim ~= first.ndim or k ~= d and t.shape[k] ~= first.shape[k] then
        error(("cat: shapes %s and %s do not fit along dimension %d"):format(core.show(first), core.show(t), d + 1), 0)
      end
    end
    total = total + t:size(d + 1)
  end
  shape[d + 1] = total
  local out, at = core.output(first, shape, first:type()), 1
  for i = 1, #list do
    local n = list[i]:size(d + 1)
    out:narrow(d + 1, at, n):copy_(list[i])
    at = at + n
  end
  return out
end

--- Tensors of one shape joined along a new dimension (the first unless told).
---     tensor.stack({ tensor.from({ 1, 2 }), tensor.from({ 3, 4 }) }, 2) --> { { 1, 3 }, { 2, 4 } }
function core.stack(list, dim)
  local parts = {}
  for i, t in ipairs(array("stack", list)) do parts[i] = t:unsqueeze(dim or 1) end
  return core.cat(parts, dim or 1)
end

--- The last dimension extended by `front` and `back` elements of `value` (0 unless told). A list {front, back, front,
--- back,
--- ...} extends the last dimension, then the one before it, as torch's pad.
---     tensor.from({ 1, 2 }):pad(1, 2, -1) --> { -1, 1, 2, -1, -1 }
function T:pad(front, back, value)
  local sides = front
  if type(front) == "table" then value = back else sides = { front, back or 0 } end
  local shape, inner = core.sizes(core.expect("pad", self)), {}
  for i = 1, #sides / 2 do
    local d = #shape + 1 - i
    local before, after = core.whole("pad", "front", sides[2 * i - 1], 0), core.whole("pad", "back", sides[2 * i], 0)
    if d < 1 then
      error(("pad: %s and %s elements around shape %s"):format(before, after, core.show(self)), 0)
    end
    inner[d] = { before + 1, shape[d] }
    shape[d] = before + shape[d] + after
  end
  local out = core.new(shape, self:type(), self.device_id, (value or 0) ~= 0)
  if core.number("pad", "value", value or 0) ~= 0 then out:fill_(value) end
  local middle = out
  for d, range in pairs(inner) do middle = middle:narrow(d, range[1], range[2]) end
  middle:copy_(self)
  return out
end

--- Parts of `size` along a dimension (the first unless told), the last one may be smaller; a list gives the size of
--- each.
--- Returns a Lua list of views.
---     #tensor.zeros(7):split(3) --> 3
function T:split(size, dim)
  dim = dim or 1
  local n, parts, at = self:size(dim), {}, 1
  if type(size) == "table" then core.wholes("split", "size", 0, size) else core.whole("split", "size", size, 1) end
  local i = 0
  while type(size) == "table" and i < #size or type(size) == "number" and at <= n do
    i = i + 1
    local length = type(size) == "table" and size[i] or math.min(size, n - at + 1)
    parts[i] = self:narrow(dim, at, length)
    at = at + length
  end
  if at ~= n + 1 then
    error(("split: the sizes add up to %d, dimension %d of shape %s has %d"):format(at - 1, dim, core.show(self), n), 0)
  end
  return parts
end

--- At most n parts of equal size along a dimension (the first unless told); the last one may be smaller.
function T:chunk(n, dim)
  core.whole("chunk", "n", n, 1)
  return self:split(math.max(1, math.ceil(self:size(dim or 1) / n)), dim)
end

--- Every index of a dimension (the first unless told) as a view of its own: a Lua list.
function T:unbind(dim)
  local parts = {}
  for i = 1, self:size(dim or 1) do parts[i] = self:select(dim or 1, i) end
  return parts
end

--- Repeated whole: times[i] copies along dimension i, new dimensions in front (torch's tile; `repeat` is a word of
--- Lua).
---     tensor.from({ 1, 2 }):tile(2, 2) --> { { 1, 2, 1, 2 }, { 1, 2, 1, 2 } }
function T:tile(...)
  local times, t = core.wholes("tile", "number", 0, ...), core.expect("tile", self)
  local total = math.max(1, t:numel())
  for i = 1, #times do total = total * times[i] end
  if total > MANY then error(("tile: the result would have %.3g elements"):format(total), 0) end
  while t.ndim < #times do t = t:unsqueeze(1) end
  for i = 1, #times do
    local d = t.ndim - #times + i
    if times[i] ~= 1 then
      local parts = {}
      for k = 1, times[i] do parts[k] = t end
      t = times[i] > 0 and core.cat(parts, d) or t:narrow(d, 1, 0)
    end
  end
  return rawequal(t, self) and t:clone() or t:contiguous()
end

--- Every element repeated n times in place along a dimension (nil: of the flattened tensor): KV heads to query heads.
--- n may
--- be a list with a number for each.
---     tensor.from({ 1, 2 }):repeat_interleave(2) --> { 1, 1, 2, 2 }
function T:repeat_interleave(n, dim)
  if not dim then return self:reshape(-1):repeat_interleave(n, 1) end
  local d, index = core.dim("repeat_interleave", core.expect("repeat_interleave", self), dim) + 1, {}
  local each = type(n) == "table" and core.wholes("repeat_interleave", "number", 0, n)
  if each and #each ~= self:size(d) then
    error(("repeat_interleave: %d numbers for dimension %d of shape %s"):format(#each, d, core.show(self)), 0)
  end
  if not each and core.whole("repeat_interleave", "n", n, 0) * math.max(1, self:numel()) > MANY then
    error(("repeat_interleave: the result would have %.3g elements"):format(n * self:numel()), 0)
  end
  for i = 1, self:size(d) do
    for _ = 1, each and each[i] or n do index[#index + 1] = i end
  end
  return self:index_select(d, index)
end

--- The order of these dimensions reversed.
---     tensor.from({ { 1, 2 }, { 3, 4 } }):flip(2) --> { { 2, 1 }, { 4, 3 } }
function T:flip(...)
  local t = core.expect("flip", self)
  for _, dim in ipairs(type((...)) == "table" and (...) or { ... }) do
    local n, index = t:size(dim), {}
    for i = 1, n do index[i] = n + 1 - i end
    t = t:index_select(dim, index)
  end
  return rawequal(t, self) and t:clone() or t
end

--- Moved by `shift` places along dim (1 unless told); what leaves at the end comes back in front.
---     tensor.from({ 1, 2, 3, 4 }):roll(1) --> { 4, 1, 2, 3 }
function T:roll(shift, dim)
  dim = dim or 1
  core.whole("roll", "shift", shift)
  local n = self:size(dim)
  local cut = n > 0 and -shift % n or 0
  if cut == 0 then return self:clone() end
  return core.cat({ self:narrow(dim, cut + 1, n - cut), self:narrow(dim, 1, cut) }, dim)
end

-- column - row for the last two dimensions: [rows, columns].
local function distance(op, t)
  core.expect(op, t)
  if t.ndim < 2 then error(("%s: shape %s is not a matrix"):format(op, core.show(t)), 0) end
  return core.on(t, core.arange, t:size(-1)):view(1, -1) - core.on(t, core.arange, t:size(-2)):view(-1, 1)
end

--- The upper triangle of the last two dimensions, 0 elsewhere: elements with column - row >= offset (0).
---     tensor.ones(2, 2):triu(1) --> { { 0, 1 }, { 0, 0 } }
function T:triu(offset)
  core.whole("triu", "offset", offset or 0)
  return (core.where(distance("triu", self):ge(offset or 0), self, 0))
end

--- The lower triangle: elements with column - row <= offset (0).
function T:tril(offset)
  core.whole("tril", "offset", offset or 0)
  return (core.where(distance("tril", self):le(offset or 0), self, 0))
end

--- A vector as the diagonal of a matrix; of a matrix, a copy of its diagonal (as a view: diagonal).
---     tensor.from({ 1, 2 }):diag() --> { { 1, 0 }, { 0, 2 } }
function T:diag(offset)
  if core.expect("diag", self).ndim == 2 then return self:diagonal(offset):clone() end
  return self:diag_embed(offset)
end

--- [.., n] -> [.., n, n] with self on the diagonal (offset: above it; the matrix grows by |offset|).
function T:diag_embed(offset)
  local shape = core.sizes(core.expect("diag_embed", self))
  if #shape == 0 then error("diag_embed: a tensor without dimensions has no diagonal", 0) end
  local n = table.remove(shape) + math.abs(core.whole("diag_embed", "offset", offset or 0))
  shape[#shape + 1], shape[#shape + 2] = n, n
  local out = core.new(shape, self:type(), self.device_id)
  out:diagonal(offset):copy_(self)
  return out
end
