-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench WHAT: what this machine does, as JSON with --json (one object on stdout, nothing else). prefill, decode
-- and sweep run the engine; press: what presses cost beside the prefill (bench/press.lua); fuse: chains of ops in
-- one pass (bench/fuse.lua); gemm, attention and peak
-- measure the device (bench/device.lua); gains: what each thing that is computed once saves (bench/gains.lua);
-- paper-grid extrapolates the paper's whole grid (bench/paper_grid.lua).
--
-- Real weights and real texts; warmed up once; stop tokens ignored so that the work does not depend on the answers.
-- `sweep` is the comparison with KVPress 0.5.5: the base task (about 250 context tokens), three presses by nine ratios
-- and the full cache, 15-token questions, 24 new tokens.
local device = require "kvbench.bench.device"
local ffi = require "ffi"
local fuse = require "kvbench.bench.fuse"
local gains = require "kvbench.bench.gains"
local fleet = require "kvbench.fleet"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local paper_grid = require "kvbench.bench.paper_grid"
local press_cost = require "kvbench.bench.press"
local steps = require "kvbench.bench.steps"
local sweeps = require "kvbench.bench.sweeps"
local C = library.C

local misused = require("kvbench.words").misused

local M = {}

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

for _, name in ipairs { "prefill", "decode" } do
  benches[name] = function(model, opt)
    local measured = steps[name](model, opt)
    local out = base(model, measured.seconds, opt)
    for key, value in pairs(measured) do out[key] = value end
    return out
  end
end

--- KVPress' comparison with a model that can read, or any shape (always with a random model).
function benches.sweep(model, opt)
  if opt.questions > 0 or not model.tokenizer or fleet.shard() then
    if opt.questions == 0 then opt.questions = 6 end
    return sweeps.shaped(model, opt, base)
  end
  return sweeps.default(model, opt, base)
end

for _, name in ipairs { "gemm", "attention", "peak" } do
  benches[name] = function(model, opt)
    local started = C.kvb_time()
    local measured = device[name](model, opt)
    local out = base(model, C.kvb_time() - started, opt)
    for key, value in pairs(measured) do out[key] = value end
    return out
  end
end

benches["paper-grid"] = function(model, opt)
  local started = C.kvb_time()
  local grid = paper_grid.run(model, { seconds = opt.sample, question_tokens = opt.question_tokens, new = opt.new,
    tokens_per_word = opt.tokens_per_word, prompt_tokens = opt.prompt_tokens, list_tokens = opt.list_tokens,
    style = "paper", tokenizer = opt.tokenizer ~= "" and opt.tokenizer or opt.model,
    presses = { "ea", "adakv", "chunk" } })
  local out = base(model, C.kvb_time() - started, opt)
  for key, value in pairs(grid) do out[key] = value end
  return out
end

function benches.fuse(model, opt)
  local started = C.kvb_time()
  local measured = fuse.run(model.device, opt.seconds / 10)
  local out = base(model, C.kvb_time() - started, opt)
  out.chains, out.ops = measured.chains, measured.ops
  return out
end

function benches.gains(model, opt)
  local started = C.kvb_time()
  local measured = gains.run(model, opt)
  local out = base(model, C.kvb_time() - started, opt)
  out.gains, out.assumed = measured.gains, measured.assumed
  return out
end

function benches.press(model, opt)
  local started = C.kvb_time()
  local measured = press_cost.run(model, function(n) return steps.passages(model, 1, n)[1] end, opt.plan, opt.seconds)
  local out = base(model, C.kvb_time() - started, opt)
  out.costs = measured.costs
  return out
end

local reports = { gemm = device.report_gemm, attention = device.report_attention, peak = device.report_peak,
  ["paper-grid"] = paper_grid.report, press = press_cost.report, fuse = fuse.report,
  gains = gains.report }

local function report(out)
  if reports[out.bench] then
    reports[out.bench](out)
  elseif out.shape then
    print(("%.1f continuations/s (%d in %.1f s), %.3g TFLOP/s, %.0f %% of the products' %.3g"):format(
      out.continuations_per_s, out.continuations, out.seconds, out.tflops, 100 * out.share_of_limit, out.limit_tflops))
    print(("at most %d in flight; %.1f GB allocated at most, %.1f of it weights, %.1f keys and values"):format(
      out.most_in_flight, out.allocated_peak_bytes / 1e9, out.weight_bytes / 1e9, out.cache_peak_bytes / 1e9))
  elseif out.bench == "sweep" then
    local line = "%.1f continuations/s (%d in %.1f s), %.0f rows/s, "
      .. "%.0f x KVPress' %.2f s each (measured on 2 AMX cores)"
    print(line:format(out.continuations_per_s, out.continuations, out.seconds, out.tokens_per_s, out.times_peer,
      sweeps.PEER_SECONDS))
  else
    print(("%.0f tokens/s (%d in %.1f s)"):format(out.tokens_per_s, out.tokens, out.seconds))
    steps.report(out)
  end
  print(("%s, %s, %s, %d threads, %s; peak memory %.2f GiB"):format(out.model, out.dtype, out.tier, out.threads,
    out.cpu, out.peak_bytes / 2 ^ 30))
end

local function whole(opt, name, least)
  local value = opt[name]
  if value < least or value ~= math.floor(value) then
    misused("bench: --%s is %s, expected a whole number from %d on", name:gsub("_", "-"), tostring(value), least)
  end
end

-- "80GB" or "74.5GiB" as bytes; "": 0, no limit.
local function bytes_of(text)
  if text == "" then return 0 end
  local number, unit = text:match "^([%d.]+)%s*(G?i?B?)$"
  local factor = ({ GB = 1e9, GiB = 2 ^ 30 })[unit]
  local value = factor and tonumber(number)
  if not value or value <= 0 then misused("bench: --memory is '%s' -> an amount like 80GB or 24GiB", text) end
  return value * factor
end

local function check_options(opt)
  for _, name in ipairs { "tokens", "rows", "new", "question_tokens" } do whole(opt, name, 1) end
  for _, name in ipairs { "passages", "questions", "trunk" } do whole(opt, name, 0) end
  if opt.seconds <= 0 or opt.sample <= 0 then
    misused("bench: --seconds is %g and --sample %g, expected more than 0", opt.seconds, opt.sample)
  end
  if opt.interactive and opt.what ~= "decode" then
    misused "bench: --interactive is for decode: sweeps have no such tier"
  end
  if opt.trunk >= opt.question_tokens then
    misused("bench: --trunk is %d of --question-tokens %d -> a question keeps at least one token of its own",
      opt.trunk, opt.question_tokens)
  end
  if opt.tokenizer ~= "" and not opt.model:find "^random:" then
    misused("bench: --tokenizer is for a model with random weights, and '%s' has its own -> --model random:llama3-8b",
      opt.model)
  end
  opt.memory = bytes_of(opt.memory)
  if opt.what == "press" then opt.plan = press_cost.plan(opt.presses, opt.lengths) end
end

-- The benchmark without a model: kvbench bench store [--answers 100000] [--shards 64] [--large 4000000] [--folder DIR].
local function store_bench(words, args)
  local opt = args.parse({ answers = 100000, shards = 64, large = 4000000, folder = "", json = false }, words)
  if not opt then return 0 end
  local store = require "kvbench.bench.store"
  local out = store.run(opt)
  if opt.json then print(json.encode(out)) else store.report(out) end
  return 0
end

--- `kvbench bench ...` with the words after it; returns the exit status.
function M.main(words)
  local what = table.remove(words, 1)
  local args = require "kvbench.args"
  local names = {}
  for name in pairs(benches) do names[#names + 1] = name end
  names[#names + 1] = "store"
  table.sort(names)
  if not what or what:sub(1, 1) == "-" or not (benches[what] or what == "store") then
    local text = require "kvbench.text"
    local why = what and ("no benchmark '%s' %s; "):format(what, text.suggest(what, names)) or ""
    error(args.finish(2, why .. "usage: kvbench bench {" .. table.concat(names, ",") .. "} [--json]"), 0)
  end
  if what == "store" then return store_bench(words, args) end
  local opt = args.parse({ model = "smollm2", seconds = what == "sweep" and 30 or 5, tokens = 256, rows = 256,
    new = (what == "paper-grid" or what == "gains") and 8 or 24, passages = 0, questions = 0, question_tokens = 15,
    sample = 3, tokens_per_word = 1.4, prompt_tokens = 60, list_tokens = 12, trunk = 0, tokenizer = "", presses = "ea,snapkv",
    lengths = "250,1500", observe = "", teacher = false, interactive = false, memory = "", json = false }, words)
  if not opt then return 0 end
  opt.what = what
  check_options(opt)
  local devices = fleet.devices()
  if devices then return sweeps.on_devices(devices, opt) end
  C.kvb_memory_limit(opt.memory)
  local model = require("kvbench.model").load(opt.model, { device = options.device, dtype = options.dtype,
    tokenizer = opt.tokenizer ~= "" and opt.tokenizer or nil, interactive = opt.interactive })
  local out = benches[what](model, opt)
  if opt.json or fleet.shard() then print(json.encode(out)) else report(out) end
  return 0
end

return M
