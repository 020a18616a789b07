-- SPDX-License-Identifier: Apache-2.0
-- Benchmarks of the device itself: its products (gemm), its attention, and its limits (peak).
local ffi = require "ffi"
local library = require "kvbench.ffi"
local shaped = require "kvbench.bench.shaped"
local C, check = library.C, library.check

local M = {}

local PRODUCTS = { "qkv", "o", "gate_up", "down", "lm_head" }

-- Seconds a pass and operations a second of one product (0-4) or of the layers' four (-1), for about `seconds`.
local function rate(model, which, rows, seconds)
  local s, f = ffi.new("double[1]"), ffi.new("double[1]")
  check(C.kvb_bench_products(model:pointer(), which, rows, 1, s, f))
  local repeats = math.max(1, math.min(1000, math.ceil(seconds / math.max(s[0], 1e-6))))
  check(C.kvb_bench_products(model:pointer(), which, rows, repeats, s, f))
  return s[0] / repeats, f[0] / s[0]
end

--- Every product of the model at every row bucket, and the four of a layer in sequence.
function M.gemm(model, opt)
  local out = { buckets = {} }
  for i, rows in ipairs(model.buckets) do
    local row = { rows = rows, products = {} }
    local all_seconds, all_flops = rate(model, -1, rows, opt.seconds / 20)
    row.layers_seconds, row.layers_tflops = all_seconds, all_flops / 1e12
    for which, name in ipairs(PRODUCTS) do
      if rows <= 2048 or which < 5 then -- the head runs 2,048 rows at a time
        local _, flops = rate(model, which - 1, rows, opt.seconds / 40)
        row.products[name] = flops / 1e12
      end
    end
    out.buckets[i] = row
  end
  return out
end

function M.report_gemm(out)
  print("  rows    layers        qkv          o    gate_up       down    lm_head   TFLOP/s")
  for _, row in ipairs(out.buckets) do
    local p = row.products
    print(("%6d %9.2f %10.2f %10.2f %10.2f %10.2f %10s"):format(row.rows, row.layers_tflops, p.qkv, p.o, p.gate_up,
      p.down, p.lm_head and ("%.2f"):format(p.lm_head) or "-"))
  end
end

--- Bytes a second, read and written, of copies within the device's memory; and the size of a copy.
function M.copy_rate(model)
  local gpu = model.device:find "^cuda" ~= nil
  local bytes, repeats, s = gpu and 2 ^ 30 or 2 ^ 28, gpu and 50 or 5, ffi.new "double[1]"
  local number = gpu and C.KVB_DEVICE_CUDA + tonumber(model.device:match "%d+$" or 0) or C.KVB_DEVICE_CPU
  check(C.kvb_bench_copy(number, bytes, repeats, s))
  return 2 * bytes * repeats / s[0], bytes
end

--- Copy within the device's memory and products of 8,192 (CPU: 2,048) rows and columns: what the device can do.
function M.peak(model, opt)
  local gpu = model.device:find "^cuda" ~= nil
  local side = gpu and 8192 or 2048
  local square = require("kvbench.model").random({ layers = 1, hidden = side, heads = side / 128, kv_heads = side / 128,
    head_dim = 128, ffn = side, vocab = 256, max_positions = 1024, norm_eps = 1e-5 },
    { device = model.device, dtype = model.dtype })
  local _, flops = rate(square, 1, square.buckets[#square.buckets], opt.seconds / 2)
  square:close()
  local rate, size = M.copy_rate(model)
  return { gemm_side = side, gemm_tflops = flops / 1e12, copy_bytes = size, copy_gb_per_s = rate / 1e9,
    layers_tflops = shaped.limit(model) / 1e12 }
end

function M.report_peak(out)
  print(("products of %d: %.1f TFLOP/s; this model's layers: %.1f; copy: %.0f GB/s read and written"):format(
    out.gemm_side, out.gemm_tflops, out.layers_tflops, out.copy_gb_per_s))
end

-- Prefill and appended questions at growing contexts, with the parts of the steps timed on the device.
local function parts_of(model, fn)
  local s = ffi.new("double[5]")
  check(C.kvb_profile_set(model:pointer(), 1))
  local ok, err = pcall(fn)
  if ok then check(C.kvb_profile_read(model:pointer(), s)) end
  C.kvb_profile_set(model:pointer(), 0)
  if not ok then error(err, 0) end
  return { products = s[0], attention = s[1], rest = s[2], head = s[3], all = s[4] }
end

--- Attention's share of prefill and of a sweep at several passage lengths; GPUs only.
function M.attention(model, opt)
  local out = { lengths = {} }
  for _, tokens in ipairs(opt.lengths or { 60, 250, 1450, 4096 }) do
    if tokens + 64 <= model.max_positions then
      local ids = {}
      for i = 1, tokens do ids[i] = i * 7919 % model.vocab end
      local prefill = parts_of(model, function()
        local texts = {}
        for i = 1, math.max(1, math.floor(8192 / tokens)) do texts[i] = ids end
        for _, ctx in ipairs(model:prefill_many(texts)) do ctx:close() end
      end)
      local shape = { passages = math.max(1, math.floor(4000 / tokens)), tokens = tokens, questions = 10,
        question_tokens = 15, new_tokens = 8, presses = { "random" }, ratios = shaped.ratios }
      local sweep = parts_of(model, function() shaped.run(model, shape) end)
      out.lengths[#out.lengths + 1] = { tokens = tokens, prefill = prefill, sweep = sweep }
    end
  end
  return out
end

function M.report_attention(out)
  print("tokens   prefill: products  attention   rest   head   sweep: products  attention   rest   head   (% of GPU time)")
  for _, row in ipairs(out.lengths) do
    local p, s = row.prefill, row.sweep
    print(("%6d %17.1f %10.1f %6.1f %6.1f %16.1f %10.1f %6.1f %6.1f"):format(row.tokens, 100 * p.products / p.all,
      100 * p.attention / p.all, 100 * p.rest / p.all, 100 * p.head / p.all, 100 * s.products / s.all,
      100 * s.attention / s.all, 100 * s.rest / s.all, 100 * s.head / s.all))
  end
end

return M
