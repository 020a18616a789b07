-- SPDX-License-Identifier: Apache-2.0
-- What does eviction buy? Bytes of a physically evicted cache, and the time of a decoded token, against the evicted share.
--
-- Long contexts are prefilled once, evicted at each ratio (ctx:evict frees the bytes for real: heads of their own
-- lengths), and `rows` answers are decoded at a time. Bytes come from the allocator's counters; times are medians of
-- `repeats` runs on this machine. Weights do not matter for either: random:llama3.2-3b and its like will do.
-- On a GPU: kvbench experiments/memory_speed.lua --model random:qwen2.5-7b --lengths 8192,16384,32000
local kv = require "kvbench"
local library = require "kvbench.ffi"
local C = library.C

local opt = kv.args {
  model = "smollm2", lengths = { 1024, 2048, 4096 }, ratios = { 0, .25, .5, .75, .9 }, press = "knorm", rows = 1,
  new = 16, repeats = 3, out = "out/memory_speed",
}

local model = kv.model.load(opt.model)
local press = kv.press(opt.press)

local function ids_of(n)
  local ids = {}
  for i = 1, n do ids[i] = i * 7919 % math.min(model.vocab, 40000) end
  return ids
end

-- Seconds a step of `rows` sequences takes, each of which reads the whole context: the median of some runs, the
-- appended token's step and the first decoded one left out.
local function step_seconds(ctx)
  local times = {}
  for r = 1, opt.repeats + 1 do
    local batch = model:batch { stop_ids = {} }
    for i = 1, opt.rows do batch:add { ctx = ctx, ids = { i }, max_new_tokens = opt.new + 2, ignore_stop = true } end
    batch:step()
    batch:step()
    local started = C.kvb_time()
    batch:run()
    times[r] = (C.kvb_time() - started) / opt.new
    batch:close()
    if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
  end
  table.remove(times, 1) -- warm
  table.sort(times)
  return times[math.ceil(#times / 2)]
end

local rows, memory, speed = {}, {}, {}
for _, tokens in ipairs(opt.lengths) do
  if tokens + opt.new + 4 > model.max_positions then
    error(("%d tokens and %d new ones exceed the model's %d positions -> --lengths"):format(tokens, opt.new,
      model.max_positions), 0)
  end
  local ctx = model:prefill(ids_of(tokens), press.needs)
  local full = ctx:bytes()
  local bytes = { label = tokens .. " tokens", x = {}, y = {} }
  local time = { label = tokens .. " tokens", x = {}, y = {} }
  for i, keep in ipairs(press:keeps(ctx, opt.ratios)) do
    local evicted = ctx:evict(keep)
    local seconds, ratio = step_seconds(evicted), opt.ratios[i]
    local share = evicted:bytes() / full
    rows[#rows + 1] = { model = model.name, device = model.device, dtype = model.dtype, tokens = tokens, ratio = ratio,
      rows = opt.rows, bytes = evicted:bytes(), share = share, expected_share = 1 - ratio, ms_per_step = seconds * 1e3 }
    bytes.x[i], bytes.y[i] = ratio, share
    time.x[i], time.y[i] = ratio, seconds * 1e3
    print(("%6d tokens, ratio %.2f: %.1f MiB (%.4f of the full cache, 1 - ratio = %.2f), %.2f ms a step"):format(tokens,
      ratio, evicted:bytes() / 2 ^ 20, share, 1 - ratio, seconds * 1e3))
    evicted:close()
  end
  ctx:close()
  memory[#memory + 1], speed[#speed + 1] = bytes, time
end

local setting = ("%s (%s) on %s, %s; %s, physically evicted. "):format(model.name, model.dtype, model.device, model.tier,
  press:label())
local x = { label = "evicted share", min = 0, max = 1 }
local figure = kv.plot.small_multiples {
  columns = 2, share_y = false, title = "What eviction buys",
  panels = {
    { kind = "lines", title = "Memory", x = x, y = { label = "bytes, share of the full cache", min = 0, max = 1 },
      series = memory },
    { kind = "lines", title = "Time", x = x, y = { label = "ms a decoded step", min = 0 }, series = speed },
  },
  caption = setting .. ("Bytes from the allocator's counters; time: median of %d runs of %d tokens, %d sequence%s a step."):format(
    opt.repeats, opt.new, opt.rows, opt.rows == 1 and "" or "s"),
}
for _, file in ipairs(figure:save(opt.out .. "/memory_speed")) do
  if file:find "%.png$" then print(file) end
end
require("kvbench.csv").write(opt.out .. "/rows.csv", { "model", "device", "dtype", "tokens", "ratio", "rows", "bytes",
  "share", "expected_share", "ms_per_step" }, rows)
