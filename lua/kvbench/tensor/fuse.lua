-- SPDX-License-Identifier: Apache-2.0
-- Chains of element-wise ops as one pass over memory. fuse(fn) runs fn once on stand-ins that write down what happens
-- to them; what was written down is then run tile by tile (CPU) or compiled (GPU, core/fuse.c), with the bits of the
-- ops one by one.
--
-- Explicit, not automatic: a chain that is recorded behind one's back keeps its inputs alive and fails somewhere else.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local library = require "kvbench.ffi"
local C = library.C

local Recorder = {}
local meta = {}

local function fail(...) error("fuse: " .. string.format(...), 0) end

-- ---- recording ----

local function operand(tape, x)
  if type(x) == "number" then
    for i, value in ipairs(tape.constants) do
      if value == x and 1 / value == 1 / x then return -i end
    end
    local most = C.KVB_FUSE_CONSTANTS
    if #tape.constants == most then fail("more than %d different numbers in one chain", most) end
    tape.constants[#tape.constants + 1] = x
    return -#tape.constants
  end
  if getmetatable(x) == meta then
    if rawget(x, "tape") ~= tape then fail("a value of another chain") end
    return rawget(x, "at")
  end
  if core.is(x) then fail("a tensor of shape %s from outside -> pass it as an argument", core.show(x)) end
  fail("expected a number or one of the arguments, got %s", type(x))
end

local function step(tape, op, kind, a, b, c)
  local steps = tape.steps
  if #steps == C.KVB_FUSE_STEPS then fail("more than %d operations in one chain -> two chains", #steps) end
  local new = { op = op, kind = kind, a = operand(tape, a), b = b and operand(tape, b) or 0,
    c = c and operand(tape, c) or 0, reads = b and (c and 3 or 2) or 1 }
  steps[#steps + 1] = new
  return setmetatable({ tape = tape, at = C.KVB_FUSE_STEP + #steps - 1 }, meta)
end

local function tape_of(a, b)
  local x = getmetatable(a) == meta and a or b
  return rawget(x, "tape")
end

local function binary(kind)
  return function(a, b)
    local tape = tape_of(a, b)
    return step(tape, C.KVB_FUSE_BINARY, kinds.binary[kind], a, b)
  end
end

local function unary(kind)
  return function(a) return step(rawget(a, "tape"), C.KVB_FUSE_UNARY, kinds.unary[kind], a) end
end

for _, kind in ipairs { "add", "sub", "mul", "div", "pow", "maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne" } do
  Recorder[kind] = binary(kind)
end
for _, kind in ipairs { "neg", "exp", "log", "sqrt", "abs", "cos", "sin", "tanh", "sigmoid", "floor", "round",
  "erf" } do
  Recorder[kind] = unary(kind)
end
function Recorder.clamp(x, low, high)
  return step(rawget(x, "tape"), C.KVB_FUSE_UNARY, kinds.unary.clamp, x, core.number("clamp", "low", low or -math.huge),
    core.number("clamp", "high", high or math.huge))
end
function Recorder.where(condition, a, b)
  return step(rawget(condition, "tape"), C.KVB_FUSE_WHERE, 0, condition, a, b)
end
function Recorder.masked_fill(x, mask, value) return Recorder.where(mask, value, x) end
-- As in math.lua, in terms of the ones above.
function Recorder.relu(x) return x:clamp(0, math.huge) end
function Recorder.silu(x) return x * x:sigmoid() end
function Recorder.gelu(x) return x * ((x * math.sqrt(0.5)):erf() + 1) * 0.5 end
function Recorder.reciprocal(x) return 1 / x end
function Recorder.rsqrt(x) return 1 / x:sqrt() end
function Recorder.square(x) return x * x end
function Recorder.sign(x) return x:gt(0) - x:lt(0) end
function Recorder.isnan(x) return x:ne(x) end
function Recorder.isfinite(x) return x:abs():lt(math.huge) end
function Recorder.logical_and(a, b) return a:ne(0) * b:ne(0) end
function Recorder.logical_or(a, b) return a:ne(0):maximum(b:ne(0)) end
function Recorder.logical_not(x) return x:eq(0) end

function meta.__index(_, name)
  local method = Recorder[name]
  if method then return method end
  fail("'%s' is not an element-wise operation -> reduce and reshape outside of the chain", tostring(name))
end
for operator, kind in pairs { __add = "add", __sub = "sub", __mul = "mul", __div = "div", __pow = "pow" } do
  meta[operator] = Recorder[kind]
end
meta.__unm = Recorder.neg

-- ---- from the tape to a program ----

-- Gives every step a place that is free from its last use on.
local function place(steps)
  local last, free, out = {}, {}, ffi.new("kvb_fuse_step[?]", #steps)
  for i, s in ipairs(steps) do
    for k, name in ipairs { "a", "b", "c" } do
      if k <= s.reads and s[name] >= C.KVB_FUSE_STEP then last[s[name] - C.KVB_FUSE_STEP + 1] = i end
    end
  end
  for r = C.KVB_FUSE_REGISTERS - 1, 0, -1 do free[#free + 1] = r end
  for i, s in ipairs(steps) do
    if #free == 0 then fail("more than %d values are needed at once -> two chains", C.KVB_FUSE_REGISTERS) end
    s.into = table.remove(free)
    for j = 1, i do -- after the result has its place: a step never writes where it reads
      if last[j] == i or j == i and not last[j] then free[#free + 1] = steps[j].into end
    end
    out[i - 1] = { s.op, s.kind, s.a, s.b, s.c, s.into }
  end
  return out
end

-- Leaves out the inputs that no step reads: they do not count for the shape either. Returns which are read.
local function compact(steps, n)
  local used, to, list = {}, {}, {}
  local function each(visit)
    for _, s in ipairs(steps) do
      for k, name in ipairs { "a", "b", "c" } do
        if k <= s.reads and s[name] >= 0 and s[name] < n then visit(s, name) end
      end
    end
  end
  each(function(s, name) used[s[name]] = true end)
  for i = 0, n - 1 do
    if used[i] then
      to[i] = #list
      list[#list + 1] = i + 1
    end
  end
  each(function(s, name) s[name] = to[s[name]] end)
  return list
end

local function record(fn, n)
  local tape, arguments = { steps = {}, constants = {} }, {}
  for i = 1, n do arguments[i] = setmetatable({ tape = tape, at = i - 1 }, meta) end
  local result = fn(unpack(arguments, 1, n))
  if getmetatable(result) ~= meta or rawget(result, "tape") ~= tape then
    local what = core.is(result) and "a tensor" or type(result)
    fail("the function returned %s, expected what it made of its arguments", what)
  end
  if rawget(result, "at") ~= C.KVB_FUSE_STEP + #tape.steps - 1 then -- an argument, or not the last step
    result = step(tape, C.KVB_FUSE_BINARY, kinds.binary.add, result, 0)
  end
  local read = compact(tape.steps, n)
  if #read == 0 then fail "the function does nothing with its arguments" end
  return { steps = place(tape.steps), count = #tape.steps, read = read, given = #tape.constants,
    constants = ffi.new("float[?]", math.max(1, #tape.constants), tape.constants) }
end

-- ---- running ----

local pointers = ffi.typeof "const kvb_tensor *[?]"

local function run(program, inputs)
  local first, shape, aliases = nil, nil, {}
  for i, which in ipairs(program.read) do
    aliases[i] = core.alias(core.f32("fuse", inputs[which]))
    first = first or aliases[i]
    shape = shape and core.broadcast_shape("fuse", { ndim = #shape, shape = ffi.new("int64_t[5]", shape) }, aliases[i])
      or core.sizes(aliases[i])
  end
  for _, alias in ipairs(aliases) do core.stretch(alias, shape) end
  local out, list = core.output(first, shape), pointers(#aliases, aliases)
  local device = first.device_id >= C.KVB_DEVICE_CUDA and first.device_id or C.KVB_DEVICE_CPU
  local folder = require("kvbench.paths").cache() .. "/kernels"
  library.check(C.kvb_fuse(device, program.steps, program.count, list, #aliases, program.constants, program.given, out,
    folder))
  core.drop(unpack(aliases))
  return out
end

--- A function that does what fn does, in one pass: fn takes tensors and does element-wise arithmetic with them
--- (operators, comparisons, where, clamp, exp, ...) and returns the result; nothing in between is stored. Bit for bit
--- what fn gives. At most 8 tensors; shapes broadcast. Pays where tensors are larger than the caches: kvbench bench
--- fuse.
---     tensor.fuse(function(a, b) return ((a - b) * 2):exp() end)(tensor.ones(2), tensor.ones(2)) --> { 1, 1 }
function core.fuse(fn)
  if type(fn) ~= "function" then fail("expected a function of tensors, got %s", type(fn)) end
  return function(...)
    local inputs, n = { ... }, select("#", ...)
    if n < 1 or n > C.KVB_FUSE_INPUTS then fail("%d arguments, 1 to %d tensors are possible", n, C.KVB_FUSE_INPUTS) end
    for i = 1, n do
      if not core.is(inputs[i]) then
        fail("argument %d is %s, expected a tensor -> numbers belong into the function", i, type(inputs[i]))
      end
      core.expect("fuse", inputs[i])
    end
    if core.host == C.KVB_DEVICE_REF then return fn(...) end -- the specification runs op by op
    return run(record(fn, n), inputs) -- anew each time: what fn sees around it may have changed
  end
end

--- The CUDA source that a chain of n tensors is compiled from.
function core.fuse_source(fn, n)
  if type(fn) ~= "function" then fail("expected a function of tensors, got %s", type(fn)) end
  core.whole("fuse_source", "n", n, 1)
  local program = record(fn, n)
  return ffi.string(C.kvb_fuse_source(program.steps, program.count, #program.read))
end
