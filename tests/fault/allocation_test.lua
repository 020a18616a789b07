-- SPDX-License-Identifier: Apache-2.0
-- Every allocation of every stage fails once, and then for good: a clear error or the right result, all bytes back.
-- With --device cuda the same loop fails the device's allocations too.
local files = dofile(require("kvbench.paths").at "tests/lua/model_files.lua")
local here = require("kvbench.paths").at "tests/fault"
local kv = require "kvbench"
local loop = dofile(here .. "/loop.lua")
local t = require "kvbench.testing"
local C = require("kvbench.ffi").C

local base = os.tmpname()
os.remove(base)
local head_dim = require("kvbench.model.where").device():find "^cuda" and 16 or nil -- the least that GPUs run
local folder, gguf = files.hf(base .. "-hf", { head_dim = head_dim }), files.gguf(base .. ".gguf",
  { head_dim = head_dim })
local TINY = { dtype = "f32" }

local ids, question = {}, { 8, 33, 7 }
for i = 1, 70 do ids[i] = (i * 37) % 40 end
local all = { queries = true, hidden = true, last_logits = true }

-- Results as text, so that equal means equal bits.
local function answer(result)
  local margins = {}
  for i, m in ipairs(result.margins) do margins[i] = ("%a"):format(m) end
  return table.concat(result.ids, " ") .. " " .. table.concat(margins, " ") .. " " .. result.stop
end

local function stage(name, action)
  t.case(name, function()
    local failures = loop.every_allocation(name, action)
    t.ok(failures > 0, name .. ": no failure ever came through")
  end)
end

for _, source in ipairs { folder, gguf } do
  stage("load " .. source:match "[^.-]+$", function()
    local model = kv.model.load(source, TINY)
    local about = tostring(model.parameters) .. " " .. model.hash
    model:close()
    return about
  end)
end

local model = kv.model.load(folder, TINY)

stage("prefill with everything observed", function()
  local contexts = model:prefill_many({ ids, question }, all)
  local bytes = contexts[1]:bytes() + contexts[2]:bytes()
  local seen = contexts[1].keys:sum() + contexts[1].queries:sum() + contexts[1].hidden:sum() +
    contexts[2].prefill_logits:sum()
  for _, ctx in ipairs(contexts) do ctx:close() end
  return ("%d %a"):format(bytes, seen)
end)

-- One rule of each way of computing: norms, windows, statistics, wrappers, whole-model order, other keys, other values.
for _, name in ipairs { "knorm", "snapkv", "expected_attention", "adakv", "chunkkv", "block", "compactor", "leverage",
  "key_rerotation", "think", "criticalkv", "pyramidkv", "composed" } do
  stage("score " .. name, function()
    local ctx = model:prefill(ids, all)
    local press = kv.press(name)
    local keeps = press:keeps(ctx, { 0.3, 0.7 })
    local hashes = {}
    for i, keep in ipairs(keeps) do hashes[i] = keep:hash() end
    ctx:close()
    return table.concat(hashes, " ")
  end)
end

stage("evict and variant", function()
  local ctx = model:prefill(ids, all)
  local keep = kv.press("knorm"):keep(ctx, 0.6)
  local evicted, variant = ctx:evict(keep), ctx:variant { values = ctx.values * 2 }
  local keys, values, positions = evicted:head(1, 0)
  local seen = ("%a %a %d %d"):format(keys:sum(), values:sum(), positions[2], variant:bytes())
  evicted:close()
  variant:close()
  ctx:close()
  return seen
end)

-- Questions that share a trunk, wait for room, write logits, are masked and evicted.
stage("step a mixed batch", function()
  local ctx = model:prefill(ids)
  local keep = kv.press("streaming_llm"):keep(ctx, 0.5)
  local evicted = ctx:evict(keep)
  local batch = model:batch { max_bytes = 60000 }
  for i = 1, 3 do
    batch:add { ctx = ctx, keep = keep, ids = { 5, 6, 7, 8 + i }, trunk = 3, max_new_tokens = 4, ignore_stop = true,
      tag = "shared " .. i }
  end
  batch:add { ctx = evicted, ids = question, max_new_tokens = 3, ignore_stop = true, tag = "evicted" }
  batch:add { ctx = ctx, ids = question, max_new_tokens = 0, logits = true, tag = "logits" }
  local lines = {}
  for i, result in ipairs(batch:run()) do
    lines[i] = result.tag .. " " .. answer(result) .. (result.logits and (" %a"):format(result.logits:sum()) or "")
  end
  batch:close()
  evicted:close()
  ctx:close()
  table.sort(lines) -- a smaller batch ends in another order, with the same answers
  return lines
end)

stage("evict while decoding", function()
  local ctx = model:prefill(ids, all)
  local press = kv.press("decoding", { of = "knorm", compression_interval = 2, target_size = 30 })
  local result = ctx:generate(question, { keep = press:keep(ctx, 0.5), max_new_tokens = 6 })
  ctx:close()
  return answer(result)
end)

t.case("what is freed twice or never made is no fault", function()
  for _, free in ipairs { "model", "ctx", "keep", "batch", "weights",
    "tokenizer" } do C["kvb_" .. free .. "_free"](nil) end
  local ctx = model:prefill(ids)
  ctx:close()
  ctx:close()
end)

model:close()
os.remove(gguf)
files.remove(folder)
