-- SPDX-License-Identifier: Apache-2.0
-- On which device a model runs, and in which dtype: what "auto" means, and why a choice is impossible.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local C = library.C

local M = {}

local function gpu_line()
  local name, total, free = ffi.new("char[128]"), ffi.new("int64_t[1]"), ffi.new("int64_t[1]")
  if C.kvb_cuda_device_info(0, name, 128, total, free) == C.KVB_OK then return nil end
  return (library.diagnostic():gsub("\n.*", ""))
end

-- A machine without a GPU is no news; one whose GPU cannot be used is.
local told = false
local function explain_fallback(why)
  if told or (why:find "no NVIDIA driver" and C.kvb_path_kind("/dev/nvidiactl") == 0) or why:find "no CUDA part" then
    return
  end
  told = true
  io.stderr:write(("kvbench: running on the CPU: %s\n"):format(why))
end

--- Name ("cpu", "ref", "cuda:0") and number of the device called `name`, by default that of --device.
function M.device(name)
  name = name or options.device or "auto"
  if name == "auto" then
    local why = gpu_line()
    if not why then return "cuda:0", C.KVB_DEVICE_CUDA end
    explain_fallback(why)
    return "cpu", C.KVB_DEVICE_CPU
  end
  if name == "cpu" then return "cpu", C.KVB_DEVICE_CPU end
  if name == "ref" then return "ref", C.KVB_DEVICE_REF end
  local ordinal = type(name) == "string" and name:match("^cuda:?(%d*)$")
  if not ordinal then
    error(("device '%s' is unknown -> one of: auto, cpu, ref, cuda, cuda:N"):format(tostring(name)), 0)
  end
  ordinal = tonumber(ordinal) or 0
  local label, total, free = ffi.new("char[128]"), ffi.new("int64_t[1]"), ffi.new("int64_t[1]")
  library.check(C.kvb_cuda_device_info(math.min(ordinal, 2 ^ 20), label, 128, total, free))
  return "cuda:" .. ordinal, C.KVB_DEVICE_CUDA + ordinal
end

local numbers = { f32 = C.KVB_F32, bf16 = C.KVB_BF16, f16 = C.KVB_F16 }

--- Name and number of the dtype called `name`, by default that of --dtype. auto is bf16 where the device has bf16
--- matrix units (GPUs, CPUs with AMX), else f32.
function M.dtype(name, device, head_dim)
  name = name or options.dtype or "auto"
  local gpu, tier = device:find("^cuda") ~= nil, ffi.string(C.kvb_cpu_tier())
  local fast = gpu or (device == "cpu" and tier == "amx-bf16")
  if name == "auto" then name = fast and head_dim % 16 == 0 and "bf16" or "f32" end
  if not numbers[name] then
    error(("dtype '%s' is unknown -> one of: auto, f32, bf16, f16"):format(tostring(name)), 0)
  end
  if name == "f16" and not gpu then error("dtype f16 needs a GPU -> use --dtype f32 or --device cuda", 0) end
  if name == "bf16" and device == "cpu" and not fast then
    error(("dtype bf16 needs a CPU with AMX (this one: %s) -> use --dtype f32"):format(tier), 0)
  end
  return name, numbers[name]
end

return M
