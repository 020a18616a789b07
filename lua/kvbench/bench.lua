-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench {prefill,decode,sweep}: what this machine does, as JSON with --json (one object on stdout, nothing
-- else).
--
-- Real weights and real texts; warmed up once; stop tokens ignored so that the work does not depend on the answers.
-- `sweep` is the comparison with KVPress 0.5.5: the base task (about 250 context tokens), three presses by nine ratios
-- and the full cache, 15-token questions, 24 new tokens.
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local C = library.C

local M = {}

-- Per continuation of this work: KVPress 0.5.5, torch bf16, 2 idle AMX cores (docs/benchmarks.md).
local PEER_SECONDS = 1.04

-- Token ids of real text, cut or repeated to n.
local function passage_ids(model, record, n)
  local ids, out = model:ids(record.passage), {}
  for i = 1, n do out[i] = ids[(i - 1) % #ids + 1] end
  return out
end

local function base(model, seconds, opt)
  return {
    bench = opt.what, model = model.name, model_hash = model.hash, parameters = model.parameters, dtype = model.dtype,
    device = model.device, tier = model.tier, cpu = ffi.string(C.kvb_cpu_name()), threads = C.kvb_threads(),
    seconds = seconds, peak_bytes = tonumber(C.kvb_process_peak_bytes()), weight_bytes = model.bytes,
    fallbacks = tonumber(C.kvb_fallbacks()),
    version = ffi.string(C.kvb_version()), revision = ffi.string(C.kvb_git_revision()), buckets = model.buckets,
  }
end

local benches = {}

--- Prefill of passages of `tokens` tokens until `seconds` have passed.
function benches.prefill(model, opt)
  local records = require("kvbench.dataset")("base", { size = 8 }).records
  local texts = {}
  for i = 1, 8 do texts[i] = passage_ids(model, records[i], opt.tokens) end
  local function once()
    for _, ctx in ipairs(model:prefill_many(texts)) do ctx:close() end
  end
  once()
  local start, passes = C.kvb_time(), 0
  repeat
    once()
    passes = passes + 1
  until C.kvb_time() - start >= opt.seconds
  local seconds = C.kvb_time() - start
  local out = base(model, seconds, opt)
  out.tokens, out.tokens_per_passage = passes * 8 * opt.tokens, opt.tokens
  out.tokens_per_s = out.tokens / seconds
  return out
end

--- Batched decoding: `rows` sequences over passages of `tokens` tokens, `new` tokens each.
function benches.decode(model, opt)
  local records = require("kvbench.dataset")("base", { size = 8 }).records
  local texts = {}
  for i = 1, 8 do texts[i] = passage_ids(model, records[i], opt.tokens) end
  local contexts = model:prefill_many(texts)
  local function once(new)
    local batch = model:batch { stop_ids = {}, max_bytes = 4 * 2 ^ 30 }
    for i = 1, opt.rows do
      batch:add { ctx = contexts[(i - 1) % 8 + 1], ids = { texts[1][i % 16 + 1] }, max_new_tokens = new,
        ignore_stop = true }
    end
    batch:run()
    batch:close()
  end
  once(2)
  local start, passes = C.kvb_time(), 0
  repeat
    once(opt.new)
    passes = passes + 1
  until C.kvb_time() - start >= opt.seconds
  local seconds = C.kvb_time() - start
  local out = base(model, seconds, opt)
  out.rows, out.new_tokens, out.tokens = opt.rows, opt.new, passes * opt.rows * opt.new
  out.tokens_per_s = out.tokens / seconds
  return out
end

--- The default sweep; `passages` bounds it (0 = as many as fit into `seconds`, judged from the first).
function benches.sweep(model, opt)
  local dataset = require("kvbench.dataset")("base", { size = 200 })
  local sweep = require "kvbench.sweep"
  -- 15-token questions: cut or padded with its own words, so that the work is the same whatever the question
  local function part(from, to)
    local records = {}
    for i = from, to do
      local record = dataset.records[(i - 1) % 200 + 1]
      records[#records + 1] = setmetatable({ id = record.id .. "#" .. i }, { __index = record })
    end
    return { task = "base", seed = "A", records = records, hash = dataset.hash,
      generator_hash = dataset.generator_hash }
  end
  local function once(from, to)
    return sweep.run { model = model, dataset = part(from, to), presses = { "ea", "adakv", "chunk" }, ratios = "paper",
      evictable = "context", style = "paper", idk_example = false, ignore_stop = true, max_new_tokens = opt.new,
      question_tokens = 15, quiet = true, score = false }
  end
  local started = C.kvb_time()
  once(1, 1)
  local each = C.kvb_time() - started
  local n = opt.passages > 0 and opt.passages or math.max(2, math.floor(opt.seconds / each))
  local run = once(2, n + 1)
  local out = base(model, run.seconds, opt)
  out.continuations, out.passages, out.presses, out.ratios = #run.rows, n, { "ea", "adakv", "chunk" }, 9
  out.question_tokens, out.new_tokens = 15, opt.new
  out.context_tokens = run.rows[1].context_tokens
  out.continuations_per_s = #run.rows / run.seconds
  out.rows, out.padded_rows, out.steps = run.model_rows, run.model_padded_rows, run.model_steps
  out.tokens_per_s = out.rows / run.seconds
  out.cache_peak_bytes = tonumber(C.kvb_memory_peak(C.KVB_MEM_CACHE))
  out.peer = { name = "KVPress 0.5.5", seconds_per_continuation = PEER_SECONDS }
  out.times_peer = PEER_SECONDS * out.continuations_per_s
  return out
end

local function report(out)
  if out.bench == "sweep" then
    local line = "%.1f continuations/s (%d in %.1f s), %.0f rows/s, "
      .. "%.0f x KVPress' %.2f s each (measured on 2 AMX cores)"
    print(line:format(out.continuations_per_s, out.continuations, out.seconds, out.tokens_per_s, out.times_peer,
      PEER_SECONDS))
  else
    print(("%.0f tokens/s (%d in %.1f s)"):format(out.tokens_per_s, out.tokens, out.seconds))
  end
  print(("%s, %s, %s, %d threads, %s; peak memory %.2f GiB"):format(out.model, out.dtype, out.tier, out.threads,
    out.cpu, out.peak_bytes / 2 ^ 30))
end

--- `kvbench bench ...` with the words after it; returns the exit status.
function M.main(words)
  local what = table.remove(words, 1)
  local args = require "kvbench.args"
  if not what or what:sub(1, 1) == "-" or not benches[what] then
    local text = require "kvbench.text"
    local near = what and text.suggest(what, { "prefill", "decode", "sweep" })
    local why = what and ("no benchmark '%s' %s; "):format(what, near) or ""
    error(args.finish(2, why .. "usage: kvbench bench {prefill,decode,sweep} [--json]"), 0)
  end
  local opt = args.parse({ model = "smollm2", seconds = what == "sweep" and 30 or 5, tokens = 256, rows = 256,
    new = 24, passages = 0, json = false }, words)
  if not opt then return 0 end
  opt.what = what
  local model = require("kvbench.model").load(opt.model, { device = options.device, dtype = options.dtype })
  local out = benches[what](model, opt)
  if opt.json then print(json.encode(out)) else report(out) end
  return 0
end

return M
