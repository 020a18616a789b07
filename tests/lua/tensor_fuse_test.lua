-- SPDX-License-Identifier: Apache-2.0
-- Chains of element-wise ops in one pass: the bits of the ops one by one, whatever the shapes; what cannot be fused
-- says so.
local t = require "kvbench.testing"
local tensor = require "kvbench.tensor"
local C = require("kvbench.ffi").C

local function bits(x) return tonumber(C.kvb_hash64(x:contiguous().data, 4 * x:numel(), 0) % 2 ^ 52) end

local chains = {
  { 1, function(a) return a:exp() end }, { 1, function(a) return a end }, { 2, function(a) return a * 2 end },
  { 1, function(a) return ((-a):abs() + 1e-3):log():sqrt():clamp(-1, 2) / 3 - a ^ 2 end },
  { 2, function(a, b) return (a - b):sigmoid() * (a:maximum(b) + a:minimum(b)) end },
  { 3, function(a, b, c) return (a:gt(b)):where(a * c, b / (c + 4)) end },
  { 2, function(a, b) return a:lt(0):where(-1, b:gelu()) + a:silu() + b:relu() + a:sign() end },
  { 3, function(a, b, c) return a:cos() * b:sin() + c:tanh():floor() + (a * 3):round() + b:erf() + 1 / c:square() end },
  { 2, function(a, b) return a:isnan():logical_or(b:isfinite():logical_not()):logical_and(a:ge(b)) end },
  { 2, function(a, b) return a:masked_fill(b:le(0), -math.huge):maximum(b:ne(a)):rsqrt():reciprocal() end },
}

t.case("the bits of the ops one by one: long runs, ragged ends, broadcast, strides, special values", function()
  for _, shapes in ipairs {
    { { 5 }, { 5 }, { 5 } }, { { 3, 1025 }, { 1025 }, { 3, 1 } }, { { 2, 3, 70, 64 }, { 3, 1, 64 }, { 70, 1 } },
    { { 1 }, { 2, 4097 }, { 4097 } }, { { 0, 4 }, { 4 }, { 1 } }, { {}, {}, {} }, { { 40000 }, { 1 }, { 40000 } },
  } do
    local args = {}
    for i, shape in ipairs(shapes) do
      args[i] = tensor.randn(shape, "fuse/" .. i)
      args[i] = tensor.where(tensor.rand(shape, i):lt(0.03), i == 2 and math.huge or 0 / 0, args[i])
    end
    for k, chain in ipairs(chains) do
      local own = { unpack(args, 1, chain[1]) }
      t.eq(bits(tensor.fuse(chain[2])(unpack(own))), bits(chain[2](unpack(own)):clone()), ("chain %d on %s"):format(k,
        tensor.show(shapes[1])))
    end
  end
  local wide = tensor.randn({ 30, 40, 6 }, 1)
  local a, b = wide:permute(3, 1, 2), wide:slice(3, nil, nil, 2):unfold(3, 2):narrow(3, 1, 1)
  local function both(x) return (x * 2 + 1):exp() end
  t.eq(bits(tensor.fuse(both)(a)), bits(both(a)))
  t.eq(bits(tensor.fuse(both)(b)), bits(both(b)))
  -- converted, as in the ops
  t.eq(tensor.fuse(both)(tensor.arange(3):to("i32")):tolua(), both(tensor.arange(3)):tolua())
end)

t.case("fn is recorded anew at each call, so that what it sees around it counts", function()
  local scale = 2
  local double = tensor.fuse(function(x) return x * scale end)
  t.eq(double(tensor.ones(2)):tolua(), { 2, 2 })
  scale = 5
  t.eq(double(tensor.ones(2)):tolua(), { 5, 5 })
end)

t.case("what cannot be one pass says why", function()
  local x = tensor.ones(3)
  for pattern, fn in pairs {
    ["'sum' is not an element%-wise operation %-> reduce"] = function(a) return a:sum() end,
    ["a tensor of shape %[3%] from outside %-> pass it"] = function(a) return a + x end,
    ["the function returned nil"] = function() end, ["returned a tensor"] = function() return x end,
    ["expected a number or one of the arguments, got string"] = function(a) return a * "b" end,
    ["more than 48 operations"] = function(a) for _ = 1, 60 do a = a + 1 end return a end,
    ["more than 32 different numbers"] = function(a) for i = 1, 40 do a = a + i end return a end,
    ["more than 8 values are needed at once"] = function(a)
      local list = {}
      for i = 1, 12 do list[i] = a * i end
      for i = 1, 12 do a = a + list[i] end
      return a
    end,
  } do t.fails(function() tensor.fuse(fn)(x) end, pattern) end
  t.fails(function() tensor.fuse(3) end, "expected a function of tensors, got number")
  t.fails(function() tensor.fuse(function(a) return a end)() end, "0 arguments, 1 to 8 tensors")
  t.fails(function() tensor.fuse(function(a) return a end)(2) end, "argument 1 is number, expected a tensor")
  t.fails(function() tensor.fuse(function(a, b) return a + b end)(x, tensor.ones(2)) end, "shapes .* do not fit")
end)

t.case("the CUDA source names every step", function()
  local source = tensor.fuse_source(function(a, b) return ((a - b) * 2):exp():clamp(0, 1) end, 2)
  for _, part in ipairs { "__global__ void fused", "float s0 = x0 - x1;", "float s1 = s0 * p.constant[0];",
    "float s2 = expf(s1);", "y[i] = s3;" } do t.ok(source:find(part, 1, true), part) end
end)

t.case("on the reference the ops run one by one", function()
  tensor.use "ref"
  local ok, why = pcall(function()
    t.eq(tensor.fuse(function(a) return a * 3 end)(tensor.ones(2)):tolua(), { 3, 3 })
  end)
  tensor.use "cpu"
  if not ok then error(why, 0) end
end)
