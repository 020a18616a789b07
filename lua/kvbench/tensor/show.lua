-- SPDX-License-Identifier: Apache-2.0
-- Between tensors and Lua: reading values out, building from tables, printing. A printed tensor says its dtype, shape
-- and range, counts NaN and infinities, and shows a few values.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local T = core.methods
local kinds = core.kinds

local pointer = {
  f32 = "float *", i32 = "int32_t *", u8 = "uint8_t *", u32 = "uint32_t *", i64 = "int64_t *",
}
for dtype, ctype in pairs(pointer) do pointer[dtype] = ffi.typeof(ctype) end

-- A typed pointer to the first element, on the host; half precision is widened first.
local function typed(t)
  t = core.expect("tensor", t):cpu()
  local name = kinds.dtype_name[t.dtype]
  if not pointer[name] then
    t = t:to("f32")
    name = "f32"
  end
  return ffi.cast(pointer[name], t.data), t
end

--- A typed pointer to a contiguous tensor's elements, for loops in Lua. Valid while the tensor is.
function T:pointer()
  if self.device_id ~= 0 then
    error(("pointer: the tensor is on %s -> local host = t:cpu(), then host:pointer()"):format(self.device), 0)
  end
  if not self:is_contiguous() then error("pointer: the tensor is a strided view -> t:contiguous():pointer()", 0) end
  local p, owner = typed(self)
  if not rawequal(owner, self) then error("pointer: half precision has no Lua type -> t:to('f32'):pointer()", 0) end
  return p
end

--- The only element, as a number.
function T:item()
  if core.count(self) ~= 1 then error("item: the tensor of shape " .. core.show(self)
    .. " has not exactly one element", 0) end
  local p = typed(self)
  return tonumber(p[0])
end

--- One element as a number: t:at(2, 1, 5), indices from 1.
function T:at(...)
  if self.device_id ~= 0 and select("#", ...) == self.ndim then -- one element comes over, not all
    local one = self
    for d = 1, self.ndim do one = one:select(1, (select(d, ...))) end
    return one:item()
  end
  local p, t = typed(self)
  local offset = 0
  if select("#", ...) ~= self.ndim then error(("at: %d indices for shape %s"):format(select("#", ...),
    core.show(self)), 0) end
  for d = 1, self.ndim do
    local i, size = core.whole("at", "index " .. d, (select(d, ...))), tonumber(self.shape[d - 1])
    if i < 0 then i = size + 1 + i end
    if i % 1 ~= 0 or i < 1 or i > size then error(("at: index %s in dimension %d of shape %s"):format(i, d,
      core.show(self)), 0) end
    offset = offset + (i - 1) * tonumber(t.stride[d - 1])
  end
  return tonumber(p[offset])
end

--- Nested Lua arrays of numbers (one number for a tensor without dimensions).
function T:tolua()
  local p, t = typed(self)
  local function level(d, offset)
    if d == t.ndim then return tonumber(p[offset]) end
    local out, step = {}, tonumber(t.stride[d])
    for i = 1, tonumber(t.shape[d]) do out[i] = level(d + 1, offset + (i - 1) * step) end
    return out
  end
  return level(0, 0)
end

--- A tensor from a number or nested arrays of numbers (rectangular). dtype "f32" unless told.
function core.from(values, dtype)
  local shape, level = {}, values
  while type(level) == "table" do
    shape[#shape + 1] = #level
    level = level[1]
  end
  local out = core.new(shape, pointer[dtype or "f32"] and dtype or "f32", "cpu")
  local p, at = ffi.cast(pointer[out:type()], out.data), 0
  local function fill(v, d)
    if d > #shape then
      if type(v) ~= "number" then error("tensor.from: expected a number, got " .. type(v), 0) end
      p[at], at = v, at + 1
      return
    end
    if type(v) ~= "table" or #v ~= shape[d] then
      error(("tensor.from: the tables are ragged: %s in dimension %d, expected %d"):format(type(v) == "table" and #v
        or type(v), d, shape[d]), 0)
    end
    for i = 1, shape[d] do fill(v[i], d + 1) end
  end
  fill(values, 1)
  return (out:type() == (dtype or "f32") and out or out:to(dtype)):to(core.current())
end

local function number(v)
  if v ~= v then return "nan" end
  if v == math.huge then return "inf" elseif v == -math.huge then return "-inf" end
  return v % 1 == 0 and math.abs(v) < 1e7 and ("%d"):format(v) or ("%.4g"):format(v)
end

-- "min .. max", with what is not a number counted apart.
local function range(t)
  local lowest, highest, nan, inf = math.huge, -math.huge, 0, 0
  local flat = t:contiguous()
  local p, anchor = typed(flat)
  for i = 0, core.count(anchor) - 1 do
    local v = tonumber(p[i])
    if v ~= v then
      nan = nan + 1
    elseif v == math.huge or v == -math.huge then
      inf = inf + 1
    else
      lowest, highest = math.min(lowest, v), math.max(highest, v)
    end
  end
  local text = lowest > highest and "nothing finite" or number(lowest) .. " .. " .. number(highest)
  text = text .. (nan > 0 and ", " .. nan .. " NaN" or "") .. (inf > 0 and ", " .. inf .. " inf" or "")
  return text, anchor -- so that it is alive until here
end

local PER_ROW, ROWS = 8, 8

local function row(t)
  if t.ndim == 0 then return number(t:item()) end
  local parts, n = {}, t:size(1)
  for i = 1, math.min(n, PER_ROW) do parts[i] = number(t:at(i)) end
  return "[" .. table.concat(parts, ", ") .. (n > PER_ROW and ", ...]" or "]")
end

--- What print(t) shows.
function core.text(t)
  if t.data == nil then return "tensor (closed)" end
  local lines = { ("tensor %s %s"):format(t:type(), core.show(t)) .. (t.device_id ~= 0 and " on " .. t.device or "") }
  t = t:cpu()
  if core.count(t) == 0 then return lines[1] .. " (empty)" end
  if t.ndim > 0 then lines[1] = lines[1] .. "  " .. (range(t)) end
  local shown, rows = 0, core.count(t) / (t.ndim > 0 and t:size(-1) or 1)
  local function walk(part)
    if shown == ROWS then return end
    if part.ndim <= 1 then
      shown = shown + 1
      lines[#lines + 1] = "  " .. row(part)
      return
    end
    for i = 1, part:size(1) do walk(part:select(1, i)) end
  end
  walk(t)
  if rows > ROWS then lines[#lines + 1] = ("  ... %d more rows"):format(rows - ROWS) end
  return table.concat(lines, "\n")
end
