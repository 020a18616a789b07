-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/ops/run.lua [--op NAME] [--case N] [--device cpu|cuda]: every operation of core/ops.def on every
-- backend (a GPU where there is one) against the reference. KVB_CPU_TIER=avx512|avx2|scalar runs it on a lower
-- instruction set than this CPU's.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local harness = require "kvbench.ops_harness"
local text = require "kvbench.text"

local folder = arg[0]:match "^(.*)/[^/]*$" or "."
local wanted, case, device
local i = 1
while arg[i] do
  if arg[i] == "--op" then
    wanted = arg[i + 1]
  elseif arg[i] == "--case" then
    case = tonumber(arg[i + 1])
  elseif arg[i] == "--device" and (arg[i + 1] == "cpu" or arg[i + 1] == "cuda") then
    device = arg[i + 1]
  else
    error("usage: kvbench tests/ops/run.lua [--op NAME] [--case N] [--device cpu|cuda]", 0)
  end
  i = i + 2
end

if device == "cuda" and library.C.kvb_cuda_devices() == 0 then error("there is no GPU -> --device cpu", 0) end
local found = false
local passed, failed, skipped = 0, 0, 0
for _, op in ipairs(library.ops) do
  if not wanted or wanted == op then
    found = true
    local path = folder .. "/" .. op .. ".lua"
    if library.C.kvb_path_kind(path) ~= 1 then
      failed = failed + 1
      print(("FAIL %s: no case table -> write %s"):format(op, path))
    else
      local p, f, s = harness.run(dofile(path), { case = case, device = device, script = arg[0] })
      passed, failed, skipped = passed + p, failed + f, skipped + s
    end
  end
end
if not found then error(("op '%s' is unknown %s"):format(tostring(wanted), text.suggest(tostring(wanted), library.ops,
  30)), 0) end
print(("cpu tier: %s"):format(ffi.string(library.C.kvb_cpu_tier())))
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0 and passed > 0 and 0 or 1)
