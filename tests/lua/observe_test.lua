-- SPDX-License-Identifier: Apache-2.0
-- Observed attention against a softmax in plain Lua over the keys and queries of a prefill; the CPU's tiers and the GPU
-- against the reference; and what must change nothing: company, order, observing itself. --device cuda: on the GPU.
local t = require "kvbench.testing"
local kv = require "kvbench"
local attention = require "kvbench.attention"
local ffi = require "ffi"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local C = require("kvbench.ffi").C
local tiny, here = dofile(paths.at "tests/lua/tiny_sweep.lua"), paths.at "tests/lua/observe_test.lua"

local function draw(seed, n)
  local r, ids = kv.rng.new(seed), {}
  for i = 1, n do ids[i] = r:int(3, 127) end
  return ids
end

local function numbers(x)
  local host, n, out = x:cpu():contiguous(), 1, {}
  for d = 1, host:dim() do n = n * host:size(d) end
  local from = ffi.cast(host:type() == "i32" and "int32_t *" or "float *", host.data)
  for i = 1, n do out[i] = from[i - 1] end
  return out
end

local function near_all(a, b, tolerance, what)
  t.eq(#a, #b, what)
  local worst = 0
  for i = 1, #a do worst = math.max(worst, math.abs(a[i] - b[i])) end
  t.ok(worst <= tolerance, ("%s: off by %g"):format(what, worst))
end

local TEXT, IDS = draw("context", 150), draw("question", 5)
local CLASSES = { { 0, 1, 2, 3 }, { 10, 11, 70 }, { 70, 71, 149 } } -- 70 belongs to the first that names it

local function class_of(token)
  for class, list in ipairs(CLASSES) do
    for _, each in ipairs(list) do if each == token then return class end end
  end
  return 4
end

local function ask(model, more, ctx)
  local batch = model:batch()
  local o = { ctx = ctx or model:prefill(TEXT), ids = IDS, max_new_tokens = 4, ignore_stop = true }
  for name, value in pairs(more or {}) do o[name] = value end
  batch:add(o)
  local result = batch:run()[1]
  batch:close()
  return result
end

local function everything(keeps)
  return { attention = { classes = CLASSES, within = { 1, 2, 3 } }, weights = { rows = 2 }, lost = { keeps = keeps } }
end

-- ---- against plain Lua ----

-- Keys, values and rotated, scaled queries of context and question in one prefill.
local function parts(model)
  local both = {}
  for _, id in ipairs(TEXT) do both[#both + 1] = id end
  for _, id in ipairs(IDS) do both[#both + 1] = id end
  local ctx = model:prefill(both, { queries = true })
  return { queries = attention.window_queries(ctx, #both), keys = ctx.keys, values = ctx.values, n = #both,
    group = model.heads / model.kv_heads, dim = model.head_dim }
end

-- Weights of row i of a head over the tokens for which sees(token) holds; all count from 0.
local function softmax(p, l, h, i, sees)
  local logits, largest, sum, g = {}, -math.huge, 0, math.floor(h / p.group)
  for j = 0, i do
    local dot = 0
    for d = 1, p.dim do dot = dot + p.queries:at(l + 1, h + 1, i + 1, d) * p.keys:at(l + 1, g + 1, j + 1, d) end
    logits[j] = sees(j) and dot or -math.huge
    largest = math.max(largest, logits[j])
  end
  for j = 0, i do
    logits[j] = math.exp(logits[j] - largest)
    sum = sum + logits[j]
  end
  for j = 0, i do logits[j] = logits[j] / sum end
  return logits
end

local function output(p, l, h, weights, sees)
  local out, sum, g = {}, 0, math.floor(h / p.group)
  for d = 1, p.dim do out[d] = 0 end
  for j = 0, #weights do
    if sees(j) then
      sum = sum + weights[j]
      for d = 1, p.dim do out[d] = out[d] + weights[j] * p.values:at(l + 1, g + 1, j + 1, d) end
    end
  end
  local norm = 0
  for d = 1, p.dim do
    out[d] = out[d] / sum
    norm = norm + out[d] ^ 2
  end
  return out, math.sqrt(norm)
end

local function all() return true end

local function against_lua(label, model)
  t.case(label .. ": weights, tops, masses, recall and error are those of a softmax in Lua", function()
    local n, last, p = #TEXT, #TEXT + #IDS - 1, parts(model)
    local ctx = model:prefill(TEXT)
    local keep = kv.press("random", { seed = 3 }):keep(ctx, .7)
    local o = ask(model, everything { keep }, ctx).observed
    for l = 0, model.layers - 1 do
      for h = 0, model.heads - 1 do
        local g = math.floor(h / p.group)
        local w = softmax(p, l, h, last, all)
        local mass, best, within = { 0, 0, 0, 0, 0 }, 0, nil
        for j = 0, last do
          t.near(o.weights:at(1, l + 1, h + 1, j + 1), w[j], 1e-5)
          local class = j < n and class_of(j) or 5
          mass[class] = mass[class] + w[j]
          if j < n and w[j] > w[best] then best = j end
          if class > 1 and class < 5 and (not within or w[j] > w[within]) then within = j end
        end
        for class = 1, 5 do t.near(o.mass:at(1, l + 1, h + 1, class), mass[class], 1e-5) end
        t.eq(o.top:at(1, l + 1, h + 1), best)
        t.eq(o.top_within:at(1, l + 1, h + 1), within)
        local function kept(j) return j >= n or keep:kept(l, g, j) end
        local share = 0
        for j = 0, n - 1 do share = share + (kept(j) and w[j] or 0) end
        t.near(o.recall:at(1, 1, l + 1, h + 1), share / (1 - mass[5]), 1e-4)
        local full, norm = output(p, l, h, w, all)
        local part, apart = output(p, l, h, w, kept), 0
        for d = 1, p.dim do apart = apart + (part[d] - full[d]) ^ 2 end
        t.near(o.error:at(1, 1, l + 1, h + 1), math.sqrt(apart) / norm, 1e-4)
      end
    end
    t.eq(o.weights:size(4), n + #IDS + 4)
    for j = last + 2, o.weights:size(4) do t.eq(o.weights:at(1, 1, 1, j), 0) end
  end)

  t.case(label .. ": an evicted token has no weight, and the first layer is the full one renormalised", function()
    local n, last, p = #TEXT, #TEXT + #IDS - 1, parts(model)
    local ctx = model:prefill(TEXT)
    local keep = kv.press("random", { seed = 5 }):keep(ctx, .8)
    local o = ask(model, { keep = keep, attention = { classes = CLASSES, within = { 1 } }, weights = {} }, ctx).observed
    for h = 0, model.heads - 1 do
      local g = math.floor(h / p.group)
      local w = softmax(p, 0, h, last, function(j) return j >= n or keep:kept(0, g, j) end)
      for j = 0, last do t.near(o.weights:at(1, 1, h + 1, j + 1), w[j], 1e-5) end
    end
    local some
    for l = 0, model.layers - 1 do
      for h = 0, model.heads - 1 do
        local g, top, inner = math.floor(h / p.group), o.top:at(1, l + 1, h + 1), o.top_within:at(1, l + 1, h + 1)
        t.ok(keep:kept(l, g, top), "an evicted token is the most attended one")
        local any = false
        for _, token in ipairs(CLASSES[2]) do any = any or keep:kept(l, g, token) end
        t.eq(inner == -1, not any)
        some = some or inner == -1
      end
    end
    t.ok(some, "no head lost the whole class: the case says nothing")
  end)
end

-- ---- backends against each other ----

local function same_observations(a, b, tolerance, what)
  near_all(numbers(a.mass), numbers(b.mass), tolerance, what .. ": mass")
  near_all(numbers(a.weights), numbers(b.weights), tolerance, what .. ": weights")
  near_all(numbers(a.recall), numbers(b.recall), tolerance, what .. ": recall")
  near_all(numbers(a.error), numbers(b.error), 20 * tolerance, what .. ": error")
  local x, y, other = numbers(a.top), numbers(b.top), 0
  for i = 1, #x do other = other + (x[i] ~= y[i] and 1 or 0) end
  t.ok(other <= #x * (tolerance > 1e-4 and .1 or 0), ("%s: %d of %d tops differ"):format(what, other, #x))
end

local function agrees(label, family, opt, tolerance)
  t.case(label .. ": agrees with the reference", function()
    local reference, model = tiny.model(family, { device = "ref" }), tiny.model(family, opt)
    local keeps = {}
    for i = 1, 3 do keeps[i] = kv.press("random", { seed = i }):keep(reference:prefill(TEXT), .3 * i) end
    local a, b = ask(reference, everything(keeps)), ask(model, everything(keeps))
    -- one step only: with bf16 a token may flip, and the rows behind it are another answer's
    local function first(o)
      return { mass = o.mass:narrow(1, 1, 1), top = o.top:narrow(1, 1, 1), weights = o.weights:narrow(1, 1, 1),
        recall = o.recall, error = o.error }
    end
    same_observations(first(a.observed), first(b.observed), tolerance, family)
    t.eq(b.observed.mass:size(1), 4) -- the last question row and three generated tokens were fed
  end)
end

-- ---- what must change nothing ----

local function invariant(label, model)
  local ctx = model:prefill(TEXT)
  local other = model:prefill(draw("other", 70))
  local keep = kv.press("knorm"):keep(ctx, .5)
  local function requests()
    local list = {}
    for i = 1, 12 do
      local o = { ctx = i % 4 == 0 and other or ctx, ids = draw("q" .. i % 5, 4 + i % 5), max_new_tokens = 1 + i % 6,
        ignore_stop = true, keep = i % 4 ~= 0 and i % 3 == 0 and keep or nil, tag = i, trunk = i % 3 }
      if i % 2 == 0 then
        o.attention = { classes = i % 4 == 2 and { { 1, 2 }, { 5 } } or { { 3 }, { 1, 2 }, { 5, 6 }, { 9 } },
          within = { 0, 2 } } -- rows that share a block may have different numbers of classes
        o.weights = { layers = { 1 }, rows = 1 }
        o.lost = o.ctx == ctx and { keeps = { keep } } or nil
      end
      list[i] = o
    end
    return list
  end
  local function run(order, plain)
    local batch, out, list = model:batch(), {}, requests()
    for _, i in ipairs(order) do
      if plain then list[i].attention, list[i].weights, list[i].lost = nil, nil, nil end
      batch:add(list[i])
    end
    for _, result in ipairs(batch:run()) do
      local seen = { ids = result.ids, margins = result.margins }
      for name, x in pairs(not plain and result.observed or {}) do
        if type(x) == "cdata" then seen[name] = numbers(x) end
      end
      out[result.tag] = seen
    end
    batch:close()
    return out
  end
  local order, back = {}, {}
  for i = 1, 12 do order[i], back[13 - i] = i, i end
  local together = run(order)

  t.case(label .. ": any order and company give the same observations, to the bit", function()
    t.eq(run(back), together)
    for i = 1, 12 do t.eq(run({ i })[i], together[i], "request " .. i) end
  end)
  t.case(label .. ": observing changes no answer", function()
    for i, result in pairs(run(order, true)) do
      t.eq(result.ids, together[i].ids)
      t.eq(result.margins, together[i].margins)
    end
  end)
  t.case(label .. ": masses sum to 1, and everything kept loses nothing", function()
    local all_kept = require("kvbench.keep").all(model.layers, model.kv_heads, #TEXT)
    local lost = { keeps = { all_kept }, from = 0, rows = 5 }
    local o = ask(model, { attention = { classes = CLASSES }, lost = lost }, ctx).observed
    for _, x in ipairs(numbers(o.mass:sum(-1))) do t.near(x, 1, 2e-3) end
    for _, x in ipairs(numbers(o.recall)) do t.near(x, 1, 1e-5) end
    for _, x in ipairs(numbers(o.error)) do t.near(x, 0, 1e-5) end
    t.eq(o.recall:size(1), 5)
  end)
  t.case(label .. ": masses are the sums of the weights by class, tops their largest", function()
    local o = ask(model, { attention = { classes = CLASSES, within = { 1, 2 } }, weights = { rows = 3 }, keep = keep },
      ctx).observed
    for row = 1, 3 do
      for l = 1, model.layers do
        for h = 1, model.heads do
          local w, sums = numbers(o.weights[row][l][h]), { 0, 0, 0, 0, 0 }
          local top, inside = { -1, 0 }, { -1, 0 }
          for i, x in ipairs(w) do
            local class = i > #TEXT and 5 or class_of(i - 1)
            sums[class] = sums[class] + x
            if class < 5 and x > top[2] then top = { i - 1, x } end
            if (class == 2 or class == 3) and x > inside[2] then inside = { i - 1, x } end
          end
          near_all(numbers(o.mass[row][l][h]), sums, 2e-3, "mass")
          t.eq(o.top:at(row, l, h), top[1])
          t.eq(o.top_within:at(row, l, h), inside[1])
        end
      end
    end
  end)
  t.case(label .. ": memory is given back", function()
    ask(model, everything { keep }, ctx)
    collectgarbage()
    local before = tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE))
    for _ = 1, 3 do ask(model, everything { keep }, ctx) end
    collectgarbage()
    t.eq(tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)), before)
  end)
end

local device = options.device or "cpu"
if device:find "^cuda" then
  against_lua("cuda f32", tiny.model("llama"))
  agrees("cuda f32", "qwen3", { device = device }, 1e-4)
  agrees("cuda bf16", "llama", { device = device, dtype = "bf16" }, 3e-2)
  invariant("cuda bf16", tiny.model("llama", { dtype = "bf16" }))
else
  against_lua("ref f32", tiny.model("llama", { device = "ref" }))
  against_lua("cpu f32", tiny.model("llama_mha", { device = "cpu" }))
  for _, family in ipairs { "llama", "qwen2", "qwen3", "mistral" } do
    agrees("cpu f32", family, { device = "cpu" }, 1e-4)
  end
  invariant("cpu f32", tiny.model("llama", { device = "cpu" }))
  local tier = ffi.string(C.kvb_cpu_tier())
  if tier == "amx-bf16" then
    agrees("cpu bf16", "llama", { device = "cpu", dtype = "bf16" }, 3e-2)
    agrees("cpu bf16", "qwen2", { device = "cpu", dtype = "bf16" }, 3e-2)
    invariant("cpu bf16", tiny.model("qwen3", { device = "cpu", dtype = "bf16" }))
  end
  -- the instruction sets this CPU can be lowered to, each in a process of its own
  local binary = io.popen("readlink -f /proc/$PPID/exe"):read "*l"
  for _, lower in ipairs(os.getenv "KVB_CPU_TIER" and {} or { "scalar", "avx2", "avx512" }) do
    if lower == tier then break end
    t.case("the same on " .. lower, function()
      local child = io.popen(("KVB_CPU_TIER=%s '%s' '%s' 2>&1"):format(lower, binary, here))
      local text = child:read "*a"
      child:close()
      t.ok(text:find "%d+ passed, 0 failed", text)
    end)
  end
end

t.case("what cannot be is told", function()
  local model = tiny.model()
  local ctx = model:prefill(TEXT)
  local function fails(more, pattern) t.fails(function() ask(model, more, ctx) end, pattern) end
  fails({ attention = { classes = { 0, 1 } } }, "2 classes of tokens, the context has 150")
  fails({ attention = { classes = { { 150 } } } }, "class 0 names token 150 of 150")
  fails({ attention = { rows = 9 } }, "attention: rows 4 to 12, there are 0 to 7")
  fails({ weights = { layers = { 99 } } }, "weights of layer 99")
  fails({ lost = { keeps = { kv.press("knorm"):keep(model:prefill(draw("x", 9)), .5) } } },
    "keep%-set 0 to weigh is for")
  local evicted = ctx:evict(kv.press("knorm"):keep(ctx, .5))
  t.fails(function() ask(model, { attention = {} }, evicted) end, "evicted context's heads")
end)

-- ---- in a sweep ----

local model, data = tiny.model(nil, { device = options.device or "cpu" }), tiny.data(2, 3)

local function sweep(more)
  local o = { model = model, dataset = data, presses = { "knorm", { press = "snapkv", window_size = 16 } },
    ratios = { 0, .5, .9 }, max_new_tokens = 3, quiet = true, observe = { "attention", "recall" } }
  for name, value in pairs(more or {}) do o[name] = value end
  return kv.sweep(o)
end

local NAMES = { "attention_V", "attention_B", "attention_sinks", "attention_X", "attention_other", "attention_own",
  "top_V",
  "attention_recall", "output_error" }

t.case("a sweep's rows: masses sum to 1, the full cache loses nothing, answers stay", function()
  local rows, plain = tiny.by_key(sweep()), tiny.by_key(sweep { observe = {} })
  local losses = 0
  for key, row in pairs(rows) do
    local sum = 0
    for i = 1, 6 do sum = sum + row[NAMES[i]] end
    t.near(sum, 1, 1e-4)
    t.eq(row.answer, plain[key].answer)
    t.eq(row.margin, plain[key].margin)
    t.eq(plain[key].attention_V, nil)
    if row.ratio == 0 then
      t.eq(row.attention_recall, 1)
      t.eq(row.output_error, 0)
    else
      t.ok(row.attention_recall < 1 and row.output_error > 0, key)
      losses = losses + (1 - row.attention_recall)
    end
  end
  t.ok(losses > .1)
  for what, more in pairs { group = { group = 1 }, trunk = { trunk = false }, dedupe = { dedupe = false },
    teacher = { teacher = true } } do
    for key, row in pairs(tiny.by_key(sweep(more))) do
      for _, name in ipairs(NAMES) do t.eq(row[name], rows[key][name], what .. ": " .. name) end
    end
  end
end)

t.case("metrics declare what they need; what nobody declares is not there", function()
  local seen = 0
  sweep { observe = false, presses = { "knorm" }, metrics = {
    { name = "a", observe = { hidden = { layers = { 1 }, rows = { -1, "answer" } } }, columns = function(v)
      seen = seen + 1
      t.eq(v:hidden(1, -1):size(1), model.hidden)
      t.eq(v:hidden(1, "answer"):size(1), model.hidden)
      t.eq(v.result.observed.mass, nil)
      t.fails(function() v:hidden(0, -1) end, "layer 0, row %-1 were not observed")
    end },
    { name = "b", observe = { weights = { layers = { 0 } } }, columns = function(v)
      t.eq(v.result.observed.weights:size(1), 1)
      t.eq(v.result.observed.weights:size(2), 1)
    end },
  } }
  t.eq(seen, 18)
  t.fails(function() sweep { observe = { "atention" } } end, "observe: 'atention' cannot be observed")
  t.fails(function() sweep { metrics = { { name = "m", observe = { "x" }, columns = function() end } } } end,
    "metric 'm': 'x' cannot be observed")
end)

t.case("presses that know the question: rescue keeps the answer's tokens, ablation drops them", function()
  local run = sweep { presses = { "knorm", { press = "answer_aware", of = "knorm" }, "oracle",
    { press = "answer_aware", of = "knorm", mode = "ablation" } }, ratios = { 0, .5, .9 } }
  local n, oracle, differ = { rescue = 0, ablation = 0 }, {}, 0
  for _, row in ipairs(run.rows) do
    if row.press:find "^answer_aware" and row.ger_frac then
      local ablation = row.press:find "ablation"
      if ablation then t.eq(row.ger_frac, 1) elseif row.ratio == .5 then t.eq(row.ger_frac, 0) end
      if ablation then t.eq(row.attention_V, 0) end
      n[ablation and "ablation" or "rescue"] = n[ablation and "ablation" or "rescue"] + 1
    elseif row.press == "oracle" and row.ratio == .9 then -- another set for each question of a passage
      local one = oracle[row.passage_id]
      if one and one ~= row.ger_frac then differ = differ + 1 end
      oracle[row.passage_id] = row.ger_frac or one
    end
  end
  t.ok(differ > 0, "the oracle keeps the same whatever is asked")
  t.ok(n.rescue >= 6 and n.ablation >= 6)
  t.eq(#run.rows, 6 * 9)
end)
