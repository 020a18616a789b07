-- SPDX-License-Identifier: Apache-2.0
-- Files that rules read: found, refused, used. Every wrong one has its line in press_bad_files_test.lua.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local ffi = require "ffi"
local tensor = require "kvbench.tensor"
local here = debug.getinfo(1, "S").source:sub(2):gsub("[^/]*$", "")
local tiny = here .. "../golden/presses/llama"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

t.case("a missing or wrong file says which, and how to get it", function()
  local ctx = fake.new { layers = 3, kv_heads = 2, head_dim = 16, heads = 6, tokens = 30 }
  for name, what in pairs { qfilter = "filters", expected_attention_stats = "query statistics", lukv = "a budget curve",
    kvzap = "the trained surrogate", fastkvzip = "trained gates" } do
    t.fails(function() kv.press(name):keep(ctx, 0.5) end, "press '" .. name .. "' needs " .. what)
  end
  t.fails(function() kv.press("duo_attention", { on_the_fly_scoring = false }):keep(ctx, 0.5) end,
    "needs a head pattern")
  t.fails(function() kv.press("qfilter", { path = "/no/such/file" }):keep(ctx, 0.5) end,
    "there is no file '/no/such/file'\n%-> kvbench scripts/calibrate.lua")
  t.ok(kv.press("qfilter", { path = tiny .. "/q_filters.safetensors" }):keep(ctx, 0.5):total() > 0)
  local other = fake.new { layers = 3, kv_heads = 3, head_dim = 16, tokens = 30 }
  t.fails(function() kv.press("qfilter", { path = tiny .. "/q_filters.safetensors" }):keep(other, 0.5) end,
    "has q_filters of shape %[3, 2, 16%], this model needs %[%-1, 3, 16%]")
  t.fails(function() kv.press("lukv", { path = tiny .. "/curve.npy" }):keep(other, 0.5) end,
    "has shape %[99, 3, 2%], this model needs %[99, 3, 3%]")
  local path = os.tmpname()
  local npy = require "kvbench.npy"
  for text, pattern in pairs {
    ["not numpy at all"] = "not a .npy file",
    ["\147NUMPY\1\0\70\0{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }" .. (" "):rep(12)
      .. "\n"] = "f4 or f8",
    ["\147NUMPY\1\0\70\0{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }" .. (" "):rep(12) .. "\n1234"] =
      "4 bytes of numbers, its shape needs 8",
  } do
    write(path, text)
    t.fails(function() npy.read(path) end, pattern)
  end
  os.remove(path)
end)

t.case("restorekv names the file it lacks", function()
  local ctx = fake.new { layers = 2, heads = 2, kv_heads = 2, head_dim = 8, tokens = 30 }
  for name, repository in pairs { restorekv = "MODEL", RestoreKV = "MODEL", restorekv_plus = "MODEL_plus",
    RestoreKV_plus = "MODEL_plus" } do
    t.fails(function() kv.press(name):keep(ctx, 0.5) end, "press '" .. name
      .. "' needs restore embeddings of a context "
      .. "without a model: there is no file .*higokri/RestoreKV%-" .. repository .. " on Hugging Face")
  end
end)

t.case("restorekv: the restore tokens stay in every head, and what is masked is what is evicted", function()
  local model = kv.model.load(tiny, { dtype = "f32" })
  local ids, question = {}, { 7, 40, 31 }
  for i = 1, 50 do ids[i] = 3 + i * 31 % 95 end
  local ctx, press = model:prefill(ids), kv.press("restorekv", { path = tiny .. "/restorekv" })
  local before = ctx:logits(question):clone()
  for i, keep in ipairs(press:keeps(ctx, { 0.4, 0.8 }, { evictable = { 5, 50 } })) do
    local evicted = math.floor(ctx.layers * ctx.kv_heads * 45 * (({ 0.4, 0.8 })[i] + 5 / 45))
    t.eq({ keep.tokens, keep.position, keep.cache.tokens }, { 55, 55, 55 })
    t.eq(keep:total(), ctx.layers * ctx.kv_heads * 55 - evicted)
    t.eq(keep:span_cells(50, 55), ctx.layers * ctx.kv_heads, "restore tokens")
    t.eq(keep:span_cells(0, 5), ctx.layers * ctx.kv_heads, "what may not be evicted")
    local masked, left = ctx:logits(question, { keep = keep }), ctx:evict(keep):logits(question)
    t.ok((masked - left):abs():max() < 1e-4)
  end
  t.eq((ctx:logits(question) - before):abs():max(), 0, "the context is as it was")
end)

t.case("fastkvzip keeps the last token of a context whose two per cent are none", function()
  local model = kv.model.load(tiny, { dtype = "f32" })
  local press, ids = kv.press("fastkvzip", { path = tiny .. "/gates.pt" }), {}
  for i = 1, 13 do ids[i] = 3 + i * 31 % 95 end
  local score = press:score(model:prefill(ids, press.needs))
  t.ok(score:narrow(3, 13, 1):eq(math.huge):min() == 1 and score:narrow(3, 5, 8):max() < 1)
end)

t.case("safetensors that we write are read back", function()
  local path = os.tmpname()
  local a, b = tensor.randn({ 3, 4 }, 1), tensor.randn({ 5 }, 2)
  require("kvbench.weights_write").write(path, { a = a, b = b }, { made = "here" })
  local file = require("kvbench.weights").open(path)
  t.eq(file:names(), { "a", "b" })
  t.eq(file:meta "made", "here")
  local values, info = file:floats "a"
  t.eq(info.shape, { 3, 4 })
  for i = 0, 11 do t.eq(values[i], ffi.cast("float *", a.data)[i]) end
  file:close()
  os.remove(path)
end)
