-- SPDX-License-Identifier: Apache-2.0
-- Devices that cannot be used: one clear line with what to do where --device asks for them; auto goes on on the CPU and
-- says why. The driver is a made-up one that only fails (tests/cuda/fake_driver.c).
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local t = require "kvbench.testing"
local C = require("kvbench.ffi").C

local folder = process.binary:match "^(.*)/" .. "/fault/driver"
local script = process.write("work.lua", [[
  local model = require("kvbench").model.random { layers = 1, hidden = 32, heads = 2, kv_heads = 1, head_dim = 16,
    ffn = 32,
    vocab = 40, max_positions = 64, norm_eps = 1e-5 }
  print(model.device)
]])

-- env: of the process, before its options.
local function run(env, options) return process.shell(("%s $K %s '%s' </dev/null"):format(env, options, script)) end

local function one_line(text, pattern)
  t.ok(text:find(pattern), ("'%s' does not match '%s'"):format(text, pattern))
  t.eq(select(2, text:gsub("\n", "")), 1, text)
end

local has_cuda = run("LD_LIBRARY_PATH='" .. folder .. "'", "--device cuda").err:find "no CUDA part" == nil
if not has_cuda then
  t.case("a build without CUDA says so", function()
    one_line(run("", "--device cuda").err, "^kvbench: cuda: this build has no CUDA part %-> ")
  end)
elseif C.kvb_path_kind(folder .. "/libcuda.so.1") == 0 then
  t.skip("broken drivers", "no made-up driver beside this binary (a sanitizer build has none)")
else
  local kinds = {
    { "FAKE_DRIVER=11000", "driver supports CUDA 11%.0, this build uses %d+%.%d%)", "update the NVIDIA driver" },
    { "FAKE_INIT=100", "no CUDA%-capable device is detected %(driver supports", "check nvidia%-smi" },
    { "FAKE_INIT=803", "unsupported display driver", "check nvidia%-smi" },
    { "FAKE_INIT=999", "is lost or taken: .*unknown error", "check nvidia%-smi" },
  }
  for _, kind in ipairs(kinds) do
    local env = kind[1] .. " LD_LIBRARY_PATH='" .. folder .. "'"
    t.case("asked for: " .. kind[1], function()
      local got = run(env, "--device cuda")
      t.eq(got.status, 1)
      one_line(got.err, "^kvbench: cuda.*" .. kind[2] .. ".* %-> " .. kind[3])
      one_line(run(env, "--device cuda:3").err, kind[2])
    end)
    t.case("auto: " .. kind[1], function()
      local got = run(env, "")
      t.eq(got.status, 0, got.err)
      t.eq(got.out, "cpu\n")
      one_line(got.err, "^kvbench: running on the CPU: cuda.*" .. kind[2])
    end)
    t.case("cpu asks no driver: " .. kind[1], function() t.eq(run(env, "--device cpu").err, "") end)
  end
end

if C.kvb_cuda_devices() > 0 then
  t.case("a GPU that this machine does not have", function()
    local got = run("", "--device cuda:9")
    t.eq(got.status, 1)
    one_line(got.err, "^kvbench: cuda:9 does not exist: this machine has %d+ GPUs? %-> use cuda:0")
  end)
elseif has_cuda and C.kvb_path_kind "/dev/nvidiactl" == 0 then
  t.case("no driver at all", function()
    one_line(run("", "--device cuda").err, "^kvbench: cuda: there is no NVIDIA driver on this machine %-> ")
    t.eq(run("", "").err, "")
  end)
end
