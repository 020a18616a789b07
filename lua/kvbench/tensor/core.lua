-- SPDX-License-Identifier: Apache-2.0
-- Under kvbench.tensor: how tensors are made, owned and freed, and how an op is called. Methods are added to `methods`
-- by the other files of this folder.
--
-- LuaJIT's collector sees about 130 bytes of a tensor, whatever it holds, so it would never hurry. Three things help:
-- new tensors count the library's live bytes and run the collector when they have doubled; a failed allocation
-- collects and tries once more; and scope() frees temporaries without waiting for any collector.
--
-- Every tensor lies in the memory of one device (t.device: "cpu", "cuda:0", ...) and an op runs where its operands are;
-- nothing moves by itself. New tensors are made on the current device: tensor.use, tensor.on.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local kinds = require "kvbench.tensor.kinds"
local C = library.C

-- device: where new tensors are made; host: which backend computes on the host's tensors.
local M = { methods = {}, device = C.KVB_DEVICE_CPU, host = C.KVB_DEVICE_CPU, kinds = kinds }

local kvb_tensor = ffi.typeof "kvb_tensor"
local shape_type = ffi.typeof "int64_t[5]"
local floor = 192 * 2 ^ 20 -- bytes that tensors may hold before the collector is run for them
local GPU = C.KVB_DEVICE_CUDA
local limit = floor
local arena -- tensors made inside the innermost scope(), or nil

--- Is x a tensor?
function M.is(x) return ffi.istype(kvb_tensor, x) end

local function release(t) C.kvb_tensor_release(ffi.gc(t, nil)) end

local function own(t)
  ffi.gc(t, C.kvb_tensor_release)
  if arena then arena[#arena + 1] = t end
  return t
end

local function relieve()
  collectgarbage()
  limit = math.max(floor, 2 * tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)))
end

-- ---- devices ----

--- "cpu", "cuda:1" of a kvb_tensor's device_id.
function M.device_name(id) return id < GPU and "cpu" or ("cuda:%d"):format(id - GPU) end

--- The id behind "cpu", "cuda" or "cuda:N", or nil when name is no device.
function M.device_id(name)
  if name == "cpu" then return C.KVB_DEVICE_CPU end
  local number = type(name) == "string" and name:match "^cuda:?(%d*)$"
  if not number or name == "cuda:" then return nil end
  return GPU + (tonumber(number) or 0)
end

local function known_device(op, name)
  local id = M.device_id(name)
  if id then return id end
  error(("%s: device '%s' is unknown -> cpu, cuda, cuda:N"):format(op, tostring(name)), 0)
end

local seen = {}

-- A GPU has more to fill before the collector has to look.
local function raise_floor(device)
  seen[device] = true
  local total, free = ffi.new "int64_t[1]", ffi.new "int64_t[1]"
  if C.kvb_cuda_device_info(device - GPU, ffi.new "char[8]", 8, total, free) ~= C.KVB_OK then return end
  floor = math.max(floor, tonumber(total[0]) / 4)
  limit = math.max(limit, floor)
end

--- Where new tensors are made from now on: "cpu", "cuda", "cuda:N", or "ref": on the host, where the scalar
--- specification then computes.
function M.use(device)
  if device == "ref" then
    M.device, M.host = C.KVB_DEVICE_CPU, C.KVB_DEVICE_REF
    return
  end
  local id = M.device_id(device)
  if not id then
    error(("tensor.use: device '%s' is unknown -> cpu, ref, cuda, cuda:N"):format(tostring(device)), 0)
  end
  M.device, M.host = id, C.KVB_DEVICE_CPU
end

--- The name of the device where new tensors are made.
function M.current() return M.device_name(M.device) end

--- Calls fn(...) with new tensors made on a device ("cpu", "cuda:N", or that of a tensor).
function M.on(device, fn, ...)
  local id = M.is(device) and device.device_id or known_device("tensor.on", device)
  local saved = M.device
  local function restore(ok, ...)
    M.device = saved
    if not ok then error((...), 0) end
    return ...
  end
  M.device = id
  return restore(pcall(fn, ...))
end

-- ---- making and freeing ----

--- A zeroed contiguous tensor. shape: Lua array; dtype: a name, default "f32"; device: an id or a name, default the
--- current one. Owned by Lua. raw: not zeroed.
function M.new(shape, dtype, device, raw)
  if type(shape) ~= "table" then error(("tensor: a shape is a list of sizes, got a %s"):format(type(shape)), 0) end
  local n = #shape
  local code = kinds.dtype[dtype or "f32"]
  if not code then
    error(("tensor: dtype '%s' is unknown -> f32, f16, bf16, i32, u8, u32, i64"):format(tostring(dtype)), 0)
  end
  if n > C.KVB_MAX_DIMS then
    error(("tensor: shape %s has %d dimensions, at most 5 are possible"):format(M.show(shape), n), 0)
  end
  local sizes = shape_type()
  for i = 1, n do
    local size = shape[i]
    if type(size) ~= "number" or size < 0 or size % 1 ~= 0 then
      error(("tensor: shape %s: size %d is not a whole number"):format(M.show(shape), i), 0)
    end
    sizes[i - 1] = size
  end
  local where = device == nil and M.device or type(device) == "number" and device or known_device("tensor", device)
  if where >= GPU and not seen[where] then raise_floor(where) end
  local t, cleared = kvb_tensor(), raw and 0 or 1
  local status = C.kvb_tensor_new_on(where, code, n, sizes, cleared, t)
  if status == C.KVB_E_MEMORY then
    relieve()
    status = C.kvb_tensor_new_on(where, code, n, sizes, cleared, t)
  end
  library.check(status)
  if tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)) > limit then relieve() end
  return own(t)
end

--- A tensor for an op to write: on the device of `like`, uninitialised. dtype "f32" unless told.
function M.output(like, shape, dtype) return M.new(shape, dtype, like.device_id, true) end

--- A descriptor for C to fill, and Lua's ownership of the reference that C put into it, outside any scope.
function M.empty() return kvb_tensor() end
function M.adopt(t) return ffi.gc(t, C.kvb_tensor_release) end

--- A second view of t's storage (which stays alive as long as any view); the caller changes shape, stride or data of
--- it.
function M.view(t)
  local v = kvb_tensor(t)
  C.kvb_tensor_retain(v)
  return own(v)
end

--- A view for one call, outside any scope. It holds the storage too: a compiled trace may drop the last reference to an
--- argument before the op that reads it has run.
function M.alias(t)
  local v = kvb_tensor(t)
  C.kvb_tensor_retain(v)
  return ffi.gc(v, C.kvb_tensor_release)
end

--- Ends aliases after the call they were made for.
function M.drop(...)
  for i = 1, select("#", ...) do release((select(i, ...))) end
end

--- Takes t out of the scope() it was made in: for what is kept elsewhere, such as a cache.
function M.persist(t)
  for i = arena and #arena or 0, 1, -1 do
    if rawequal(arena[i], t) then
      table.remove(arena, i)
      break
    end
  end
  return t
end

--- Calls fn(...) with no scope around it: for code that keeps the tensors it makes, such as a context's cached keys.
function M.outside(fn, ...)
  local function restore(saved, ok, ...)
    arena = saved
    if not ok then error((...), 0) end
    return ...
  end
  local saved = arena
  arena = nil
  return restore(saved, pcall(fn, ...))
end

local function keep_returned(kept, value, depth)
  if M.is(value) then
    kept[value] = true
  elseif type(value) == "table" and depth < 4 then
    for _, inner in pairs(value) do keep_returned(kept, inner, depth + 1) end
  end
end

local function close_scope(outer, ok, ...)
  local mine, kept = arena, {}
  arena = outer
  for i = 1, ok and select("#", ...) or 0 do keep_returned(kept, (select(i, ...)), 0) end
  for i = 1, #mine do
    local t = mine[i]
    if not kept[t] then
      release(t)
    elseif outer then
      outer[#outer + 1] = t
    end
  end
  if not ok then error((...), 0) end
  return ...
end

--- Calls fn(...) and frees every tensor made in it at once, except those it returns (also inside returned tables) and
--- those given to persist() or made in outside(). A freed tensor that was stored elsewhere raises "missing or closed"
--- when used.
function M.scope(fn, ...)
  local outer = arena
  arena = {}
  return close_scope(outer, pcall(fn, ...))
end

local cells, next_cell = ffi.new "float[64]", 0

--- A number as a one-element view that ops on any device take where they allow constants. For the next op only.
function M.constant(value)
  next_cell = (next_cell + 1) % 64
  cells[next_cell] = value
  local v = kvb_tensor()
  v.data, v.dtype, v.constant = cells + next_cell, kinds.dtype.f32, 1
  return v
end

local function gpu_of(t) return M.is(t) and t.device_id >= GPU and t.constant == 0 and t.device_id or nil end

--- Runs an op where its tensors are; its failure becomes a Lua error.
function M.run(name, ...)
  local a, b, c, d = ...
  local device = gpu_of(a) or gpu_of(b) or gpu_of(c) or gpu_of(d) or M.host
  library.check(C["kvb_op_" .. name](device, ...))
end

--- "[2, 3]" of a tensor or of a Lua array of sizes.
function M.show(shape)
  if type(shape) ~= "table" and not M.is(shape) then return tostring(shape) end
  local parts = {}
  if M.is(shape) then
    for i = 1, shape.ndim do parts[i] = tostring(tonumber(shape.shape[i - 1])) end
  else
    for i = 1, #shape do parts[i] = tostring(shape[i]) end
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

--- Sizes as a Lua array.
function M.sizes(t)
  local out = {}
  for i = 1, t.ndim do out[i] = tonumber(t.shape[i - 1]) end
  return out
end

function M.count(t)
  local n = 1
  for i = 0, t.ndim - 1 do n = n * tonumber(t.shape[i]) end
  return n
end

--- x must be a tensor; `op` names the caller in the error.
function M.expect(op, x)
  if not M.is(x) then error(("%s: expected a tensor, got %s"):format(op, type(x)), 0) end
  if x.data == nil then
    error(("%s: the tensor is missing or closed -> it was freed, by scope() or :close()"):format(op), 0)
  end
  return x
end

--- A dimension as the user counts (1.., or -1 for the last) to 0-based.
function M.dim(op, t, dim)
  local n = t.ndim
  if type(dim) ~= "number" or dim % 1 ~= 0 or dim == 0 or dim > n or dim < -n then
    error(("%s: dimension %s of a tensor of shape %s -> 1 to %d, or negative from the end"):format(op, tostring(dim),
      M.show(t), n), 0)
  end
  return dim > 0 and dim - 1 or n + dim
end

--- t itself if it is f32, else a converted copy: arithmetic on ranks, counts and bits happens in f32.
function M.f32(op, t)
  M.expect(op, t)
  if t.dtype == C.KVB_F32 then return t end
  local out = M.output(t, M.sizes(t), "f32")
  M.run("copy", t, out)
  return out
end

--- Makes the alias v look as if it had `shape` (stride 0 where v repeats); false when it does not fit.
function M.stretch(v, shape)
  local n, given = #shape, v.ndim
  if given > n then return false end
  for i = n - 1, 0, -1 do
    local from = i - (n - given)
    local size, stride = from >= 0 and tonumber(v.shape[from]) or 1, from >= 0 and v.stride[from] or 0
    if size ~= shape[i + 1] then
      if size ~= 1 then return false end
      stride = 0
    end
    v.shape[i], v.stride[i] = shape[i + 1], stride
  end
  v.ndim = n
  return true
end

--- The shape two tensors broadcast to (numpy's and torch's rule), or an error naming both.
function M.broadcast_shape(op, a, b, from_end)
  local skip = from_end or 0 -- trailing dimensions that do not take part (matmul)
  local na, nb, out = a.ndim - skip, b.ndim - skip, {}
  local n = math.max(na, nb)
  for i = 1, n do
    local ia, ib = i - (n - na), i - (n - nb)
    local sa, sb = ia >= 1 and tonumber(a.shape[ia - 1]) or 1, ib >= 1 and tonumber(b.shape[ib - 1]) or 1
    if sa ~= sb and sa ~= 1 and sb ~= 1 then
      error(("%s: shapes %s and %s do not fit: %d and %d in dimension %d of %d"):format(op, M.show(a), M.show(b), sa,
        sb, i, n + skip), 0)
    end
    out[i] = sa == 1 and sb or sa
  end
  return out
end

--- Bytes that live tensors hold.
function M.bytes() return tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)) end

return M
