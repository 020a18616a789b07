-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench prefill|decode: the engine at one kind of step, beside what the device can do: products back to back
-- for prefills, a copy within its memory for decoding, which reads weights and caches once a step.
local device = require "kvbench.bench.device"
local shaped = require "kvbench.bench.shaped"
local C = require("kvbench.ffi").C

local M = {}

--- `count` passages of n tokens: real text, cut or repeated; without a tokenizer, numbers.
function M.passages(model, count, n)
  local records = model.tokenizer and require("kvbench.dataset")("base", { size = count }).records
  local texts = {}
  for i = 1, count do
    local ids, out = records and model:ids(records[i].passage), {}
    for j = 1, n do out[j] = ids and ids[(j - 1) % #ids + 1] or (i * 7919 + j * 31) % model.vocab end
    texts[i] = out
  end
  return texts
end

-- Calls fn until `seconds` have passed; calls and seconds.
local function repeated(fn, seconds)
  local start, times = C.kvb_time(), 0
  repeat
    fn()
    times = times + 1
  until C.kvb_time() - start >= seconds
  return times, C.kvb_time() - start
end

--- Prefill of passages of `tokens` tokens until `seconds` have passed.
function M.prefill(model, opt)
  local texts = M.passages(model, 8, opt.tokens)
  local function once()
    for _, ctx in ipairs(model:prefill_many(texts)) do ctx:close() end
  end
  once()
  local passes, seconds = repeated(once, opt.seconds)
  local out = { seconds = seconds, tokens = passes * 8 * opt.tokens, tokens_per_passage = opt.tokens }
  out.tokens_per_s = out.tokens / seconds
  out.tflops, out.limit_tflops = shaped.flops(model, out.tokens, 0) / seconds / 1e12, shaped.limit(model) / 1e12
  out.share_of_limit = out.tflops / out.limit_tflops
  return out
end

--- Batched decoding: `rows` sequences over passages of `tokens` tokens, `new` tokens each. Bytes of a step: the weights
--- of layers and head, and the keys and values of every passage, once.
function M.decode(model, opt)
  local passages = math.min(8, opt.rows)
  local texts = M.passages(model, passages, opt.tokens)
  local contexts = model:prefill_many(texts)
  local function once(new)
    local batch = model:batch { stop_ids = {}, max_bytes = 4 * 2 ^ 30 }
    for i = 1, opt.rows do
      batch:add { ctx = contexts[(i - 1) % passages + 1], ids = { texts[1][i % 16 + 1] }, max_new_tokens = new,
        ignore_stop = true }
    end
    batch:run()
    batch:close()
  end
  once(2)
  local passes, seconds = repeated(function() once(opt.new) end, opt.seconds)
  for _, ctx in ipairs(contexts) do ctx:close() end
  local out = { seconds = seconds, rows = opt.rows, new_tokens = opt.new, tokens = passes * opt.rows * opt.new }
  out.tokens_per_s, out.step_ms = out.tokens / seconds, 1e3 * seconds / (passes * opt.new)
  local element = model.dtype == "f32" and 4 or 2
  out.step_bytes = shaped.flops(model, 1, 1) / 2 * element
    + passages * opt.tokens * 2 * model.layers * model.kv_heads * model.head_dim * element
  out.gb_per_s, out.limit_gb_per_s = out.step_bytes / out.step_ms / 1e6, device.copy_rate(model) / 1e9
  out.share_of_limit = out.gb_per_s / out.limit_gb_per_s
  return out
end

function M.report(out)
  if out.limit_tflops then
    print(("%.4g ms a passage of %d; %.3g TFLOP/s, %.0f %% of the products' %.3g"):format(
      1e3 * out.tokens_per_passage / out.tokens_per_s, out.tokens_per_passage, out.tflops, 100 * out.share_of_limit,
      out.limit_tflops))
  else
    print(("%.4g ms a step of %d rows; %.0f GB/s of weights and caches, %.0f %% of the copy's %.0f"):format(out.step_ms,
      out.rows, out.gb_per_s, 100 * out.share_of_limit, out.limit_gb_per_s))
  end
end

return M
