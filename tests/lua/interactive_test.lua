-- SPDX-License-Identifier: Apache-2.0
-- The interactive tier: a lone row by other kernels. On a GPU it must agree with the packed step within roundings; on
-- the host there is no such tier, and asking for it changes nothing.
local kv = require "kvbench"
local rng = require "kvbench.rng"
local t = require "kvbench.testing"

local device = require("kvbench.model.where").device()
local gpu = device:find "^cuda" ~= nil

local function draw(seed, n)
  local r, ids = rng.new(seed), {}
  for i = 1, n do ids[i] = r:int(0, 319) end
  return ids
end

local function load(shape, interactive)
  return kv.model.random({ family = shape.family or "llama", layers = 3, hidden = shape.hidden or 64,
    heads = shape[1], kv_heads = shape[2], head_dim = shape[3], ffn = 160, vocab = 320, max_positions = 4096,
    norm_eps = 1e-5 }, { dtype = gpu and (shape.dtype or "bf16") or "f32", interactive = interactive })
end

-- Largest difference over the largest value of the second.
local function distance(a, b) return (a - b):abs():max() / b:abs():max() end

if not gpu then
  t.case("the host has no interactive tier", function()
    local plain, asked = load({ 4, 2, 16 }), load({ 4, 2, 16 }, true)
    t.eq(asked.tier, plain.tier)
    t.eq(asked.interactive, false)
    local ids = draw(1, 40)
    t.eq(distance(asked:prefill(ids):logits({ 5 }), plain:prefill(ids):logits({ 5 })), 0)
  end)
  t.skip("lone rows agree with packed ones", "no GPU")
  return
end

local shapes = { { 4, 4, 16 }, { 6, 3, 32 }, { 9, 3, 64 }, { 4, 1, 80 }, { 14, 2, 96 }, { 8, 2, 128, dtype = "f16" },
  { 8, 1, 128 }, { 2, 1, 256 }, { 4, 2, 64, family = "qwen2" }, { 4, 2, 64, family = "qwen3" },
  { 4, 2, 64, hidden = 4096 } }
for _, shape in ipairs(shapes) do
  local name = ("%d/%d heads of %d, %s %s"):format(shape[1], shape[2], shape[3], shape.family or "llama",
    shape.dtype or "bf16")
  t.case("lone rows agree with packed ones: " .. name, function()
    local plain, fast = load(shape), load(shape, true)
    t.ok(fast.tier:find "interactive", fast.tier)
    for _, n in ipairs { 1, 63, 64, 300, 1500 } do
      local ids = draw(n, n)
      local a, b = plain:prefill(ids, { queries = true }), fast:prefill(ids, { queries = true })
      local keep = kv.press("random", { seed = 3 }):keep(a, n > 1 and .6 or 0)
      for what, request in pairs { full = {}, masked = { keep = keep } } do
        local want, got = a:logits({ 7 }, request), b:logits({ 7 }, request)
        t.ok(distance(got, want) < 3e-2, ("%s, %d tokens: off by %g"):format(what, n, distance(got, want)))
        t.eq(distance(b:logits({ 7 }, request), got), 0)
      end
      local c, d = a:evict(keep), b:evict(keep)
      t.ok(distance(d:logits({ 7 }), c:logits({ 7 })) < 3e-2, ("evicted, %d tokens"):format(n))
      for _, ctx in ipairs { a, b, c, d } do ctx:close() end
    end
    plain:close()
    fast:close()
  end)
end

t.case("a sweep refuses answers that depend on their company", function()
  local model = load({ 4, 2, 16 }, true)
  t.fails(function() kv.sweep { model = model, dataset = kv.dataset("base", { size = 1 }) } end, "interactive = true")
  model:close()
end)
