-- SPDX-License-Identifier: Apache-2.0
-- kvbench scripts/calibrate.lua --model smollm2 [--texts FILE] [--passages 50] [--out FOLDER]
--
-- Computes once, from texts, what some rules know about a model beforehand, and stores it where they look for it
-- (artefacts/<model>/ under the cache, or --out), in the layouts in which such files are published:
--   expected_attention_stats/model.safetensors   query_mean [layers, heads, d], query_cov [layers, heads, d, d] of the
--                                                queries before RoPE, the first n_sink tokens of each text left out
--   qfilter/model.safetensors                    q_filters [layers, kv_heads, d]: minus the main direction of the head's
--                                                queries after RoPE (minus: evict what is large along a filter)
--   duo_attention/full_attention_heads.tsv       retrieval scores [layers, kv_heads], config.json with sink_size and
--                                                recent_size
-- FILE holds texts, one a line; without it the passages of the base task (seed "calibration") are taken.
local kv = require "kvbench"
local artefact = require "kvbench.artefact"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"
local writer = require "kvbench.weights_write"

local opt = kv.args { model = "smollm2", texts = "", passages = 50, n_sink = 4, sink_size = 128, recent_size = 256,
  max_tokens = 1000, out = "" }

local function texts_of()
  local list = {}
  if opt.texts ~= "" then
    for line in io.lines(opt.texts) do if line:find "%S" and #list < opt.passages then list[#list + 1] = line end end
  else
    for i, record in ipairs(kv.dataset("base", { size = opt.passages, seed = "calibration" }).records) do
      list[i] = record.passage
    end
  end
  if #list == 0 then error("calibrate: there is no text -> --texts FILE, one text a line", 0) end
  return list
end

-- Sums over all texts. The covariance is summed around the first text's mean, so that a large mean cancels nothing.
local function empty(model)
  local l, h, g, d = model.layers, model.heads, model.kv_heads, model.head_dim
  return { count = 0, texts = 0, sum = tensor.zeros(l, h, d), products = tensor.zeros(l, h, d, d),
    turned = tensor.zeros(l, g, d, d), direction = tensor.zeros(l, g, d), retrieval = tensor.zeros(l, g) }
end

local function add(into, x) into:copy_(into + x) end

local function observe(sums, ctx, layer)
  local duo = kv.press("duo_attention").rule
  local n = ctx.tokens - opt.n_sink
  local queries = ctx.queries:narrow(1, layer, 1):slice(3, opt.n_sink + 1)
  local shifted = queries - sums.shift:narrow(1, layer, 1):unsqueeze(3)
  add(sums.sum[layer], shifted:sum(3)[1])
  add(sums.products[layer], shifted:transpose():matmul(shifted)[1])
  local cos, sin = ctx:rope(opt.n_sink, n)
  local turned = rotary.apply(queries, cos, sin):reshape(ctx.kv_heads, ctx.group_size * n, ctx.head_dim)
  add(sums.turned[layer], turned:transpose():matmul(turned))
  add(sums.direction[layer], turned:sum(2))
  local one = { queries = ctx.queries:narrow(1, layer, 1), keys = ctx.keys:narrow(1, layer, 1), tokens = ctx.tokens,
    head_dim = ctx.head_dim, group_size = ctx.group_size, rope = function(_, ...) return ctx:rope(...) end }
  add(sums.retrieval[layer], duo.on_the_fly(one)[1])
end

local function folder(model, rule)
  local path = opt.out ~= "" and opt.out .. "/" .. rule or artefact.folder(model.name, rule)
  library.check(library.C.kvb_dir_make(path))
  return path
end

local function write_text(path, text)
  local file, why = io.open(path, "wb")
  if not file then error("calibrate: " .. why, 0) end
  file:write(text)
  file:close()
end

local model = kv.model.load(opt.model)
local sums = empty(model)
for _, text in ipairs(texts_of()) do
  local ids = model:ids(text)
  for i = #ids, opt.max_tokens + 1, -1 do ids[i] = nil end
  if #ids > opt.n_sink + 1 then
    local ctx = model:prefill(ids, { queries = true })
    sums.shift = sums.shift or ctx.queries:slice(3, opt.n_sink + 1):mean(3)
    for layer = 1, model.layers do tensor.scope(observe, sums, ctx, layer) end
    sums.count, sums.texts = sums.count + ctx.tokens - opt.n_sink, sums.texts + 1
    ctx:close()
  end
end

local off = sums.sum / sums.count
local covariance = (sums.products - off:unsqueeze(4) * off:unsqueeze(3) * sums.count) / (sums.count - 1)
local facts = { model = model.name, model_hash = model.hash, texts = tostring(sums.texts), tokens = tostring(sums.count),
  n_sink = tostring(opt.n_sink) }
writer.write(folder(model, "expected_attention_stats") .. "/model.safetensors",
  { query_mean = sums.shift + off, query_cov = covariance }, facts)

local _, vectors = (sums.turned / sums.count):eigh()
local main = vectors:select(4, model.head_dim) -- of the largest eigenvalue
local sign = tensor.where(main:vecdot(sums.direction):ge(0), -1, 1)
writer.write(folder(model, "qfilter") .. "/model.safetensors", { q_filters = main * sign:unsqueeze(3) }, facts)

local rows = {}
for l, row in ipairs((sums.retrieval / sums.texts):tolua()) do
  for h, value in ipairs(row) do row[h] = ("%.7g"):format(value) end
  rows[l] = table.concat(row, "\t")
end
local duo = folder(model, "duo_attention")
write_text(duo .. "/full_attention_heads.tsv", table.concat(rows, "\n") .. "\n")
write_text(duo .. "/config.json", json.encode { sink_size = opt.sink_size, recent_size = opt.recent_size } .. "\n")
print(("%d texts, %d tokens: %s"):format(sums.texts, sums.count, (duo:gsub("/duo_attention$", ""))))
