-- SPDX-License-Identifier: Apache-2.0
local t = require "kvbench.testing"
local ffi = require "ffi"
local harness = require "kvbench.ops_harness"
local kinds = require "kvbench.tensor.kinds"
local tensor = require "kvbench.tensor"
local from = tensor.from

local function eq(a, b, message) t.eq(a:tolua(), b, message) end

local function near(a, b, tol)
  if type(b) ~= "table" then return t.near(a, b, tol) end
  t.eq(#a, #b)
  for i = 1, #b do near(a[i], b[i], tol) end
end

t.case("construction", function()
  eq(tensor.zeros(2, 3), { { 0, 0, 0 }, { 0, 0, 0 } })
  eq(tensor.ones({ 2 }, "i32"), { 1, 1 })
  eq(tensor.full({ 2 }, -7.5), { -7.5, -7.5 })
  eq(tensor.arange(4), { 0, 1, 2, 3 })
  eq(tensor.arange(1, 2, 0.25), { 1, 1.25, 1.5, 1.75 })
  eq(from { { 1, 2 }, { 3, 4 } }, { { 1, 2 }, { 3, 4 } })
  t.eq(from(5):tolua(), 5)
  t.eq(from({ 300, -2, 2.9 }, "u8"):type(), "u8")
  t.fails(function() from { { 1, 2 }, { 3 } } end, "ragged")
  t.fails(function() tensor.zeros(2, -1) end, "size 2 is not a whole number")
  t.fails(function() tensor.zeros(1, 1, 1, 1, 1, 1) end, "at most 5")
  t.fails(function() tensor.zeros({ 2 }, "f64") end, "dtype 'f64' is unknown")
  t.fails(function() tensor.zeros(2 ^ 40, 2 ^ 40) end, "larger than")
end)

t.case("sizes, types, unknown names", function()
  local a = tensor.zeros(2, 3, 4)
  t.eq(a:size(), { 2, 3, 4 })
  t.eq({ a:size(1), a:size(-1), a:dim(), a:numel(), a:type(), #a }, { 2, 4, 3, 24, "f32", 2 })
  t.fails(function() a:size(4) end, "dimension 4 of a tensor of shape %[2, 3, 4%]")
  t.fails(function() a:size(0) end, "dimension 0")
  t.fails(function() return a.narow end, "no method or field 'narow' %-> did you mean 'narrow'")
  t.fails(function() return a < a end, "a:lt%(b%)")
end)

t.case("views share storage", function()
  local a = tensor.arange(24):view(2, 3, 4)
  eq(a[2][3], { 20, 21, 22, 23 })
  t.eq(a:at(2, 3, -1), 23)
  eq(a:narrow(3, 2, 2):select(1, 1), { { 1, 2 }, { 5, 6 }, { 9, 10 } })
  eq(a:slice(3, -2):select(1, -1):select(1, 1), { 14, 15 })
  eq(a:slice(2, 2, 2):squeeze(), { { 4, 5, 6, 7 }, { 16, 17, 18, 19 } })
  t.eq(a:permute(3, 1, 2):size(), { 4, 2, 3 })
  t.eq(a:permute(3, 1, 2):at(4, 2, 1), 15)
  t.eq(a:transpose(1, 3):at(2, 3, 2), 21)
  t.eq(a:transpose():size(), { 2, 4, 3 })
  t.eq(a:unsqueeze(2):size(), { 2, 1, 3, 4 })
  t.eq(a:unsqueeze(-1):size(), { 2, 3, 4, 1 })
  t.eq(a:unsqueeze(2):squeeze(2):size(), { 2, 3, 4 })
  t.eq(a:squeeze(1):size(), { 2, 3, 4 })
  eq(from({ 1, 2 }):view(2, 1):expand(2, 3), { { 1, 1, 1 }, { 2, 2, 2 } })
  t.eq(from({ 1, 2 }):expand(3, -1):size(), { 3, 2 })
  a[1][2]:fill_(-1)
  t.eq(a:at(1, 2, 3), -1)
  a[2] = 9
  t.eq(a:at(2, 1, 1), 9)
  a[1][1] = from { 4, 3, 2, 1 }
  eq(a[1][1], { 4, 3, 2, 1 })
  t.fails(function() a:narrow(1, 2, 2) end, "2 elements from 2 do not lie inside dimension 1 of size 2")
  t.fails(function() return a[3] end, "index 3 is outside dimension 1 of size 2")
  t.fails(function() a:expand(2, 3, 5) end, "cannot be repeated to %[2, 3, 5%]")
  t.fails(function() a:permute(1, 1, 2) end, "not an order")
end)

t.case("reshape is a view where one exists", function()
  local a = tensor.arange(24):view(2, 3, 4)
  t.eq(a:view(6, -1):size(), { 6, 4 })
  local split = a:narrow(3, 1, 2):view(6, 2) -- rows of 4, two used
  eq(split:select(1, 4), { 12, 13 })
  eq(a:transpose(1, 2):reshape(6, 4):select(1, 2), { 12, 13, 14, 15 })
  eq(a:transpose(2, 3):view(2, 2, 2, 3):select(1, 1)[2][1], { 2, 6, 10 })
  t.fails(function() a:transpose(1, 2):view(6, 4) end, "needs a copy %-> reshape")
  t.fails(function() a:view(5, -1) end, "24 elements cannot become shape %[5, %-1%]")
  eq(from({ 1, 2 }):view(2, 1):expand(2, 3):reshape(-1), { 1, 1, 1, 2, 2, 2 })
  t.eq(tensor.zeros(0, 3):view(3, 0, 2):size(), { 3, 0, 2 })
  eq(from({ 5 }):view(1, 1):reshape({}):view(1), { 5 })
  t.ok(a:contiguous():is_contiguous() and a:transpose():contiguous():is_contiguous())
end)

t.case("arithmetic broadcasts", function()
  local a, row, column = from { { 1, 2 }, { 3, 4 } }, from { 10, 20 }, from { { 1 }, { 2 } }
  eq(a + row, { { 11, 22 }, { 13, 24 } })
  eq(a - column, { { 0, 1 }, { 1, 2 } })
  eq(2 / a, { { 2, 1 }, { 2 / 3 - (2 / 3 - tonumber(ffi.new("float", 2 / 3))), 0.5 } })
  eq(-a * 3 + 1, { { -2, -5 }, { -8, -11 } })
  eq(a ^ 2, { { 1, 4 }, { 9, 16 } })
  eq(2 ^ a, { { 2, 4 }, { 8, 16 } })
  eq(a:gt(2), { { 0, 0 }, { 1, 1 } })
  eq(a:maximum(row / 5), { { 2, 4 }, { 3, 4 } })
  eq(row + column + from { { { 100 } } }, { { { 111, 121 }, { 112, 122 } } })
  eq(from({ 250, 3 }, "u8") + 10, { 260, 13 })
  t.fails(function() return a + from { 1, 2, 3 } end,
    "add: shapes %[2, 2%] and %[3%] do not fit: 2 and 3 in dimension 2")
  t.fails(function() return a + "x" end, "add: expected a tensor, got string")
end)

t.case("NaN and infinities stay visible", function()
  local nan = 0 / 0
  local a = from { 1, nan, -math.huge, 0 }
  local text = tostring(a)
  t.ok(text:find "1 NaN" and text:find "1 inf" and text:find "f32 %[4%]" and text:find "%[1, nan, %-inf, 0%]", text)
  t.ok(a:max() ~= a:max() and a:sum() ~= a:sum())
  t.eq(a:argmax(), 2)
  t.eq(tensor.locate_nan(a:view(2, 2)), { 1, 2 })
  t.eq(tensor.locate_nan(from { 1, math.huge }), nil)
  t.fails(function() a:rank() end, "NaN at position 1 of row 0")
  eq(tensor.where(from { 1, 0 }, from { 7, nan }, 3), { 7, 3 })
  t.eq(tostring(tensor.zeros(0, 2)), "tensor f32 [0, 2] (empty)")
end)

-- Values from numpy/torch by hand: the kinds of every generic op, by name.
t.case("every unary and binary kind by value", function()
  local unary = { neg = -0.5, exp = 1.6487213, log = -0.6931472, sqrt = 0.70710678, abs = 0.5, cos = 0.87758256,
    sin = 0.47942554, tanh = 0.46211716, sigmoid = 0.62245933, floor = 0, round = 0, erf = 0.52049988 }
  for name, value in pairs(unary) do t.near(from({ 0.5 })[name](from { 0.5 }):at(1), value, 1e-6, name) end
  eq(from({ -3, 0.5, 9 }):clamp(-1, 2), { -1, 0.5, 2 })
  eq(from({ -3 }):abs(), { 3 })
  eq(from({ -1.5, -0.5, 0.5, 1.5, 2.5, 2.51 }):round(), { -2, 0, 0, 2, 2, 3 })
  eq(from({ -1.5, 1.5 }):floor(), { -2, 1 })
  local binary = { add = 5, sub = -1, mul = 6, div = 2 / 3, pow = 8, maximum = 3, minimum = 2, lt = 1, le = 1, gt = 0,
    ge = 0, eq = 0, ne = 1 }
  for name, value in pairs(binary) do t.near(from({ 2 })[name](from { 2 }, from { 3 }):at(1), value, 1e-6, name) end
  eq(from({ 2 }):le(2), { 1 })
  eq(from({ 2 }):lt(2), { 0 })
  eq(from({ 2 }):ge(2), { 1 })
  for kind in pairs(kinds.unary) do t.ok(unary[kind] or kind == "clamp", kind) end
  for kind in pairs(kinds.binary) do t.ok(binary[kind], kind) end
end)

t.case("reductions drop their dimension; without one they are numbers", function()
  local a = from { { 1, 2, 6 }, { -4, 0, 1 } }
  eq(a:sum(2), { 9, -3 })
  eq(a:sum(1), { -3, 2, 7 })
  eq(a:mean(-1), { 3, -1 })
  eq(a:min(1), { -4, 0, 1 })
  eq(a:max(2), { 6, 1 })
  eq(a:argmax(2), { 3, 3 })
  eq(a:argmin(1), { 2, 2, 2 })
  eq(a:var(2), { 7, 7 })
  eq(a:var(2, 0), { 14 / 3 - (14 / 3 - tonumber(ffi.new("float", 14 / 3))), tonumber(ffi.new("float", 14 / 3)) })
  near(a:std(2):tolua(), { math.sqrt(7), math.sqrt(7) }, 1e-6)
  near(a:norm(1):tolua(), { math.sqrt(17), 2, math.sqrt(37) }, 1e-6)
  eq(a:norm(2, 1), { 9, 5 })
  eq(a:norm(2, math.huge), { 6, 4 })
  near(a:logsumexp(2):tolua(), { math.log(math.exp(1) + math.exp(2) + math.exp(6)),
    math.log(math.exp(-4) + 1 + math.exp(1)) }, 1e-6)
  t.eq({ a:sum(), a:mean(), a:min(), a:max() }, { 6, 1, -4, 6 })
  t.eq({ a:transpose():argmax(), a:argmin() }, { 5, 4 })
  near(a:softmax(2):tolua()[2], { 0.00491, 0.26806, 0.72703 }, 5e-4)
  t.near(a:softmax(1):sum(), 3, 1e-6)
  eq(a:cumsum(2), { { 1, 3, 9 }, { -4, -4, -3 } })
  eq(a:cumsum(1)[2], { -3, 2, 7 })
  t.fails(function() tensor.zeros(3, 0):max(2) end, "no elements")
  eq(tensor.zeros(3, 0):sum(2), { 0, 0, 0 })
end)

t.case("order: stable, -0 equals 0", function()
  local a = from { { 3, 1, 3, -0 }, { 0, -0, -1, 5 } }
  eq(a:rank(), { { 0, 2, 1, 3 }, { 1, 2, 3, 0 } })
  eq(a:argsort(), { { 4, 2, 1, 3 }, { 3, 1, 2, 4 } })
  eq(a:argsort(2, true), { { 1, 3, 2, 4 }, { 4, 1, 2, 3 } })
  local values, index = a:sort(1, true)
  eq(values, { { 3, 1, 3, 5 }, { 0, 0, -1, 0 } })
  eq(index, { { 1, 1, 1, 2 }, { 2, 2, 2, 1 } })
  eq(a:rank(1), { { 0, 0, 0, 1 }, { 1, 1, 1, 0 } })
  values, index = a:topk(2)
  eq(values, { { 3, 3 }, { 5, 0 } })
  eq(index, { { 1, 3 }, { 4, 1 } })
  t.fails(function() a:topk(5) end, "topk: 5 of the 4")
end)

t.case("picking and joining", function()
  local a = from { { 1, 2, 3 }, { 4, 5, 6 } }
  eq(a:gather(2, from({ { 3, 1 }, { 2, 2 } }, "i32")), { { 3, 1 }, { 5, 5 } })
  eq(a:index_select(2, { 3, 3, 1 }), { { 3, 3, 1 }, { 6, 6, 4 } })
  eq(a:index_select(1, from({ 2 }, "i32")), { { 4, 5, 6 } })
  eq(tensor.cat({ a, a:narrow(2, 1, 1) }, 2), { { 1, 2, 3, 1 }, { 4, 5, 6, 4 } })
  eq(tensor.cat({ a, a:narrow(1, 2, 1) }, 1), { { 1, 2, 3 }, { 4, 5, 6 }, { 4, 5, 6 } })
  eq(tensor.stack({ a[1], a[2] }, 2), { { 1, 4 }, { 2, 5 }, { 3, 6 } })
  eq(a:pad(1, 2, math.huge)[1], { math.huge, 1, 2, 3, math.huge, math.huge })
  t.fails(function() a:index_select(2, { 4 }) end, "index 4 is outside dimension 2 of size 3")
  t.fails(function() tensor.cat({ a, from { { 1 } } }, 2) end, "cat: shapes %[2, 3%] and %[1, 1%]")
end)

t.case("products", function()
  local a, b = from { { 1, 2 }, { 3, 4 }, { 5, 6 } }, from { { 1, 0, 2 }, { 0, 1, -1 } }
  eq(a:matmul(b), { { 1, 2, 0 }, { 3, 4, 2 }, { 5, 6, 4 } })
  eq(a:transpose():matmul(a), { { 35, 44 }, { 44, 56 } })
  local batch = tensor.stack({ a, a * 2 }, 1)
  eq(batch:matmul(b)[2], { { 2, 4, 0 }, { 6, 8, 4 }, { 10, 12, 8 } })
  t.eq(batch:unsqueeze(1):matmul(tensor.ones(4, 1, 2, 5)):size(), { 4, 2, 3, 5 })
  eq(a:vecdot(from { 1, -1 }), { -1, -1, -1 })
  t.fails(function() a:matmul(a) end, "matmul: shapes %[3, 2%] and %[3, 2%] do not fit: 2 columns and 3 rows")
  t.fails(function() a:matmul(b[1]) end, "matmul: shapes %[3, 2%] and %[3%] do not fit: 2 columns and 3 rows")
  t.fails(function() a:matmul(from(1)) end, "both need a dimension")
end)

t.case("pooling, heads, masks", function()
  local a = from { 1, 2, 3, 4 }
  near(a:avg_pool1d(3, 1):tolua(), { 1, 2, 3, 7 / 3 }, 1e-6)
  near(a:avg_pool1d(3, 1, { count_include_pad = false }):tolua(), { 1.5, 2, 3, 3.5 }, 1e-6)
  eq(a:max_pool1d(3, 1), { 2, 3, 4, 4 })
  eq(a:avg_pool1d(2, 0, { stride = 2 }), { 1.5, 3.5 })
  local heads = tensor.arange(12):view(1, 6, 2)
  eq(heads:group_mean(3), { { { 2, 3 }, { 8, 9 } } })
  t.eq(heads:split_heads(3):size(), { 1, 2, 3, 2 })
  t.fails(function() heads:group_mean(4) end, "dimension 2 of shape %[1, 6, 2%] cannot be split into groups of 4")
  local inf = -math.huge
  eq(tensor.causal_mask(2, 4), { { 0, 0, 0, inf }, { 0, 0, 0, 0 } })
end)

t.case("randomness comes from a seed and an index", function()
  local a = tensor.rand({ 4, 100 }, "seed")
  eq(a, tensor.rand({ 4, 100 }, "seed"):tolua())
  eq(tensor.rand({ 2, 100 }, "seed", 200), a:slice(1, 3):tolua())
  t.ok(a:min() >= 0 and a:max() < 1)
  t.near(a:mean(), 0.5, 0.05)
  t.near(tensor.randn({ 5000 }, 1):std(), 1, 0.05)
  t.fails(function() tensor.rand({ 2 }) end, "needs a seed")
  -- SplitMix64 with seed s, element 0, as its authors publish it for state s = 1234567: 6457827717110365317
  local one = tensor.zeros(1)
  require("kvbench.tensor.core").run("uniform", one, 1234567ULL, 0)
  t.near(one:at(1), math.floor(6457827717110365317 / 2 ^ 40) / 2 ^ 24, 1e-9)
end)

t.case("memory: views keep storage, scopes free, closing is final", function()
  collectgarbage() collectgarbage()
  local before = tensor.bytes()
  local kept
  local result = tensor.scope(function()
    local a = tensor.ones(1000, 100)
    for _ = 1, 20 do a = a + 1 end
    kept = tensor.persist(tensor.ones(10))
    return a:narrow(1, 1, 2)
  end)
  t.near(tensor.bytes() - before, 400000 + 40, 2000, "one storage and the persisted one are left")
  t.eq(result:at(2, 5), 21)
  t.eq(kept:sum(), 10)
  local escaped
  tensor.scope(function() escaped = tensor.ones(3) end)
  t.fails(function() return escaped + 1 end, "missing or closed")
  t.fails(function() tensor.scope(function() error("inside", 0) end) end, "^inside$")
  result:close()
  result:close()
  t.eq(tostring(result), "tensor (closed)")
  for _ = 1, 400 do tensor.ones(250000) end -- 400 MB of garbage: the collector must be run for it
  t.ok(tensor.bytes() < 300e6, tensor.bytes() .. " bytes live")
  kept, escaped = nil, nil
  collectgarbage() collectgarbage()
  t.eq(tensor.bytes(), before)
end)

t.case("the reference backend gives the same", function()
  local a = tensor.randn({ 3, 40 }, 5)
  local fast = a:softmax(-1)
  tensor.use "ref"
  local slow = a:softmax(-1)
  tensor.use "cpu"
  t.ok((fast - slow):abs():max() < 1e-7)
  t.fails(function() tensor.use "tpu" end, "device 'tpu'")
end)

-- ---- the op harness must be able to fail ----

local function verdict(name, build, case)
  local calls, printed, print_before = 0, {}, print
  _G.print = function(line) printed[#printed + 1] = line end
  local backends = harness.backends
  harness.backends = function() return { backends()[1] } end
  local ok, passed, failed = pcall(harness.run, { op = name, cases = { case or {} }, build = function(c, h)
    calls = calls + 1
    return build(h, calls, c) -- the reference is built first
  end }, { script = "tests/ops/run.lua" })
  _G.print, harness.backends = print_before, backends
  if not ok then error(passed, 0) end
  return passed, failed, table.concat(printed, "\n")
end

t.case("harness: wrong values, NaN, canaries, changed inputs", function()
  local passed, failed, text = verdict("unary", function(h) return h:input { 5 }, h:output { 5 }, 0, 0, 0 end)
  t.eq({ passed, failed, text }, { 1, 0, "" })
  passed, failed, text = verdict("unary", function(h, n) return h:input { 5 }, h:output { 5 }, n == 1 and 0 or 4, 0,
    0 end)
  t.eq({ passed, failed }, { 0, 1 })
  t.ok(text:find("kvbench tests/ops/run.lua --op unary --case 1", 1, true) and text:find "seed 'unary/1'", text)
  _, failed, text = verdict("unary", function(h, n) return h:input { 5 }, h:output { 5 }, n == 1 and 0 or 2, 0, 0 end,
    { tol = math.huge, why = "x" })
  t.ok(failed == 1 and text:find "NaN on one side", text)
  _, failed, text = verdict("unary", function(h, n)
    local x, y = h:input { 5 }, h:output { 5 }
    if n == 2 then
      y = tensor.from({ 0 }):expand(5):narrow(1, 1, 5)
      y.data = ffi.cast("float *", h.outputs[1].view.data) - 1
      y.stride[0] = 1
    end
    return x, y, 0, 0, 0
  end, { tol = math.huge, why = "only the canaries are looked at", special = true })
  t.eq(failed, 1, text)
  _, failed, text = verdict("unary", function(h) local x = h:input { 5 } h:output { 5 } return x, x, 0, 0, 0 end)
  t.ok(failed == 1 and text:find "input 1 was changed", text)
end)
