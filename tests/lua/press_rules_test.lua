-- SPDX-License-Identifier: Apache-2.0
-- The rules one by one, where the goldens do not reach: what the reference rejects, files that are missing or wrong,
-- memory, and that a context's neighbours in a batch change nothing.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local ratios = require "kvbench.ratios"
local tensor = require "kvbench.tensor"
local here = debug.getinfo(1, "S").source:sub(2):gsub("[^/]*$", "")
local tiny = here .. "../golden/presses/llama"

-- ---- where the reference fails ----

t.case("pyramidkv: layers of different lengths", function()
  local ctx = fake.new { layers = 5, tokens = 400 }
  local keep = kv.press("pyramidkv", { window_size = 16, beta = 4 }):keep(ctx, 0.6)
  -- by hand: mean 160, last 160/4 = 40, first 320 - 40 = 280, steps of 60
  for layer, expected in ipairs { 280, 220, 160, 100, 40 } do t.eq(keep:count(layer - 1, 0), expected) end
  -- the base would exceed 400 - 16: 384 down to 2 * 320 - 384 = 256
  keep = kv.press("pyramidkv", { window_size = 16, beta = 4 }):keep(ctx, 0.2)
  for layer, expected in ipairs { 384, 352, 320, 288, 256 } do t.eq(keep:count(layer - 1, 1), expected) end
  -- the top would be under the window: every layer the same
  keep = kv.press("pyramidkv", { window_size = 16, beta = 4 }):keep(ctx, 0.9)
  for layer = 0, 4 do t.eq(keep:count(layer, 0), 40) end
  t.eq({ ratios.round_half_even(32.5), ratios.round_half_even(33.5), ratios.round_half_even(-0.5) }, { 32, 34, 0 })
end)

t.case("a window is what was asked for in every context that is longer, half of a shorter one", function()
  local press = kv.press("snapkv", { window_size = 16 })
  for tokens, window in pairs { [33] = 16, [20] = 16, [17] = 16, [16] = 8, [9] = 4, [1] = 0 } do
    local score = press:score(fake.new { tokens = tokens }, .5)
    local protected = score:eq(math.huge):to("f32"):sum(-1)
    t.eq({ protected:min(), protected:max() }, { window, window })
    t.eq(#press:keep(fake.new { tokens = tokens }, .5).notes, tokens > 16 and 0 or 1, tokens .. " tokens")
  end
end)

-- Layers 2 and 4 of 4: keys of the middle are turned away from the last query, so that it looks at the ends only.
local function lazy_context()
  local ctx = fake.new { layers = 4, tokens = 100, head_dim = 8 }
  ctx.rope = function(_, _, n) return tensor.ones(n, 8), tensor.zeros(n, 8) end
  for l = 1, 4 do
    ctx.queries[l] = 1
    ctx.keys[l] = 0
    if l % 2 == 0 then ctx.keys[l]:narrow(2, 5, 76):copy_(tensor.full({ 2, 76, 8 }, -9)) end
  end
  return ctx
end

t.case("simlayerkv: lazy and whole layers in one model, one appended answer", function()
  local press = kv.press("simlayerkv", { lazy_threshold = 0.9, n_recent = 20 })
  local keep = press:keep(lazy_context(), 0.5)
  for layer = 0, 3 do t.eq(keep:count(layer, 1), layer % 2 == 0 and 100 or 4 + 19) end
  t.eq(press.budget, "own")
  -- without a threshold: the laziest layers first, as near to the ratio as whole layers come
  local by_ratio = kv.press("simlayerkv", { n_recent = 20 })
  keep = by_ratio:keep(lazy_context(), 0.2)
  t.eq({ keep:count(0, 0), keep:count(1, 0), keep:count(2, 0), keep:count(3, 0) }, { 100, 23, 100, 100 })
  keep = by_ratio:keep(lazy_context(), 0.9)
  for layer = 0, 3 do t.eq(keep:count(layer, 0), 9) end -- floor(100 * (1 - 0.9)) in double
  t.ok(keep.notes[1]:find "more than ratio 0.9 leaves: 9 stay", keep.notes[1])
  keep = kv.press("simlayerkv", { lazy_threshold = 0.9 }):keep(lazy_context(), 0.5)
  t.eq(keep:total(), 4 * 2 * 100)
  t.ok(keep.notes[1]:find "nothing is evicted")
  local model = kv.model.load(tiny, { dtype = "f32" })
  local mixed = kv.press("simlayerkv", { n_recent = 4 })
  local ctx = model:prefill({ 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24 }, mixed.needs)
  keep = mixed:keep(ctx, 0.3)
  t.ok(keep:count(0, 0) ~= keep:count(1, 0) or keep:count(1, 0) ~= keep:count(2, 0), "layers of different lengths")
  t.eq(#ctx:generate({ 30, 31 }, { keep = keep, max_new_tokens = 3, ignore_stop = true }).ids, 3)
end)

t.case("windows larger than the context", function()
  for _, name in ipairs { "snapkv", "pyramidkv", "lagkv", "compactor", "duo_attention", "dms" } do
    local keep = kv.press(name):keep(fake.new { tokens = 9 }, 0.5)
    t.ok(#keep.notes > 0, name .. " adapts and says so")
  end
end)

-- ---- memory ----

t.case("observed_attention holds no matrix of tokens x tokens", function()
  local n = 3000
  local ctx = fake.new { layers = 1, heads = 8, kv_heads = 4, tokens = n, head_dim = 16 }
  local C, matrix = require("kvbench.ffi").C, 4 * 8 * n * n
  local function peak() return math.max(tonumber(C.kvb_memory_peak(C.KVB_MEM_TENSOR)),
    tonumber(C.kvb_memory_peak(C.KVB_MEM_SCRATCH))) end
  t.ok(peak() < matrix / 4, "nothing before was as large")
  local score = kv.press("observed_attention"):score(ctx)
  t.ok(peak() < matrix / 4, ("%.1f MiB at most, one layer's matrix has %.1f"):format(peak() / 2 ^ 20, matrix / 2 ^ 20))
  -- columns of a causal matrix: each row sums to 1
  local seen = tensor.arange(n, 0, -1)
  for h = 1, 4 do t.near((score[1][h] * seen):sum(), n, 0.1) end
end)

-- ---- interventions ----

t.case("rescue and ablation force tokens at the same budget", function()
  local ctx = fake.new { tokens = 60 }
  local plain = kv.press("ea"):keep(ctx, 0.8)
  local rescued = kv.press("rescue", { of = "ea", tokens = "12-15, 30" }):keep(ctx, 0.8)
  local ablated = kv.press("ablation", { of = "ea", tokens = "12-15,30" }):keep(ctx, 0.8)
  for _, keep in ipairs { rescued, ablated } do t.eq(keep:total(), plain:total()) end
  t.eq(rescued:span_cells(12, 16), 6)
  t.eq(rescued:span_cells(30, 31), 6)
  for l = 0, 2 do
    for h = 0, 1 do
      t.eq(ablated:count(l, h, 12, 16) + ablated:count(l, h, 30, 31), 0)
      -- what is not named keeps the inner rule's order: of plain's other tokens all stay that still fit
      local named = plain:count(l, h, 12, 16) + plain:count(l, h, 30, 31)
      t.eq(select(1, plain:overlap(ablated, l, h)), plain:count(l, h) - named)
    end
  end
  t.fails(function() kv.press("rescue", { tokens = "15-12" }) end, "'15%-12' is not a span")
  t.fails(function() kv.press("rescue", { tokens = "60" }):keep(ctx, 0.5) end, "tokens %[60, 61%) do not lie inside")
  t.fails(function() kv.press("rescue"):keep(ctx, 0.5) end, "needs to know which tokens")
  t.fails(function() kv.press("rescue", { of = "adakv" }) end, "decides by itself")
end)

t.case("oracle: the attention of question and answer, against a plain softmax", function()
  local ctx = fake.new { layers = 2, tokens = 30 }
  local press = kv.press("oracle", { question = "ab", answer = "c" })
  local mine = press:score(ctx)
  local more = ctx:read_on { 97, 98, 99 }
  local cos, sin = ctx:rope(30, 3)
  local queries = more.queries:slice(3, -3):rope(cos, sin) / math.sqrt(8)
  local logits = queries:split_heads(2):matmul(more.keys:unsqueeze(3):transpose()) + tensor.causal_mask(3, 33)
  local expected = logits:softmax(-1):slice(-1, 1, 30):mean(4):mean(3)
  t.ok((mine - expected):abs():max() < 1e-6)
  t.fails(function() kv.press("oracle"):keep(ctx, 0.5) end, "needs to know what will be asked")
  ctx.questions = { { q = "ab", a = "c" }, { q = "zz", a = "y" } }
  local both = kv.press("oracle"):score(ctx)
  local second = kv.press("oracle", { question = "zz", answer = "y" }):score(ctx)
  t.ok((both - (mine + second) / 2):abs():max() < 1e-6, "several questions: their mean")
end)

-- ---- names ----

t.case("every press of KVPress 0.5.5 and of its evaluation has a name here, and an evaluation name is a recipe",
  function()
  local known = {}
  for _, name in ipairs(kv.press.list()) do known[name] = true end
  local classes = "criticaladakv criticalkv cur adakv composed expected_attention knorm observed_attention random "
    .. "restorekv "
    .. "simlayerkv snapkv streaming_llm think tova per_layer key_rerotation chunk duo_attention chunkkv qfilter "
    .. "pyramidkv finch lagkv block keydiff kvzip expected_attention_stats cam decoding ratio_decoding "
    .. "prefill_decoding compactor leverage non_causal_attention kvzap dms fastkvzip kvcompose merging cap lukv"
  for name in classes:gmatch "%S+" do t.ok(known[name], name .. " is a press here") end
  local page = io.open(require("kvbench.paths").at "docs/presses.md"):read "*a"
  local names = "adakv_snapkv block_keydiff chunkkv critical_adakv_expected_attention critical_adakv_snapkv "
    .. "critical_expected_attention critical_snapkv cur duo_attention duo_attention_on_the_fly "
    .. "expected_attention fastkvzip finch keydiff kvcompose kvcompose_unstructured kvzip kvzip_plus "
    .. "kvzap_linear kvzap_mlp kvzap_mlp_head kvzap_mlp_layer lagkv lukv knorm observed_attention pyramidkv "
    .. "qfilter random RestoreKV RestoreKV_plus snap_think snapkv streaming_llm think tova compactor "
    .. "adakv_compactor no_press cam_streaming_llm cam_knorm cam_adakv_snapkv cam_tova decoding_knorm "
    .. "decoding_streaming_llm decoding_tova decoding_qfilter decoding_adakv_expected_attention_e2 "
    .. "decoding_adakv_snapkv decoding_keydiff merging_knorm merging_snapkv merging_expected_attention "
    .. "merging_kvzap_mlp"
  for name in names:gmatch "%S+" do
    local recipe = page:match("\n| `" .. name .. "` | `(kv.press[^`]*)` |")
    local refused = name == "no_press" or name == "cam_adakv_snapkv" and page:find("`" .. name .. "` | refused: ", 1,
      true)
    t.ok(recipe or refused, name .. " has a recipe in docs/presses.md")
    if recipe then t.ok(kv.press.is(assert(loadstring("local kv = ... return " .. recipe))(kv)), recipe) end
  end
end)

-- ---- a batch changes nothing ----

t.case("every rule: the same keep-set alone and in a batch of contexts", function()
  local model = kv.model.load(tiny, { dtype = "f32" })
  local r = require("kvbench.rng").new "batch"
  local texts = {}
  for i = 1, 4 do
    texts[i] = {}
    for j = 1, 17 + 20 * i do texts[i][j] = r:int(3, 98) end
  end
  local paths = { qfilter = "q_filters.safetensors", kvzap = "kvzap_mlp.safetensors", lukv = "curve.npy",
    fastkvzip = "gates.pt" }
  local presses = {}
  for _, name in ipairs(kv.press.list()) do
    local given = {}
    if paths[name] then given.path = tiny .. "/" .. paths[name] end
    if name == "expected_attention_stats" then given.stats_folder = tiny .. "/query_stats.safetensors" end
    if name == "oracle" then given.question = "who?" end
    if name == "answer_aware" or name == "rescue" or name == "ablation" then given.tokens = "3-5" end
    if name ~= "luKV" and not name:lower():find "^restorekv" then presses[#presses + 1] = kv.press(name, given) end
  end
  local needs = kv.press.needs(presses)
  local together = model:prefill_many(texts, needs)
  local alone = {}
  for i, ids in ipairs(texts) do alone[i] = model:prefill(ids, needs) end
  for _, press in ipairs(presses) do
    for i = 1, #texts, 3 do
      t.eq(press:keep(together[i], 0.6):hash(), press:keep(alone[i], 0.6):hash(), press:label() .. ", context " .. i)
    end
  end
end)

t.case("keys without positions, whatever tokens were picked", function()
  local rotary, pick = require "kvbench.rotary", require "kvbench.press_pick"
  local ctx = fake.new { layers = 2, tokens = 20 }
  local whole = rotary.keys_before(ctx)
  t.ok((whole:rope(ctx:rope(0, 20)) - ctx.keys):abs():max() < 1e-5)
  local index = tensor.from({ { { 3, 20, 7 }, { 1, 2, 5 } }, { { 9, 8, 7 }, { 20, 1, 10 } } }, "i32")
  local part = pick.new(ctx, index)
  local again = pick.new(part, tensor.from({ { { 2, 1 }, { 3, 1 } }, { { 1, 3 }, { 2, 2 } } }, "i32"))
  local first, second = rotary.keys_before(part), rotary.keys_before(again)
  for l, row in ipairs(index:tolua()) do
    for h, list in ipairs(row) do
      for i, token in ipairs(list) do t.ok((first[l][h][i] - whole[l][h][token]):abs():max() < 1e-5) end
    end
  end
  t.ok((second[1][1][1] - whole[1][1][20]):abs():max() < 1e-5, "a pick of a pick")
end)

-- ---- the table ----

t.case("docs/presses.md lists every rule as it is", function()
  local made, page = dofile(here .. "../../scripts/press_table.lua").page()
  t.ok(made == page, "the table is out of date -> build/kvbench scripts/press_table.lua")
  for _, name in ipairs(kv.press.list()) do t.ok(page:find("`" .. name .. "`", 1, true), name .. " is in the table") end
end)

t.case("a random model's weights can be read: what its values and queries were made with", function()
  local model = kv.model.random({ layers = 2, hidden = 32, heads = 4, kv_heads = 2, head_dim = 8, ffn = 48, vocab = 60,
    max_positions = 512, norm_eps = 1e-5 }, { dtype = "f32", seed = 7 })
  local ids = {}
  for i = 1, 40 do ids[i] = (i * 7) % 60 end
  local ctx = model:prefill(ids, { queries = true, hidden = true })
  local x = require("kvbench.layer_input").of(ctx, 2)
  local function made(slot, heads) return x:matmul(model:weight(slot, 1):transpose()):view(40, heads, 8):permute(2, 1,
    3) end
  t.ok((made("v", 2) - ctx.values[2]):abs():max() < 1e-6, "values")
  t.ok((made("q", 4) - ctx.queries[2]):abs():max() < 1e-6, "queries")
  t.ok((ctx.hidden[1][3] - model:weight("embed")[ids[3] + 1]):abs():max() == 0, "embedding")
  t.eq(kv.press("criticalkv"):keep(ctx, 0.5):total(), 2 * 2 * 20)
  t.fails(function() model:weight("o", 2) end, "layers 0 to 1")
end)

t.case("what a context did not record is recorded by reading it again, with a notice", function()
  local model = kv.model.load(tiny, { dtype = "f32" })
  local ids = {}
  for i = 1, 45 do ids[i] = 3 + i * 31 % 95 end
  local fastkvzip = { path = tiny .. "/gates.pt" }
  for _, press in ipairs { kv.press "ea", kv.press("snapkv", { window_size = 20 }), kv.press("fastkvzip", fastkvzip),
    kv.press("adakv", { of = "observed_attention" }) } do
    local full, bare = model:prefill(ids, press.needs), model:prefill(ids, { window_queries = 2 })
    local expected, keep = press:keep(full, 0.6), press:keep(bare, 0.6)
    t.eq(keep:hash(), expected:hash(), press:label())
    t.ok(#expected.notes == 0 and keep.notes[1]:find "the context was read again", press:label())
    t.eq(#press:keep(bare, 0.6).notes, 0, "once")
    bare:forget()
    t.eq(press:keep(bare, 0.6):hash(), expected:hash(), press:label() .. " after forget()")
  end
  local bare = model:prefill(ids)
  local decoding = kv.press("decoding", { of = { press = "snapkv", window_size = 6 }, compression_interval = 2 })
  t.ok(bare:generate({ 7 }, { keep = decoding:keep(bare, 0.5), max_new_tokens = 6, ignore_stop = true }).ids[1])
end)
