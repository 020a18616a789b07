-- SPDX-License-Identifier: Apache-2.0
-- Tensors and devices. What needs no GPU is tested everywhere; the rest runs where there is one.
local ffi = require "ffi"
local C = require("kvbench.ffi").C
local tensor = require "kvbench.tensor"
local t = require "kvbench.testing"

t.case("a tensor names its device", function()
  t.eq(tensor.zeros(2, 3).device, "cpu")
  t.eq(tensor.zeros({ 2, 3 }, "u8", { device = "cpu" }).device, "cpu")
end)

t.case("to the device that it is on: itself; to a dtype: a copy", function()
  local x = tensor.from { 1, 2 }
  t.ok(rawequal(x:to "cpu", x) and rawequal(x:cpu(), x))
  t.ok(not rawequal(x:to "f32", x))
  t.eq(x:to("cpu", "i32"):type(), "i32")
end)

t.case("what no device is", function()
  t.fails(function() return tensor.zeros(2, { device = "gpu" }) end, "device 'gpu' is unknown")
  t.fails(function() tensor.use "cuda:x" end, "device 'cuda:x' is unknown %-> cpu, ref, cuda")
  t.fails(function() return tensor.on("tpu", tensor.zeros, 2) end, "device 'tpu' is unknown")
  t.fails(function() return tensor.zeros(2):to "cuda:" end, "dtype 'cuda:' is unknown")
end)

t.case("an error inside tensor.on restores the device", function()
  pcall(tensor.on, "cpu", error, "x")
  t.eq(tensor.zeros(1).device, "cpu")
end)

if C.kvb_cuda_devices() == 0 then
  t.case("without a GPU, one clear line", function()
    t.fails(function() return tensor.zeros(2):cuda() end, "^cuda: ")
  end)
  return
end

t.case("there and back, in every dtype, through views", function()
  for _, dtype in ipairs { "f32", "f16", "bf16", "i32", "u8", "u32", "i64" } do
    local x = tensor.arange(24):view(2, 3, 4):to(dtype)
    local y = x:cuda()
    t.eq(y.device, "cuda:0")
    t.eq(y:tolua(), x:tolua())
    t.eq(y:transpose():cpu():tolua(), x:transpose():tolua())
    t.eq(y:narrow(3, 2, 2):cpu():tolua(), x:narrow(3, 2, 2):tolua())
    t.eq({ y:at(2, 3, 4), y:at(1, -1, 2), y[2]:select(1, 1):at(3) }, { 23, 9, 14 })
  end
end)

t.case("writing into part of a tensor on a GPU", function()
  local x = tensor.zeros(3, 4, { device = "cuda" })
  x:narrow(2, 2, 2):copy_(tensor.from { { 1, 2 }, { 3, 4 }, { 5, 6 } })
  x[3] = 7
  t.eq(x:tolua(), { { 0, 1, 2, 0 }, { 0, 3, 4, 0 }, { 7, 7, 7, 7 } })
  local host = tensor.zeros(4, 3):transpose()
  host:copy_(x)
  t.eq(host:tolua(), x:tolua())
end)

t.case("ops run where their tensors are; constants go anywhere; mixing is an error", function()
  local x = tensor.from({ 3, 1, 2 }):cuda()
  local y = (x + 1) * x
  t.eq({ y.device, y:tolua() }, { "cuda:0", { 12, 2, 6 } })
  t.eq(tensor.where(x:gt(1), x, -1):tolua(), { 3, -1, 2 })
  t.eq(x:max(), 3)
  t.eq((x:rank()):tolua(), { 0, 2, 1 })
  t.fails(function() return x + tensor.from { 1, 2, 3 } end, "binary: one tensor is on cuda:0, another on cpu")
  t.fails(function() return x:pointer() end, "on cuda:0")
  t.ok(tostring(x):find "on cuda:0  1 .. 3", tostring(x))
end)

t.case("tensor.on makes new tensors there, and the result of an op stays there", function()
  local made = tensor.on("cuda", function()
    return { tensor.zeros(2), tensor.arange(3), tensor.rand({ 3 }, "s"), tensor.from { 1 }, tensor.causal_mask(2, 3) }
  end)
  for _, x in ipairs(made) do t.eq(x.device, "cuda:0") end
  t.eq(made[3]:tolua(), tensor.rand({ 3 }, "s"):tolua())
  t.eq(made[5]:tolua(), tensor.causal_mask(2, 3):tolua())
  t.eq(tensor.zeros(1).device, "cpu")
end)

t.case("bytes on a GPU are counted and freed", function()
  local before = tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR))
  local x = tensor.zeros(1000, 1000, { device = "cuda" })
  t.ok(tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)) - before >= 4e6)
  x:close()
  t.ok(tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)) - before < 1000)
end)

t.case("a failed allocation is an error with its size, and the next one works", function()
  C.kvb_memory_fail_nth(2) -- 1 = the storage's own block
  local ok, why = pcall(tensor.new, { 5 }, "f32", "cuda")
  C.kvb_memory_fail_nth(0)
  t.ok(ok or why:find "memory", why) -- new() collects and tries again, so that this succeeds
  t.eq(tensor.new({ 5 }, "f32", "cuda"):size(1), 5)
end)

t.case("keep-sets made of ranks on a GPU equal those of the host", function()
  local keepset = require "kvbench.keep"
  local scores = tensor.rand({ 3, 2, 150 }, "ranks")
  local host, device = scores:rank(-1), scores:cuda():rank(-1)
  for _, n in ipairs { 1, 63, 64, 65, 149, 150 } do
    local a, b = keepset.from_ranks(host, n), keepset.from_ranks(device, n)
    t.eq(a:hash(), b:hash())
    t.eq(b:total(), 6 * n)
  end
  local thresholds = ffi.new("uint32_t[6]", { 1, 2, 64, 100, 0, 150 })
  t.eq(keepset.from_ranks(host, thresholds):hash(), keepset.from_ranks(device, thresholds):hash())
  local bits = scores:gt(0.5)
  t.eq(keepset.from_bits(bits):hash(), keepset.from_bits(bits:cuda()):hash())
  local changed = keepset.from_ranks(device, 10)
  changed:set(0, 0, 0, 150, false)
  t.eq(changed:count(0, 0), 0)
end)
