-- SPDX-License-Identifier: Apache-2.0
-- kvbench --device cuda tests/sanitize.lua [--only DTYPE] [--shape N] [--small]: small models through every path of the
-- engine, for compute-sanitizer, which is slow: scripts/gpu-check runs it once a dtype and shape (racecheck: --small).
local kv = require "kvbench"
local opt = kv.args { only = "", shape = 0, small = false }
local passages = {}
-- the longest has several splits of attention (docs/numerics.md)
for p, n in ipairs(opt.small and { 17, 65 } or { 1, 17, 64, 65, 150, 2100 }) do
  passages[p] = {}
  for i = 1, n do passages[p][i] = (i * 37 + p) % 300 end
end
local runs = 0
local gpu = require("kvbench.model.where").device():find "cuda"
local dtypes, shapes = gpu and { "f32", "bf16", "f16" } or { "f32" }, { { 4, 2, 16 }, { 3, 1, 64 }, { 6, 6, 32 } }
if opt.only ~= "" then dtypes = { opt.only } end
if opt.shape > 0 then shapes = { shapes[opt.shape] or error("--shape is 1, 2 or 3", 0) } end
for _, dtype in ipairs(dtypes) do
  for _, shape in ipairs(shapes) do
    io.stderr:write(("%s, %d query and %d KV heads of %d\n"):format(dtype, shape[1], shape[2], shape[3]))
    local model = kv.model.random({ layers = 2, hidden = 64, heads = shape[1], kv_heads = shape[2], head_dim = shape[3],
      ffn = 96, vocab = 320, max_positions = 4096, norm_eps = 1e-5 }, { dtype = dtype })
    local contexts = model:prefill_many(passages, { queries = true, hidden = true, logits = true })
    local batch = model:batch()
    for _, ctx in ipairs(contexts) do
      local keep = kv.press("random"):keep(ctx, ctx.tokens > 1 and .5 or 0)
      local evicted = ctx:evict(keep)
      for i, request in ipairs { { ctx = ctx }, { ctx = ctx, keep = keep }, { ctx = evicted }, { ctx = ctx } } do
        request.ids, request.max_new_tokens, request.ignore_stop = { 5, 9, 11 }, opt.small and 2 or 6, true
        request.trunk = i % 2 * 2
        batch:add(request)
      end
      for _, name in ipairs(ctx.tokens > 16 and { "ea", "snapkv", "observed_attention" } or {}) do
        kv.press(name):keeps(ctx, { .3, .9 })
      end
      local _, _, _, _ = ctx.keys, ctx.queries, ctx.hidden, ctx.prefill_logits
    end
    runs = runs + #batch:run()
    batch:close()
    for _, ctx in ipairs(contexts) do ctx:close() end
    model:close()
  end
end
print(("%d continuations"):format(runs))
