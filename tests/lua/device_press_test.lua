-- SPDX-License-Identifier: Apache-2.0
-- Presses on a GPU against the same presses on the CPU: scores within rounding, keep-sets equal but for near-ties, and
-- equal to each other in every ratio from one score.
local fake = require "kvbench.fake_context"
local kv = require "kvbench"
local t = require "kvbench.testing"
local tensor = require "kvbench.tensor"

if require("kvbench.ffi").C.kvb_cuda_devices() == 0 then
  t.skip("presses on a GPU", "there is none")
  return
end

local shapes = {
  { layers = 2, kv_heads = 2, heads = 4, tokens = 150, head_dim = 16, seed = "a" },
  { layers = 3, kv_heads = 1, heads = 5, tokens = 333, head_dim = 64, seed = "b" },
}

local function close(press, a, b)
  local x, y = a:cpu(), b:cpu()
  local finite = x:abs():lt(1e30)
  t.eq(y:abs():lt(1e30):tolua(), finite:tolua(), press .. ": what is always kept")
  local difference = tensor.where(finite, x - y, 0):abs():max()
  local largest = tensor.where(finite, x, 0):abs():max()
  -- lagkv's scores are ranks within 128 tokens: two that tie in f32 may change places
  local allowed = press == "lagkv" and 1 / 64 or 2e-5 * largest
  t.ok(difference <= allowed, ("%s: scores differ by %g of %g"):format(press, difference, largest))
end

for _, name in ipairs(kv.press.list()) do
  for i, shape in ipairs(shapes) do
    local host = fake.new(shape)
    local made, press = pcall(kv.press, name)
    local ok, keeps = pcall(function() return press:keeps(host, { 0.25, 0.5, 0.9 }) end)
    if made and ok then
      t.case(("%s on context %d"):format(name, i), function()
        shape.device = "cuda"
        local there = fake.new(shape)
        shape.device = nil
        if not press.rule.order and not press.order_only then
          close(name, press:score(host, 0.5), press:score(there, 0.5))
        end
        for k, keep in ipairs(press:keeps(there, { 0.25, 0.5, 0.9 })) do
          t.ok(keep:jaccard(keeps[k]) >= 0.99, ("%s: keep-sets overlap by %.4f"):format(name, keep:jaccard(keeps[k])))
        end
        t.eq(tensor.current(), "cpu")
      end)
    end
  end
end

t.case("a score that is NaN is found on a GPU too", function()
  local ctx = fake.new { device = "cuda" }
  local press = kv.press { name = "bad", score = function(_, c)
    local s = c.keys:norm(-1)
    s[2]:select(1, 1):narrow(1, 4, 1):fill_(0 / 0)
    return s
  end }
  t.fails(function() return press:keep(ctx, 0.5) end, "NaN at layer 1, head 0, token 3")
end)
