-- SPDX-License-Identifier: Apache-2.0
-- What every press promises: nesting, budgets, protected tokens, short contexts, memory, blocks of layers.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local keepset = require "kvbench.keep"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"

-- Every press that kv.press lists, by its defaults or in a small setting.
local function all_presses()
  -- what a rule cannot do without; rules that read files are tested with files below
  local given = { oracle = { question = "who?" }, answer_aware = { tokens = "0" }, rescue = { tokens = "0" },
    ablation = { tokens = "0" } }
  local reads_files = { qfilter = true, expected_attention_stats = true, kvzap = true, lukv = true, luKV = true,
    fastkvzip = true, restorekv = true, restorekv_plus = true, RestoreKV = true, RestoreKV_plus = true }
  local list = {}
  for _, name in ipairs(kv.press.list()) do
    if not reads_files[name] then list[#list + 1] = kv.press(name, given[name]) end
  end
  list[#list + 1] = kv.press("kvzip", { chunk_size = 9, layerwise = true })
  list[#list + 1] = kv.press("cur", { use_random_leverage = true, leverage_type = "kv_avg", local_window_size = 5 })
  list[#list + 1] = kv.press("lagkv", { lag_size = 6, cross_scoring = true })
  list[#list + 1] = kv.press("simlayerkv", { n_recent = 6, n_initial = 2 })
  list[#list + 1] = kv.press("duo_attention", { sink_size = 2, recent_size = 5 })
  list[#list + 1] = kv.press("compactor", { blending = 0.4, sink_size_end = 0 })
  list[#list + 1] = kv.press("entropy_gated_chunkkv", { of = "keydiff", chunk_length = 5,
    low_entropy_chunk_length = 2 })
  list[#list + 1] = kv.press("simlayerkv", { lazy_threshold = 0.2, n_recent = 6, n_initial = 2 })
  list[#list + 1] = kv.press("dms", { of = "keydiff", threshold = 0, sliding_window_size = 4 })
  list[#list + 1] = kv.press("adakv", { of = { press = "snapkv", window_size = 8 }, alpha_safeguard = 0.5 })
  list[#list + 1] = kv.press("chunk", { of = "streaming_llm", chunk_length = 11 })
  list[#list + 1] = kv.press("chunk", { of = "knorm", chunk_length = 7 })
  list[#list + 1] = kv.press("random", { budget_of = "adakv", sinks = 2 })
  list[#list + 1] = kv.press("adakv", { of = "criticalkv" })
  list[#list + 1] = kv.press("criticaladakv", { of = { press = "snapkv", window_size = 8 }, first_stage_ratio = 0.3 })
  list[#list + 1] = kv.press("chunkkv", { of = "criticalkv", chunk_length = 6 })
  list[#list + 1] = kv.press("block", { of = "ea", block_size = 9 })
  list[#list + 1] = kv.press("block", { of = "random", block_size = 100 })
  list[#list + 1] = kv.press("composed", { of = { "ea", { press = "chunk", of = "knorm", chunk_length = 7 },
    "adakv" } })
  list[#list + 1] = kv.press("composed", { of = { "ea", "snapkv" }, cache_order = "position" })
  list[#list + 1] = kv.press { name = "by_layer", scope = "layer", score = function(_,
    ctx) return ctx.values:norm(-1) end }
  list[#list + 1] = kv.press { name = "by_model", scope = "model", score = function(_,
    ctx) return ctx.values:norm(-1) end }
  return list
end

for _, press in ipairs(all_presses()) do
  t.case("promises of " .. press:label(), function()
    local ctx = fake.new { layers = 3, heads = 6, kv_heads = 3, tokens = 53, head_dim = 8 }
    local grid = { 0, 0.1, 0.35, 0.5, 0.8, 0.97 }
    local sets = press:keeps(ctx, grid)
    t.eq(sets[1]:total(), 3 * 3 * 53, "ratio 0 keeps everything")
    for i, r in ipairs(grid) do
      t.ok(sets[i]:total() > 0, "never empty")
      t.eq(sets[i]:hash(), press:keep(ctx, r):hash(), "one ratio alone gives the same set")
      if press.budget == "exact" then t.eq(sets[i]:total(), 9 * ratios.n_kept(53, r), "budget at " .. r) end
      local unit = 2 * (press.params.chunk_length or 0) / 53 -- whole chunks, and a last one that is shorter
      if press.budget == "approx" then t.near(sets[i]:total() / (9 * 53), 1 - r, math.max(0.16, unit), "budget at "
        .. r) end
      if i > 1 and press.nested then
        local both = sets[i]:overlap(sets[i - 1])
        t.eq(both, sets[i]:total(), "the set at " .. r .. " is part of the one before")
      end
      t.eq(sets[i].ratio, r)
      t.eq(sets[i].press, press:label())
    end
    t.eq(#press.source_hash, 16)
  end)

  t.case("passage only: " .. press:label(), function()
    local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 40, head_dim = 8 }
    local keep = press:keep(ctx, 0.75, { evictable = { 10, 34 } })
    for l = 0, 1 do
      for h = 0, 1 do
        t.eq(keep:count(l, h, 0, 10), 10)
        t.eq(keep:count(l, h, 34, 40), 6)
      end
    end
    if press.budget == "exact" then t.eq(keep:total(), 4 * (16 + ratios.n_kept(24, 0.75))) end
  end)

  t.case("very short contexts: " .. press:label(), function()
    for n = 1, 70 do
      local ctx = fake.new { layers = 1, heads = 2, kv_heads = 1, tokens = n, head_dim = 4 }
      local sets = press:keeps(ctx, { 0.5, 0.95 })
      for i, r in ipairs { 0.5, 0.95 } do
        t.ok(sets[i]:total() >= 1, "tokens: " .. n)
        if press.budget == "exact" then t.eq(sets[i]:total(), ratios.n_kept(n, r), "tokens: " .. n) end
      end
    end
  end)
end

t.case("nothing is left behind in memory", function()
  local ctx = fake.new { tokens = 120, head_dim = 16 }
  local press = kv.press "adakv"
  press:keeps(ctx, { 0.3, 0.6 })
  collectgarbage() collectgarbage()
  local before = tensor.bytes()
  for _ = 1, 20 do press:keeps(ctx, { 0.3, 0.6 }) end
  collectgarbage() collectgarbage()
  t.ok(tensor.bytes() <= before, ("%d bytes before, %d after"):format(before, tensor.bytes()))
end)

t.case("any allocation may fail: an error or a retry, nothing lost", function()
  local C = require("kvbench.ffi").C
  local ctx = fake.new { tokens = 70, head_dim = 16 }
  local press = kv.press "adakv"
  local expected = press:keep(ctx, 0.6):hash()
  collectgarbage() collectgarbage()
  local before, failures = tensor.bytes(), 0
  for n = 1, 400, 3 do
    C.kvb_memory_fail_nth(n)
    local ok, keep = pcall(press.keep, press, ctx, 0.6)
    C.kvb_memory_fail_nth(0)
    if ok then t.eq(keep:hash(), expected) else failures = failures + 1 t.ok(tostring(keep):find "out of memory",
      keep) end
  end
  t.ok(failures > 0, "some failures must come through")
  collectgarbage() collectgarbage()
  t.ok(tensor.bytes() <= before, "tensor bytes are back")
end)

t.case("a block of layers gets the scores it would get in the whole", function()
  local big = fake.new { layers = 6, heads = 8, kv_heads = 4, tokens = 300, head_dim = 32 } -- more than one block
  for _, name in ipairs { "ea", "random", "snapkv" } do
    local all = kv.press(name):score(big)
    for l = 1, 6, 5 do
      local one = {}
      for k, v in pairs(big) do one[k] = v end
      one.layers, one.layer_first = 1, l - 1
      for _, k in ipairs { "keys", "values", "queries" } do one[k] = big[k]:narrow(1, l, 1) end
      t.eq(kv.press(name):keep(one, 0.6):bits():tolua()[1], keepset.from_bits(all:narrow(1, l,
        1):rank():lt(120)):bits():tolua()[1], name)
    end
  end
end)
