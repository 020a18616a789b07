-- SPDX-License-Identifier: Apache-2.0
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local keepset = require "kvbench.keep"
local tensor = require "kvbench.tensor"
local reference = dofile((debug.getinfo(1, "S").source:sub(2):gsub("[^/]*$", "")) .. "press_reference.lua")

-- The tensors of press_reference.lua: fractional parts that look random, from a formula that needs no generator.
local function made_up(shape, s)
  local out = tensor.zeros(shape)
  local p = out:pointer()
  for i = 0, out:numel() - 1 do p[i] = 4 * ((math.sin(i * 12.9898 + s * 78.233) * 43758.5453) % 1) - 2 end
  return out
end

local function reference_context()
  local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 30, head_dim = 8 }
  ctx.keys, ctx.values, ctx.queries = made_up({ 2, 2, 30, 8 }, 1), made_up({ 2, 2, 30, 8 }, 2), made_up({ 2, 4, 30,
    8 }, 3)
  return ctx
end

-- ---- against the reference implementation ----

local function scores_match(name, press)
  t.case("scores equal the reference: " .. name, function()
    local ctx = reference_context()
    local mine = press:score(ctx)
    for l = 1, 2 do
      for h = 1, 2 do
        for i, expected in ipairs(reference[name][(l - 1) * 2 + h]) do
          local v = mine:at(l, h, i)
          if v ~= math.huge then t.near(v, expected, 1e-5 * math.abs(expected),
            ("layer %d head %d token %d"):format(l, h, i)) end
        end
      end
    end
  end)
end
scores_match("knorm", kv.press "knorm")
scores_match("ea", kv.press "ea")
scores_match("ea_future7_sink2_eps", kv.press("expected_attention", { n_future_positions = 7, n_sink = 2,
  epsilon = 1e-2 }))
scores_match("ea_plain", kv.press("ea", { use_covariance = false, use_vnorm = false }))
scores_match("snapkv", kv.press("snapkv", { window_size = 6, kernel_size = 3 }))

local function bits(keep, l, h)
  local out = {}
  for i = 0, keep.tokens - 1 do out[i + 1] = keep:kept(l, h, i) and "1" or "0" end
  return table.concat(out)
end

for name, press in pairs {
  ada = kv.press "adakv", adasafe = kv.press("adakv", { of = { press = "snapkv", window_size = 4 },
    alpha_safeguard = 0.9 }),
  chunk = kv.press("chunk", { of = { press = "ea", n_sink = 1 }, chunk_length = 12 }),
  chunksnap = kv.press("chunk", { of = { press = "snapkv", window_size = 3 }, chunk_length = 10 }),
    stream = kv.press "streaming_llm",
} do
  t.case("kept tokens equal the reference: " .. name, function()
    local sets = press:keeps(reference_context(), { 0.3, 0.7 })
    for i, r in ipairs { 3, 7 } do
      for cell = 0, 3 do t.eq(bits(sets[i], math.floor(cell / 2), cell % 2), reference[name .. "_" .. r][cell + 1],
        "ratio ." .. r) end
    end
  end)
end

-- ---- decisions made once ----

local function scored(values)
  local ctx = fake.new { layers = 1, heads = 1, kv_heads = 1, tokens = #values, head_dim = 2 }
  return kv.press { name = "given", score = function() return tensor.from { { values } } end }, ctx
end

t.case("ties go to the earlier position, -0 equals 0", function()
  local press, ctx = scored { 0, -0, 1, 0, -1, 1 }
  t.eq(bits(press:keep(ctx, 0.5), 0, 0), "101001")
  t.eq(bits(press:keep(ctx, 0.4), 0, 0), "101001")
  t.eq(bits(press:keep(ctx, 0.3), 0, 0), "111001")
end)

t.case("n_kept is floor(n * (1 - r)) in double, at least 1", function()
  local press, ctx = scored { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }
  t.eq(press:keep(ctx, 0.1 + 0.2):total(), 7)
  t.eq(press:keep(ctx, 0.9):total(), math.max(1, math.floor(10 * (1 - 0.9))))
  t.eq(press:keep(ctx, 0.99):total(), 1)
end)

t.case("NaN names press, layer, head and token", function()
  local ctx = fake.new { layers = 4, heads = 2, kv_heads = 2, tokens = 9, head_dim = 4, layer_first = 10 }
  ctx.keys[3][2][8] = 0 / 0
  t.fails(function() kv.press("knorm"):keep(ctx, 0.5) end, "press 'knorm'.*NaN at layer 12, head 1, token 7")
end)

t.case("specs: from JSON-like tables, and why one is not known here", function()
  local press, why = kv.press.from_spec { press = "pyramid_kv_of_next_year", window_size = 16 }
  t.eq(press, nil)
  t.ok(why:find "pyramid_kv_of_next_year")
  press = kv.press.from_spec { press = "adakv", of = { press = "expected_attention", n_future_positions = 512,
    epsilon = 1e-2 }, alpha_safeguard = 0.2 }
  t.eq(press.of.epsilon, 1e-2)
  t.eq(press:label(), "adakv")
end)

t.case("labels, presets, needs and hashes", function()
  t.eq(kv.press("adakv").of.epsilon, 1e-2)
  t.eq(kv.press("chunk").chunk_length, 64)
  t.eq(kv.press("chunk", { of = "snapkv" }).chunk_length, 1024)
  t.eq(kv.press("chunk", { of = "snapkv" }):label(), "chunk(chunk_length=1024, of=snapkv)")
  t.eq(kv.press("snapkv", { window_size = 16 }):label(), "snapkv(window_size=16)")
  t.eq(kv.press("random_sinks"):label(), "random_sinks")
  t.eq(kv.press("random", { sinks = 4 }):label(), "random(sinks=4)")
  t.eq(kv.press("ea").needs, { queries = true })
  t.eq(kv.press("adakv", { of = { press = "snapkv", window_size = 16 } }).needs, { window_queries = 16 })
  t.eq(kv.press("chunk", { of = "snapkv" }).needs, { queries = true })
  t.eq(kv.press("knorm").needs, {})
  t.eq(kv.press.needs { "ea", "knorm", "snapkv", kv.press("snapkv", { window_size = 80 }) }, { queries = true,
    window_queries = 80 })
  t.ok(kv.press("adakv").source_hash ~= kv.press("adakv", { of = "snapkv" }).source_hash)
  t.eq(kv.press("adakv").source_hash, kv.press("adakv").source_hash)
end)

t.case("chunk keeps what its rule keeps on contexts of one chunk, and something else on longer ones", function()
  local ctx = fake.new { tokens = 60 }
  for _, ratio in ipairs { .1, .5, .9 } do
    local whole = kv.press("ea"):keep(ctx, ratio)
    t.eq(kv.press("chunk", { of = "ea", chunk_length = 60 }):keep(ctx, ratio):hash(), whole:hash())
    t.ok(kv.press("chunk", { of = "ea", chunk_length = 20 }):keep(ctx, ratio):hash() ~= whole:hash())
  end
end)

t.case("short contexts are adapted and say so", function()
  local keep = kv.press("snapkv"):keep(fake.new { tokens = 20 }, 0.3)
  t.eq(keep.notes, { "window_size 64 -> 10, the context is short" })
  keep = kv.press("adakv"):keep(fake.new { tokens = 3 }, 0.3)
  t.eq(keep.notes, { "n_sink 4 -> 2, the context is short" })
  keep = kv.press("chunk", { of = "ea", chunk_length = 10 }):keep(fake.new { tokens = 33 }, 0.5)
  t.eq(keep.notes, { "the last 3 tokens are no more than n_sink and kept whole" })
  t.eq(keep:count(0, 0, 30, 33), 3)
  t.eq(kv.press("ea"):keep(fake.new { tokens = 20 }, 0.3).notes, {})
end)

t.case("random: seeds, sinks, one set for all, matched budgets", function()
  local ctx = fake.new { layers = 3, heads = 4, kv_heads = 2, tokens = 200 }
  local a = kv.press("random"):keep(ctx, 0.5)
  t.eq(a:hash(), kv.press("random"):keep(ctx, 0.5):hash())
  t.ok(a:hash() ~= kv.press("random", { seed = 1 }):keep(ctx, 0.5):hash())
  t.ok(a:jaccard(kv.press("random", { seed = "x" }):keep(ctx, 0.5)) < 0.45, "independent sets share a third")
  t.ok(bits(a, 0, 0) ~= bits(a, 0, 1) and bits(a, 0, 0) ~= bits(a, 1, 0))
  local other = fake.new { layers = 3, heads = 4, kv_heads = 2, tokens = 200, seed = 7 }
  t.ok(a:hash() ~= kv.press("random"):keep(other, 0.5):hash(), "another context, another draw")
  local shared = kv.press("random_shared"):keep(ctx, 0.9)
  for cell = 0, 5 do
    t.eq(bits(shared, math.floor(cell / 2), cell % 2), bits(shared, 0, 0))
    t.eq(shared:count(math.floor(cell / 2), cell % 2, 0, 4), 4)
  end
  local model = kv.press("adakv"):keep(ctx, 0.7)
  local matched = kv.press("random", { budget_of = "adakv" }):keep(ctx, 0.7)
  for cell = 0, 5 do
    t.eq(matched:count(math.floor(cell / 2), cell % 2), model:count(math.floor(cell / 2), cell % 2))
  end
end)

t.case("a rule that depends on the ratio is scored for each", function()
  local seen = {}
  local press = kv.press { name = "by_ratio", ratio_dependent = true, score = function(_, ctx, ratio)
    seen[#seen + 1] = ratio
    return ctx.keys:norm(-1)
  end }
  press:keeps(fake.new(), { 0.2, 0, 0.6 })
  t.eq(seen, { 0.2, 0.6 })
  t.eq(press.nested, false)
end)

t.case("queries that prefill did not keep", function()
  local ctx = fake.new { tokens = 30 }
  ctx.queries = ctx.queries:slice(3, -10)
  t.fails(function() kv.press("ea"):keep(ctx, 0.5) end, "press 'ea' needs the last 30 queries.*prefill kept 10 of 30")
  t.fails(function() kv.press("snapkv"):keep(ctx, 0.5) end, "needs the last 30 queries")
  t.ok(kv.press("snapkv", { window_size = 10 }):keep(ctx, 0.5):total() > 0)
end)

t.case("a rule in a file, by path", function()
  local path = os.tmpname() .. ".lua"
  local file = io.open(path, "w")
  file:write [[return { name = "mine", params = { power = 2 },
    score = function(self, ctx) return ctx.values:norm(-1, self.power) end }]]
  file:close()
  local press = kv.press(path, { power = 1 })
  t.eq(press:label(), "mine(power=1)")
  t.ok(press:keep(fake.new(), 0.5):total() > 0)
  local before = press.source_hash
  file = io.open(path, "a")
  file:write "\n-- changed\n"
  file:close()
  t.ok(kv.press(path).source_hash ~= before, "the hash follows the text")
  file = io.open(path, "w")
  file:write "return { name = "
  file:close()
  t.fails(function() kv.press(path) end, "unexpected symbol near")
  os.remove(path)
end)

-- ---- KeepSet ----

t.case("keep-set: counts, spans, overlap", function()
  local keep = keepset.from_bits(tensor.from { { { 1, 0, 1, 1 }, { 0, 0, 1, 1 } }, { { 1, 1, 1, 1 }, { 0, 0, 0, 0 } } })
  t.eq({ keep.layers, keep.kv_heads, keep.tokens, keep:total() }, { 2, 2, 4, 9 })
  t.eq({ keep:count(0, 0), keep:count(0, 1, 0, 3), keep:count(1, 1) }, { 3, 1, 0 })
  t.eq(keep:span_cells(2, 4), 3)
  local counts = keep:layer_counts()
  t.eq({ counts[0], counts[2], counts[4], counts[7] }, { 1, 2, 1, 1 })
  t.near(keep:evicted(), 7 / 16)
  t.near(keep:evicted(0, 2), 1 - 3 / 8)
  local other = keep:copy():set(1, 1, 0, 2, true)
  t.eq({ keep:overlap(other) }, { 9, 11 })
  t.near(keep:jaccard(other), 9 / 11)
  t.ok(keep:hash() ~= other:hash())
  t.eq(other:set(1, 1, 0, 2, false):hash(), keep:hash())
  t.eq(keep:bits():tolua()[1][2], { 0, 0, 1, 1 })
  t.fails(function() keep:kept(2, 0, 0) end, "layer 2")
  t.fails(function() keep:set(nil, nil, 3, 9, true) end, "tokens %[3, 9%)")
end)
