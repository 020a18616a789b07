-- SPDX-License-Identifier: Apache-2.0
-- Checks every backend's operations against the scalar reference, over case tables (tests/ops/<op>.lua):
--
--   return { op = "rmsnorm", tol = 1e-6, why = "...",
--            build = function(c, h) return h:input{c.rows, c.dim}, h:output{c.rows, c.dim}, c.eps or 1e-5 end,
--            cases = { {rows = 0, dim = 8}, {rows = 3, dim = 577}, {rows = 7, dim = 64, strided = true} } }
--
-- build returns the op's arguments after the device. Inputs come from the case's seed, so both sides get the same.
-- Outputs lie between canaries (strided ones have them in the gaps too); inputs must come back unchanged. For a GPU
-- the buffers, canaries and gaps included, go up before the call and come back after it. NaN and
-- infinities are compared before any tolerance. A case may set: strided, transposed (layouts), fill (see fills), tol
-- and why, relative (tolerance of each element instead of the largest), special (NaN may occur), error (a pattern that
-- both sides must fail with).
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local library = require "kvbench.ffi"
local tensor = require "kvbench.tensor"
local C = library.C

local M = {}
local CANARY, MARGIN = 0xA5, 64
local DENORMAL = 1.5e-45 -- the spacing of the smallest floats: no relative tolerance holds there

-- Calls fn(element offset) for every element of a view, in row-major order.
local function each(view, fn)
  local function level(d, offset)
    if d == view.ndim then return fn(offset) end
    local step = tonumber(view.stride[d])
    for i = 0, tonumber(view.shape[d]) - 1 do level(d + 1, offset + i * step) end
  end
  level(0, 0)
end

local function hash(t) return C.kvb_hash64(t.data, core.count(t) * tonumber(C.kvb_dtype_bytes(t.dtype)), 0) end

-- ---- operands ----

local function uniform(shape, seed) return tensor.rand(shape, seed) end

--- What inputs may hold.
local fills = {
  normal = function(shape, seed) return tensor.randn(shape, seed) end,
  uniform = uniform,
  positive = function(shape, seed) return uniform(shape, seed) + 0.01 end,
  huge = function(shape, seed) return tensor.randn(shape, seed) * 1e18 end,
  tiny = function(shape, seed) return tensor.randn(shape, seed) * 1e-38 end,
  wide = function(shape, seed) return tensor.randn(shape, seed) * 60 end,
  ties = function(shape, seed) -- few different values, both zeros among them
    local v = (uniform(shape, seed) * 5 - 2.5):to("i32"):to("f32")
    return tensor.where(uniform(shape, seed .. "/sign"):lt(0.3), v * -1, v)
  end,
  halves = function(shape, seed) return (uniform(shape, seed) * 40 - 20):to("i32") / 2 end, -- n and n + 1/2
  special = function(shape, seed)
    local v, u = tensor.randn(shape, seed), uniform(shape, seed .. "/special")
    v = tensor.where(u:lt(0.02), 0 / 0, v)
    v = tensor.where((u - 0.05):abs():lt(0.01), math.huge, v)
    return tensor.where((u - 0.10):abs():lt(0.01), -math.huge, v)
  end,
  infinite = function(shape, seed) -- -inf among finite values, never a whole row of them
    local v = tensor.randn(shape, seed)
    local masked = tensor.where(uniform(shape, seed .. "/mask"):lt(0.4), -math.huge, v)
    return tensor.where(tensor.arange(shape[#shape]):eq(0), v, masked)
  end,
}

local Build = {}
Build.__index = Build

-- A view of `shape` into `buffer` that skips elements, from element `first` on.
local function lay_out(case, shape, dtype, margin)
  local step = case.strided and 2 or 1
  local strides, total = {}, step
  for i = #shape, 1, -1 do
    strides[i] = total
    total = total * shape[i] + (case.strided and i == #shape and 3 or 0)
  end
  if case.transposed and #shape >= 2 then -- the last two dimensions lie the other way round in memory
    local n = #shape
    strides[n], strides[n - 1] = strides[n] * shape[n - 1], strides[n]
  end
  local buffer = core.new({ math.max(total, 1) + 2 * margin }, dtype)
  local view = core.view(buffer)
  view.ndim = #shape
  for i = 1, #shape do view.shape[i - 1], view.stride[i - 1] = shape[i], strides[i] end
  view.data = ffi.cast("char *", buffer.data) + margin * tonumber(C.kvb_dtype_bytes(buffer.dtype))
  return view, buffer
end

--- An input of this shape. o.dtype (f32), o.fill (the case's), o.values (a tensor to take as it is), o.broadcast =
--- {dims}.
function Build:input(shape, o)
  o = o or {}
  self.count = self.count + 1
  local full = shape
  shape = { unpack(shape) }
  for _, d in ipairs(o.broadcast or {}) do shape[d] = 1 end
  local values = o.values or fills[o.fill or self.case.fill or "normal"](shape, self.seed .. "/" .. self.count)
  if o.map then values = o.map(values) end
  local view, buffer = lay_out(self.case, shape, o.dtype, 0)
  view:copy_(values)
  self.inputs[#self.inputs + 1] = buffer
  self.before[#self.inputs] = hash(buffer)
  return o.broadcast and view:expand(full) or view
end

local function output(self, shape, dtype, values)
  local view, buffer = lay_out(self.case, shape, dtype, MARGIN)
  ffi.fill(buffer.data, core.count(buffer) * tonumber(C.kvb_dtype_bytes(buffer.dtype)), CANARY)
  self.outputs[#self.outputs + 1] = { view = view, buffer = buffer, pristine = hash(buffer) }
  if values then view:copy_(values) end
  return view
end

--- An output of this shape and dtype (f32).
function Build:output(shape, dtype) return output(self, shape, dtype) end

--- An operand that is read and written.
function Build:inout(shape)
  self.count = self.count + 1
  return output(self, shape, "f32", fills[self.case.fill or "normal"](shape, self.seed .. "/" .. self.count))
end

local function built(table_, case, seed)
  local h = setmetatable({ case = case, seed = seed, inputs = {}, outputs = {}, before = {}, count = 0 }, Build)
  local function pack(...) return { n = select("#", ...), ... } end
  h.arguments = pack(table_.build(case, h))
  return h
end

-- ---- judging ----

-- nil, or what is wrong around the operands.
local function check_surroundings(h)
  for i, buffer in ipairs(h.inputs) do
    if hash(buffer) ~= h.before[i] then return ("input %d was changed"):format(i) end
  end
  for i, out in ipairs(h.outputs) do
    local unit = tonumber(C.kvb_dtype_bytes(out.view.dtype))
    local base = ffi.cast("uint8_t *", out.view.data)
    each(out.view, function(at) ffi.fill(base + at * unit, unit, CANARY) end)
    if hash(out.buffer) ~= out.pristine then return ("output %d: a canary around it was overwritten"):format(i) end
  end
end

local function index_text(view, position)
  local parts = {}
  for d = view.ndim - 1, 0, -1 do
    local size = tonumber(view.shape[d])
    parts[d + 1] = tostring(position % size)
    position = math.floor(position / size)
  end
  return "[" .. table.concat(parts, "][") .. "]"
end

local pointers = { f32 = "float *", i32 = "int32_t *", u32 = "uint32_t *", u8 = "uint8_t *", i64 = "int64_t *" }

local function numbers(view)
  local name = view:type()
  local source = pointers[name] and view or view:to("f32") -- half precision
  local p, out = ffi.cast(pointers[source:type()], source.data), {}
  each(source, function(at) out[#out + 1] = tonumber(p[at]) end)
  return out
end

local function compare(mine, reference, case, tol, i)
  local a, b, largest = numbers(mine), numbers(reference), 0
  for k = 1, #b do
    if math.abs(b[k]) < math.huge then largest = math.max(largest, math.abs(b[k])) end
  end
  for k = 1, #b do
    local x, y = a[k], b[k]
    local function wrong(what)
      return ("output %d%s is %.9g, the reference %.9g%s"):format(i, index_text(mine, k - 1), x, y, what)
    end
    if y ~= y and not case.special then
      return ("output %d%s of the reference is NaN -> special = true, or other inputs"):format(i, index_text(mine,
        k - 1)) end
    if (x ~= x) ~= (y ~= y) then return wrong ": NaN on one side" end
    if x == x and (math.abs(x) == math.huge or math.abs(y) == math.huge) and x ~= y then
      return wrong ": infinity on one side" end
    if x == x and x ~= y then
      local allowed = case.relative and tol * math.abs(y) + DENORMAL or tol * largest
      if not (math.abs(x - y) <= allowed) then return wrong((", off by %.3g, allowed %.3g"):format(math.abs(x - y),
        allowed)) end
    end
  end
end

-- The arguments as views of copies of their buffers on a GPU, and what brings the copies back.
local function mirrored(h, device)
  local pairs_of, arguments = {}, {}
  local function mirror(buffer)
    pairs_of[#pairs_of + 1] = { host = buffer, there = buffer:to(core.device_name(device)) }
  end
  for _, buffer in ipairs(h.inputs) do mirror(buffer) end
  for _, out in ipairs(h.outputs) do mirror(out.buffer) end
  for i = 1, h.arguments.n do
    local argument = h.arguments[i]
    arguments[i] = argument
    for _, pair in ipairs(core.is(argument) and pairs_of or {}) do
      if argument.storage == pair.host.storage then
        local view = core.view(pair.there)
        ffi.copy(view.shape, argument.shape, ffi.sizeof(view.shape))
        ffi.copy(view.stride, argument.stride, ffi.sizeof(view.stride))
        view.ndim = argument.ndim
        view.data = ffi.cast("char *", pair.there.data) + (ffi.cast("char *", argument.data)
          - ffi.cast("char *", pair.host.data))
        arguments[i] = view
      end
    end
  end
  return arguments, function()
    for _, pair in ipairs(pairs_of) do pair.host:copy_(pair.there) end
  end
end

local function call(op, device, h)
  local arguments, bring_back = h.arguments, function() end
  if device >= C.KVB_DEVICE_CUDA then arguments, bring_back = mirrored(h, device) end
  local status = C["kvb_op_" .. op](device, unpack(arguments, 1, h.arguments.n))
  local text = library.diagnostic()
  bring_back()
  return status == C.KVB_OK, text
end

-- Returns "passed", "skipped" or "failed", and why.
local function run_case(table_, case, device, seed)
  local reference, mine = built(table_, case, seed), built(table_, case, seed)
  local expected_ok, expected_text = call(table_.op, C.KVB_DEVICE_REF, reference)
  local fallbacks = C.kvb_fallbacks()
  local ok, text = call(table_.op, device, mine)
  local lacks = not ok and text and text:find("has no '" .. table_.op .. "'", 1, true) -- a GPU cannot run the reference
  if C.kvb_fallbacks() ~= fallbacks or lacks then return "skipped", "has no version of its own" end
  if case.error then
    if expected_ok or not expected_text:find(case.error) then return "failed",
      "the reference did not refuse: " .. (expected_ok and "it succeeded" or expected_text) end
    if ok or text ~= expected_text then return "failed", "refused with '" .. (ok and "success"
      or text) .. "', the reference with '" .. expected_text .. "'" end
  elseif not expected_ok then
    return "failed", "the reference failed: " .. expected_text
  elseif not ok then
    return "failed", text
  else
    for i, out in ipairs(mine.outputs) do
      local problem = compare(out.view, reference.outputs[i].view, case, case.tol or table_.tol or 0, i)
      if problem then return "failed", problem end
    end
  end
  local problem = check_surroundings(mine) or check_surroundings(reference)
  if problem then return "failed", problem end
  return "passed"
end

local function describe(case)
  local names, parts = {}, {}
  for name in pairs(case) do if name ~= "why" then names[#names + 1] = name end end
  table.sort(names)
  for i, name in ipairs(names) do
    local v = case[name]
    parts[i] = v == true and name or name .. "=" .. (type(v) == "table" and core.show(v) or tostring(v))
  end
  return table.concat(parts, ", ")
end

--- Backends beside the reference: {name = device}.
function M.backends()
  local out = { { name = "cpu", device = C.KVB_DEVICE_CPU } }
  if C.kvb_cuda_devices() > 0 then
    out[#out + 1] = { name = "cuda", device = C.KVB_DEVICE_CUDA }
  end
  return out
end

--- Runs the cases of one table on every backend (options.device: "cpu" or "cuda" only) and prints what failed.
--- options.case: that number only; options.script names the script in the command line that repeats a case. Returns
--- passed, failed, skipped.
function M.run(table_, options)
  local passed, failed, skipped = 0, 0, 0
  for number, case in ipairs(table_.cases) do
    for _, backend in ipairs(M.backends()) do
      if (options.case or number) == number and (options.device or backend.name) == backend.name then
        local seed = table_.op .. "/" .. number
        if case.tol and not case.why then
          error(("tests/ops/%s.lua case %d: a tolerance of its own needs a why"):format(table_.op, number), 0) end
        local verdict, why = tensor.scope(run_case, table_, case, backend.device, seed)
        if verdict == "passed" then
          passed = passed + 1
        elseif verdict == "skipped" then
          skipped = skipped + 1
          print(("skip %s case %d on %s: %s"):format(table_.op, number, backend.name, why))
        else
          failed = failed + 1
          print(("FAIL %s case %d on %s (%s; %s; seed '%s'): %s"):format(table_.op, number, backend.name, C
            and ffi.string(C.kvb_cpu_tier()),
            describe(case), seed, why))
          print(("     -> kvbench %s --op %s --case %d"):format(options.script, table_.op, number))
        end
      end
    end
  end
  return passed, failed, skipped
end

return M
