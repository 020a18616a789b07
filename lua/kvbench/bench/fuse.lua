-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench fuse: a chain of element-wise ops in one pass (tensor.fuse) against the same ops one by one, on several
-- sizes. On a GPU the first call compiles: it is timed on its own.
local library = require "kvbench.ffi"
local tensor = require "kvbench.tensor"
local C = library.C

local M = {}

local SHAPES = { { 3, 250, 64 }, { 9, 250, 64 }, { 30, 9, 250, 64 }, { 30, 9, 1500, 64 } }

-- Eight ops on three tensors, as scores weigh and squash: one is a row that is broadcast.
local function chain(a, b, row) return (((a - row) * b):abs() + 1e-6):log():clamp(-8, 8) * 0.5 + a end

local function best_of(seconds, fn)
  local best, started = math.huge, C.kvb_time()
  repeat
    local from = C.kvb_time()
    tensor.scope(function() fn():at(1) end) -- reading an element waits for a GPU
    best = math.min(best, C.kvb_time() - from)
  until C.kvb_time() - started > seconds
  return best
end

--- {chains = list}, on `device`; seconds: for each size.
function M.run(device, seconds)
  local fused, out = tensor.fuse(chain), {}
  tensor.on(device, function()
    for _, shape in ipairs(SHAPES) do
      local a, b, row = tensor.randn(shape, "a"), tensor.randn(shape, "b"), tensor.randn({ 64 }, "row")
      local from = C.kvb_time()
      local same = fused(a, b, row):ne(chain(a, b, row)):max() == 0
      local first = C.kvb_time() - from
      local one = best_of(seconds, function() return fused(a, b, row):view(-1) end)
      local many = best_of(seconds, function() return chain(a, b, row):view(-1) end)
      out[#out + 1] = { shape = shape, elements = a:numel(), fused_ms = 1e3 * one, unfused_ms = 1e3 * many,
        times = many / one, first_ms = 1e3 * first, same_bits = same }
    end
  end)
  return { chains = out, ops = 8, device = device }
end

function M.report(out)
  print(("%-20s %12s %12s %12s %8s %6s"):format("shape", "elements", "one by one", "fused ms", "times", "bits"))
  for _, row in ipairs(out.chains) do
    print(("%-20s %12d %12.3f %12.3f %7.1fx %6s"):format(tensor.show(row.shape), row.elements, row.unfused_ms,
      row.fused_ms, row.times, row.same_bits and "same" or "DIFFER"))
  end
end

return M
