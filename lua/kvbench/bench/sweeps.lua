-- SPDX-License-Identifier: Apache-2.0
-- The sweeps that kvbench bench runs: the comparison with KVPress, one of any shape, and either on several GPUs.
-- base(model, seconds, opt) gives the fields that every benchmark has.
local fleet = require "kvbench.fleet"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local shaped = require "kvbench.bench.shaped"
local C = library.C

local M = {}

-- Per continuation of this work: KVPress 0.5.5, torch bf16, 2 idle AMX cores (docs/benchmarks.md).
M.PEER_SECONDS = 1.04

--- The default sweep; `passages` bounds it (0 = as many as fit into `seconds`, judged from the first).
function M.default(model, opt, base)
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
  local observed = {}
  for what in opt.observe:gmatch "[^,]+" do observed[#observed + 1] = what end
  local function once(from, to)
    return sweep.run { model = model, dataset = part(from, to), presses = { "ea", "adakv", "chunk" }, ratios = "paper",
      evictable = "context", style = "paper", idk_example = false, ignore_stop = true, max_new_tokens = opt.new,
      question_tokens = 15, quiet = true, score = false,
      observe = #observed > 0 and observed or nil, teacher = opt.teacher }
  end
  local started = C.kvb_time()
  once(1, 1)
  local each = C.kvb_time() - started
  local n = opt.passages > 0 and opt.passages or math.max(2, math.floor(opt.seconds / each))
  local run = once(2, n + 1)
  local out = base(model, run.seconds, opt)
  out.continuations, out.passages, out.presses, out.ratios = #run.rows, n, { "ea", "adakv", "chunk" }, 9
  out.observe, out.teacher = observed, opt.teacher
  out.question_tokens, out.new_tokens = 15, opt.new
  out.context_tokens = run.rows[1].context_tokens
  out.continuations_per_s = #run.rows / run.seconds
  out.rows, out.padded_rows, out.steps = run.model_rows, run.model_padded_rows, run.model_steps
  out.tokens_per_s = out.rows / run.seconds
  out.cache_peak_bytes = tonumber(C.kvb_memory_peak(C.KVB_MEM_CACHE))
  out.peer = { name = "KVPress 0.5.5", seconds_per_continuation = M.PEER_SECONDS }
  out.times_peer = M.PEER_SECONDS * out.continuations_per_s
  return out
end

-- The part of n that falls to this worker, or all of it.
local function share(n)
  local shard = fleet.shard()
  if not shard then return n end
  return math.floor(n * (shard.index + 1) / shard.count) - math.floor(n * shard.index / shard.count)
end

--- A sweep of the shape given by --tokens, --questions, --question-tokens, --new and --passages.
function M.shaped(model, opt, base)
  local shape = { tokens = opt.tokens, questions = opt.questions, question_tokens = opt.question_tokens,
    new_tokens = opt.new, presses = { "ea", "adakv", "chunk" }, ratios = shaped.ratios, passages = opt.passages,
    trunk = opt.trunk }
  if shape.passages > 0 then
    local warm = setmetatable({ passages = 1 }, { __index = shape })
    shaped.run(model, warm)
    shape.passages = share(shape.passages)
  else
    shape.passages = math.max(1, math.ceil(600 / (28 * shape.questions)))
    local first = shaped.run(model, shape)
    shape.passages = math.max(1, math.ceil(shape.passages * opt.seconds / first.seconds))
  end
  local limit = shaped.limit(model)
  fleet.barrier()
  local from = C.kvb_time()
  local work = shaped.run(model, shape)
  local out = base(model, work.seconds, opt)
  for name, value in pairs(work) do out[name] = value end
  out.from, out.to = from, C.kvb_time() -- on the clock that all processes of a machine share
  out.shape, out.continuations_per_s = shape, work.continuations / work.seconds
  out.tokens_per_s = (work.rows + work.prefilled) / work.seconds
  out.tflops, out.limit_tflops = work.flops / work.seconds / 1e12, limit / 1e12
  out.share_of_limit = out.tflops / out.limit_tflops
  out.memory_limit_bytes = opt.memory > 0 and opt.memory or nil
  out.allocated_peak_bytes = tonumber(C.kvb_memory_peak(C.KVB_MEM_ALL))
  out.cache_peak_bytes = tonumber(C.kvb_memory_peak(C.KVB_MEM_CACHE))
  return out
end

--- One worker a GPU; what they did together in the time from the first one's start to the last one's end.
function M.on_devices(devices, opt)
  if opt.what ~= "sweep" then error("bench: --gpus is for sweep, on several GPUs at once", 0) end
  local folder = os.tmpname()
  os.remove(folder)
  library.check(C.kvb_dir_make(folder))
  local workers = fleet.start(devices, function(i) return ("%s/log-%d"):format(folder, i) end,
    { KVBENCH_BARRIER = folder })
  fleet.wait(workers)
  local out = { bench = opt.what, gpus = devices, workers = {}, continuations = 0, tflops = 0 }
  local from, to = math.huge, -math.huge
  for i, worker in ipairs(workers) do
    if worker.status ~= 0 then
      error(("bench: the worker on %s ended with status %d: %s"):format(worker.device, worker.status,
        fleet.last_words(worker)), 0)
    end
    local one = json.decode(fleet.last_words(worker), worker.log)
    out.workers[i] = one
    out.continuations = out.continuations + one.continuations
    out.flops = (out.flops or 0) + one.flops
    from, to = math.min(from, one.from), math.max(to, one.to)
    os.remove(worker.log)
    os.remove(("%s/here-%d"):format(folder, i - 1))
  end
  os.remove(folder)
  out.seconds = to - from
  out.continuations_per_s, out.tflops = out.continuations / out.seconds, out.flops / out.seconds / 1e12
  if opt.json then print(json.encode(out)) return 0 end
  print(("%.1f continuations/s on %d GPUs (%d in %.2f s), %.3g TFLOP/s"):format(out.continuations_per_s, #devices,
    out.continuations, out.seconds, out.tflops))
  for i, one in ipairs(out.workers) do
    print(("  %s: %d in %.2f s, %.0f %% of its products' rate"):format(devices[i], one.continuations, one.to - one.from,
      100 * one.share_of_limit))
  end
  return 0
end

return M
