-- SPDX-License-Identifier: Apache-2.0
-- The system refuses to start threads: one clear line and exit status 1, or fewer threads where nobody asked for a
-- number, with the same result. OpenMP alone would end the process inside a computation.
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local t = require "kvbench.testing"
local C = require("kvbench.ffi").C

local shim = process.binary:match "^(.*)/" .. "/fault/no_thread.so"
C.kvb_threads_set(0)
local most = C.kvb_threads()

if C.kvb_path_kind(shim) == 0 then
  t.skip("thread creation fails", "no no_thread.so beside this binary (a sanitizer build has none)")
elseif most < 2 then
  t.skip("thread creation fails", "one CPU: no threads are started")
else
  local script = process.write("work.lua", [[
    local kv = require "kvbench"
    local model = kv.model.random({ layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn = 96,
      vocab = 320, max_positions = 512, norm_eps = 1e-5 }, { dtype = "f32", device = "cpu" })
    local ids = {}
    for i = 1, 100 do ids[i] = i end
    print(table.concat(model:prefill(ids):generate({ 5, 9 }, { max_new_tokens = 8, ignore_stop = true }).ids, " "))
  ]])
  local function run(nth, options)
    return process.shell(("NO_THREAD=%s LD_PRELOAD='%s' timeout 60 $K %s '%s' </dev/null"):format(nth, shim, options,
      script))
  end

  t.case("no further thread, for each number of them", function()
    local plain = run(100000, "--threads " .. most)
    t.eq(plain.status, 0, plain.err)
    t.ok(plain.out:find "^%d+ %d+", plain.out)
    for nth = 1, most - 1 do
      local few = run(nth, "") -- nobody asked for a number
      t.eq(few.status, 0, few.err)
      t.eq(few.out, plain.out)
      local refused = run(nth, "--threads " .. most)
      t.eq(refused.status, 1)
      t.eq(refused.out, "")
      t.ok(refused.err:find(("^kvbench: %d threads cannot be started, only %d: [^\n]+ %%-> use %%-%%-threads %d[^\n]*\n$")
        :format(most, nth, nth)), refused.err)
    end
    t.eq(run(1, "--threads 1").out, plain.out)
  end)
end
process.done()
