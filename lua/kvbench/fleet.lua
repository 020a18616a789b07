-- SPDX-License-Identifier: Apache-2.0
-- Several GPUs of one host: --gpus all, --gpus 0,1, --gpus 0,0 (two engines on one). Passages are independent, so each
-- GPU gets a process of its own that runs the same command line on its share and needs no communication.
--
-- A worker knows its share from the environment: KVBENCH_SHARD = i/n (the i-th of n, from 0), KVBENCH_SHARD_DEVICE, and
-- KVBENCH_SHARD_SWEEP, which sweep of the script is meant. KVBENCH_SHARD alone also works, set by a user or a scheduler:
-- then every unfinished sweep is meant that the script comes to before it needs results (sweep/pending.lua).
local ffi = require "ffi"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local signal = require "kvbench.signal"
local C, check = library.C, library.check

local M = {}

--- The worker's share: {index (from 0), count, sweep or nil}, or nil in a process that is no worker.
function M.shard()
  local text = os.getenv "KVBENCH_SHARD"
  if not text or text == "" then return nil end
  local index, count = text:match "^(%d+)/(%d+)$"
  index, count = tonumber(index), tonumber(count)
  if not index or count < 1 or index >= count then
    error(("KVBENCH_SHARD is '%s', expected i/n with i from 0 to n - 1"):format(text), 0)
  end
  return { index = index, count = count, sweep = tonumber(os.getenv "KVBENCH_SHARD_SWEEP") }
end

--- Devices named by --gpus ("cuda:0", ...), or nil when the option was not given or this process is a worker.
function M.devices()
  local given = options.gpus
  if not given or M.shard() then return nil end
  local list, present = {}, C.kvb_cuda_devices()
  if (given .. ","):gsub("cpu,", "") == "" then -- workers without a GPU: what the tests of all this use
    for _ in given:gmatch "cpu" do list[#list + 1] = "cpu" end
    return list
  end
  if present == 0 then require("kvbench.model.where").device "cuda:0" end -- says why there is none
  if given == "all" then
    for i = 0, present - 1 do list[#list + 1] = "cuda:" .. i end
  else
    for word in (given .. ","):gmatch "([^,]*)," do
      local number = tonumber(word)
      if not number or number ~= math.floor(number) or number < 0 or number >= present then
        error(("--gpus %s: '%s' is no GPU of this machine -> all, or numbers from 0 to %d"):format(given, word,
          present - 1), 0)
      end
      list[#list + 1] = "cuda:" .. number
    end
  end
  return list
end

-- The binary and the words it was called with.
local function command_line()
  local words = { "/proc/self/exe" }
  for _, word in ipairs(options.words or {}) do words[#words + 1] = word end
  return words
end

local function c_strings(list)
  local out = ffi.new("const char *[?]", #list + 1)
  for i, text in ipairs(list) do out[i - 1] = text end
  out[#list] = nil
  return out
end

--- Starts this command line once per device with a share each. logs(i): the file for the i-th worker's output (from 1).
--- extra: more environment, {NAME = value}. Returns workers {pid, device, log, status = nil while it runs}.
function M.start(devices, logs, extra)
  local argv, workers = command_line(), {}
  for i, device in ipairs(devices) do
    local env = { ("KVBENCH_SHARD=%d/%d"):format(i - 1, #devices), "KVBENCH_SHARD_DEVICE=" .. device }
    for name, value in pairs(extra or {}) do env[#env + 1] = name .. "=" .. tostring(value) end
    local pid = ffi.new("int64_t[1]")
    check(C.kvb_process_start(c_strings(argv), c_strings(env), logs(i), pid))
    workers[i] = { pid = pid[0], device = device, log = logs(i) }
  end
  return workers
end

--- Waits until every worker has ended, calling poll() a few times a second. Ctrl-C reaches the workers as well; SIGTERM is
--- passed on to them.
function M.wait(workers, poll)
  local told = false
  repeat
    if signal.terminated() and not told then
      told = true
      for _, worker in ipairs(workers) do
        if not worker.status then C.kvb_process_stop(worker.pid) end
      end
    end
    local running = 0
    for _, worker in ipairs(workers) do
      if not worker.status then
        local status = C.kvb_process_state(worker.pid)
        if status >= 0 then worker.status = status else running = running + 1 end
      end
    end
    if poll then poll() end
    if running > 0 then C.kvb_sleep(.1) end
  until running == 0
end

--- The last line that a worker wrote: why it failed.
function M.last_words(worker)
  local file, last = io.open(worker.log), nil
  if not file then return "it wrote nothing" end
  for line in file:lines() do
    if line ~= "" then last = line end
  end
  file:close()
  return last or "it wrote nothing"
end

--- In a worker of a benchmark: returns once every worker is here, so that all measure the same stretch of time.
function M.barrier()
  local folder, shard = os.getenv "KVBENCH_BARRIER", M.shard()
  if not folder or not shard then return end
  check(C.kvb_file_write(("%s/here-%d"):format(folder, shard.index), "", 0))
  for i = 0, shard.count - 1 do
    while C.kvb_path_kind(("%s/here-%d"):format(folder, i)) == 0 do
      if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
      C.kvb_sleep(.002)
    end
  end
end

return M
