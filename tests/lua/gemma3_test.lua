-- SPDX-License-Identifier: Apache-2.0
-- Sliding windows: what a row sees of its passage and of itself, through masks, evicted contexts and presses. On the
-- tiny model of tests/golden/models/gemma3: layers sliding, sliding, full, sliding, full; a window of 24; one KV head.
local kv = require "kvbench"
local t = require "kvbench.testing"
local keepset = require "kvbench.keep"
local rng = require "kvbench.rng"

local folder = (arg and arg[0] or ""):match "^(.*)/[^/]*$" or "tests/lua"
local dir = "tests/golden/models/gemma3"
if require("kvbench.ffi").C.kvb_path_kind(dir) ~= 2 then dir = folder .. "/../golden/models/gemma3" end
local model = kv.model.load(dir, { dtype = "f32" })
local WINDOW, SLIDING, FULL = 24, { 0, 1, 3 }, { 2, 4 }
local N = 60

local ids, question = {}, {}
for i = 1, N do ids[i] = (i * 37) % 120 + 3 end
for i = 1, 9 do question[i] = (i * 53) % 120 + 3 end

local function gap(a, b) return (a - b):abs():max() / b:abs():max() end

t.case("the model says which layers slide", function()
  t.eq({ model.sliding_window, model.sliding }, { WINDOW, { true, true, false, true, false } })
end)

t.case("a distance of full layers that is none is refused", function()
  local family = require "kvbench.arch.gemma3"
  for _, bad in ipairs { { 1, 2 }, 0, -6, 2.5, "six", true } do
    local config = { sliding_window = 16, sliding_window_pattern = bad }
    t.fails(function() family.layers(function(name) return config[name] end, { layers = 2 }, "here") end,
      "^here: sliding_window_pattern is [^\n]+ %-> a whole number of layers, from 1$")
  end
end)

t.case("a passage read at once, or in two parts cut anywhere, gives the same logits", function()
  local all = { unpack(ids) }
  for _, id in ipairs(question) do all[#all + 1] = id end
  local whole = model:prefill(all, { logits = true }).prefill_logits:cpu()
  for _, cut in ipairs { 5, 23, 24, 25, 41, N } do
    local rest = {}
    for i = cut + 1, #all do rest[#rest + 1] = all[i] end
    local ctx = model:prefill { unpack(all, 1, cut) }
    t.ok(gap(ctx:logits(rest):cpu(), whole:narrow(1, cut + 1, #rest)) < 1e-5, "cut at " .. cut)
  end
end)

t.case("what left the window is not seen, the last position inside it is", function()
  local ctx = model:prefill(ids)
  local full = ctx:logits(question)
  local keep = keepset.all(model.layers, 1, N)
  -- the first question token stands at N and sees N - WINDOW + 1 and later
  for _, layer in ipairs(SLIDING) do keep:set(layer, nil, 0, N - WINDOW + 1, false) end
  t.eq((ctx:logits(question, { keep = keep }) - full):abs():max(), 0)
  keep:set(1, nil, N - WINDOW + 1, N - WINDOW + 2, false)
  t.ok(gap(ctx:logits(question, { keep = keep }), full) > 1e-6, "the first key of the window counts")
  local global = keepset.all(model.layers, 1, N)
  global:set(FULL[1], nil, 3, 4, false)
  t.ok(gap(ctx:logits(question, { keep = global }), full) > 1e-6, "full layers see further")
end)

t.case("answers longer than the window forget the passage in sliding layers", function()
  local ctx = model:prefill(ids)
  local long = {}
  for i = 1, WINDOW + 6 do long[i] = (i * 29) % 120 + 3 end
  local keep = keepset.all(model.layers, 1, N)
  for _, layer in ipairs(SLIDING) do keep:set(layer, nil, 0, N, false) end
  local a, b = ctx:logits(long), ctx:logits(long, { keep = keep })
  t.ok(gap(b:narrow(1, 1, 1), a:narrow(1, 1, 1)) > 1e-6)
  -- what a row of the last layer but one saw earlier still reaches it through the layers below
  t.ok(gap(b:narrow(1, #long, 1), a:narrow(1, #long, 1)) < gap(b:narrow(1, 1, 1), a:narrow(1, 1, 1)))
end)

t.case("evicted for good equals masked, also in sliding layers", function()
  local ctx, r = model:prefill(ids), rng.new "gemma"
  for _, share in ipairs { 0.2, 0.7 } do
    local keep = keepset.all(model.layers, 1, N)
    for layer = 0, model.layers - 1 do
      for token = 0, N - 1 do if r:uniform() < share then keep:set(layer, 0, token, token + 1, false) end end
    end
    local small = ctx:evict(keep)
    t.ok(gap(small:logits(question), ctx:logits(question, { keep = keep })) < 1e-5)
    small:close()
  end
end)

t.case("observed attention has the window too", function()
  local batch = model:batch()
  batch:add { ctx = model:prefill(ids), ids = question, max_new_tokens = 1, ignore_stop = true,
    weights = { from = 0, rows = 1 } }
  local weights = batch:run()[1].observed.weights -- [rows, layers, heads, tokens]; the row stands at N
  for l = 0, model.layers - 1 do
    local before = weights:narrow(2, l + 1, 1):narrow(4, 1, N - WINDOW + 1):sum()
    if model.sliding[l + 1] then t.eq(before, 0, "layer " .. l) else t.ok(before > 0, "layer " .. l) end
    t.near(weights:narrow(2, l + 1, 1):sum(), model.heads, 1e-4)
  end
  batch:close()
end)

t.case("bf16 stays near f32", function()
  local ok, narrow = pcall(kv.model.load, dir, { dtype = "bf16" })
  if not ok then return t.skip("bf16", narrow) end
  local a, b = model:prefill(ids):logits(question), narrow:prefill(ids):logits(question)
  t.ok(gap(b, a) < 0.05)
  narrow:close()
end)

-- ---- presses: the full layers are compressed, the others keep everything ----

local function same(a, b)
  for l = 0, model.layers - 1 do
    for token = 0, N - 1 do if a:kept(l, 0, token) ~= b:kept(l, 0, token) then return false end end
  end
  return true
end

t.case("a press compresses full layers only, and says so", function()
  local press = kv.press "knorm"
  local ctx = model:prefill(ids, press.needs)
  for _, keep in ipairs(press:keeps(ctx, { 0, 0.5, 0.9 }, { ranks = true })) do
    t.eq(keep.compressed, { 3, 5 })
    for _, l in ipairs(SLIDING) do t.eq(keep:count(l, 0), N) end
    local kept = keep.ratio == 0 and N or math.floor(N * (1 - keep.ratio))
    for _, l in ipairs(FULL) do t.eq(keep:count(l, 0), kept) end
    t.near(keep:evicted(), 1 - kept / N, 1e-12, "the effective ratio is that of the compressed layers")
    t.eq(keep:copy():judged_layers(), FULL)
    if keep.ranks then t.eq(keep.ranks:size(), { model.layers, 1, N }) end
  end
  local scores = press:score(ctx)
  for _, l in ipairs(SLIDING) do t.eq(scores:narrow(1, l + 1, 1):min(), math.huge) end
end)

t.case("M is what was compressed", function()
  local eviction = require "kvbench.metric.eviction"
  local ctx = model:prefill(ids)
  local keep = kv.press("random", { seed = 3 }):keep(ctx, 0.5)
  local view = eviction.view(keep)
  t.eq(view.cells, #FULL)
  local gone = {}
  for token = 0, N - 1 do
    if not keep:kept(FULL[1], 0, token) and not keep:kept(FULL[2], 0, token) then gone[#gone + 1] = token end
  end
  t.ok(#gone > 3 and #gone < N)
  for _, token in ipairs(gone) do t.eq(view.total[token], 0) end
  local other = kv.press("random", { seed = 4 }):keep(ctx, 0.5)
  local both = keep:overlap(other)
  t.ok(both <= #FULL * N / 2, "sliding layers do not count as agreement")
end)

t.case("one KV head: AdaKV is the press inside it", function()
  for _, inner in ipairs { "knorm", "expected_attention", "snapkv", "keydiff" } do
    local ada = kv.press("adakv", { of = inner })
    local ctx = model:prefill(ids, ada.needs)
    for _, ratio in ipairs { 0.3, 0.8 } do
      t.ok(same(ada:keep(ctx, ratio), kv.press(inner):keep(ctx, ratio)), inner .. " at " .. ratio)
    end
  end
end)

t.case("every press that needs nothing else runs, and what it keeps can be used", function()
  local ran = 0
  for _, name in ipairs(kv.press.list()) do
    local ok, press = pcall(kv.press, name)
    if ok then
      local ctx = model:prefill(ids, press.needs)
      local fine, keep = pcall(press.keep, press, ctx, 0.5)
      -- files of weights or statistics, a question, a tokenizer: what rules say that they need
      if not fine then
        t.ok(tostring(keep):find "needs" or tostring(keep):find "no tokenizer" or tostring(keep):find "no file", name
          .. ": " .. tostring(keep))
      else
        for _, l in ipairs(SLIDING) do t.eq(keep:count(l, 0), N, name) end
        local result = ctx:generate(question, { keep = keep, max_new_tokens = 12, ignore_stop = true })
        t.eq(#result.ids, 12, name)
        ran = ran + 1
      end
      ctx:close()
    end
  end
  t.ok(ran > 25, ran .. " presses ran")
end)

t.case("a stored run knows which layers were compressed: its values follow from the ledger", function()
  local paths = require "kvbench.paths"
  local tiny, out = dofile(paths.at "tests/lua/tiny_sweep.lua"), os.tmpname()
  os.remove(out)
  kv.sweep { model = tiny.model "gemma3", dataset = tiny.data(1, 3), presses = { "knorm" }, ratios = { 0, .5 },
    max_new_tokens = 2, quiet = true, out = out }
  local printed, old = {}, print
  print = function(...) printed[#printed + 1] = table.concat({ ... }, " ") end -- luacheck: ignore
  local ok, status = pcall(require "kvbench.runs.verify", { out })
  print = old -- luacheck: ignore
  t.ok(ok, tostring(status))
  t.ok(table.concat(printed, "\n"):find("whole; ", 1, true), table.concat(printed, "\n"))
  os.execute("rm -rf '" .. out .. "'")
end)

-- ---- an attention scale of the model's own (tests/golden/make_gemma_scale.py) ----

t.case("presses and observation use the model's attention scale", function()
  local json = require "kvbench.json"
  local golden = json.load(dir .. "/../../gemma_scale.json")
  local scaled = os.tmpname()
  os.remove(scaled)
  os.execute(("mkdir '%s' && cp '%s'/model.safetensors '%s'/generation_config.json '%s'"):format(scaled, dir, dir,
    scaled))
  local config = json.load(dir .. "/config.json")
  config.query_pre_attn_scalar = golden.scalar
  local file = assert(io.open(scaled .. "/config.json", "w"))
  file:write(json.encode(config))
  file:close()
  local other = kv.model.load(scaled, { dtype = "f32" })
  local ctx = other:prefill(ids, { queries = true })
  t.ok(gap(ctx:logits(question):cpu(), kv.tensor.from(golden.logits)) < 1e-4)
  local function near(press, name, first, last)
    local scores = press:score(ctx)
    for _, l in ipairs(FULL) do
      local own, want = scores[l + 1][1], kv.tensor.from(golden[name][tostring(l)])
      t.ok(gap(own:narrow(1, first, last - first + 1):cpu(), want) < 1e-4, name .. " of layer " .. l)
      t.ok(gap(kv.press(press):score(model:prefill(ids, { queries = true }))[l + 1][1]:narrow(1, first,
        last - first + 1)
        :cpu(), want) > 1e-3, name .. " depends on the scale")
    end
  end
  near(kv.press("snapkv", { window_size = 16, kernel_size = 5 }), "snapkv", 1, N - 16)
  near(kv.press("expected_attention", { n_future_positions = 8, use_vnorm = false }), "expected", 5, N)
  -- the engine's own rows against those that are computed from queries and keys, windows included
  local rows = require("kvbench.question_rows").of(ctx, question)
  local batch = other:batch()
  batch:add { ctx = ctx, ids = question, max_new_tokens = 1, ignore_stop = true, weights = { from = 0, rows = 9 } }
  local seen = batch:run()[1].observed.weights
  batch:close()
  local append = require "kvbench.causal.append"
  local last = append.last_row(ctx, question)
  local worst, of_append = 0, 0
  for l = 0, other.layers - 1 do
    local a = rows:weights(l)
    for h = 0, other.heads - 1 do
      for i = 0, 8 do
        for key = 0, N + i do
          worst = math.max(worst, math.abs(a[(h * rows.rows + i) * rows.keys + key] - seen:at(i + 1, l + 1, h + 1,
            key + 1)))
        end
      end
      for key = 0, N - 1 do
        of_append = math.max(of_append, math.abs(last:at(l + 1, h + 1, key + 1) - seen:at(9, l + 1, h + 1, key + 1)))
      end
    end
  end
  rows:close()
  t.ok(worst < 1e-5, "question_rows: off by " .. worst)
  t.ok(of_append < 1e-5, "append: off by " .. of_append)
  os.execute("rm -r '" .. scaled .. "'")
end)
