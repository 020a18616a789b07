-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/golden.lua DIR... [--only RULE,RULE]: judges this program against stored references.
--
-- DIR is one model folder, or a folder of model folders: config.json and weights, forward.safetensors, and
-- press-<name>-<ratio>.safetensors whose metadata names the rule. One count for forward.safetensors, one per press
-- file; what is not built is skipped and says why. Always f32. Tolerances: relative to the largest value of a layer
-- unless said.
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local json = require "kvbench.json"
local common = dofile((arg[0]:gsub("[^/]*$", "")) .. "golden_common.lua")
local weights = require "kvbench.weights"

local TENSOR_TOL = 1e-3   -- hidden, keys, values, logits
local SCORE_REL, SCORE_MEDIAN = 1e-3, 1e-5
-- Z-scores of attention without a mask are differences of softmax sums: one token of all goldens, near 0, is 1.4e-5 of
-- the median away, and the reference in f32 is up to 3e-5 away from itself in f64. No other rule needs it.
local MEDIAN_OF = { non_causal_attention = 1e-4, compactor = 1e-4 }
local GREEDY_MARGIN = 1e-3 -- relative to the largest logit: below it f32 may choose either token

local tally = { passed = 0, failed = 0, skipped = 0 }
local function say(kind, name, detail)
  tally[kind] = tally[kind] + 1
  if kind ~= "passed" or detail then print(("%-7s %s%s"):format(kind, name, detail and ": " .. detail or "")) end
end

local function fail(...) error(string.format(...), 0) end

-- The largest |a - b| / max|b| over the slices of the first dimension (layers).
local function compare(name, mine, file, key, tol, slices)
  local expected, info = file:floats(key)
  local n, worst, where = info.elements / slices, 0, 0
  local values = common.floats(mine)
  for s = 0, slices - 1 do
    local difference, largest = 0, 1e-30
    for i = s * n, (s + 1) * n - 1 do
      local d = math.abs(values[i] - expected[i])
      if not (d <= difference) then difference = d end -- NaN ends up here
      largest = math.max(largest, math.abs(expected[i]))
    end
    if not (difference / largest <= worst) then worst, where = difference / largest, s end
  end
  if not (worst <= tol) then fail("%s differs by %.3g of the largest value in layer %d (allowed %.0e)", name, worst,
    where, tol) end
  return worst
end

local function check_tokens(what, result, expected, largest_logit)
  for i, id in ipairs(expected) do
    if result.ids[i] ~= id then
      if result.margins[i] and result.margins[i] < GREEDY_MARGIN * largest_logit then return end
      fail("%s: token %d is %s, expected %d (margin %.4g)", what, i, tostring(result.ids[i]), id,
        result.margins[i] or 0)
    end
  end
end

local function largest(tensor) return tensor:abs():max() end

-- Softmax of the last queries against all keys, by the tensor API: judges window queries, RoPE and keys together. As
-- layers that slide, or as those that do not.
local function attention_as(ctx, rows, sliding)
  local cos, sin = ctx:rope(ctx.tokens - rows, rows, sliding)
  local q = ctx.queries:narrow(3, ctx.tokens - rows + 1, rows)
  local half = ctx.head_dim / 2
  local rotated = kv.tensor.cat({ -q:narrow(4, half + 1, half), q:narrow(4, 1, half) }, 4)
  q = q * cos + rotated * sin
  local shape = { ctx.layers, ctx.kv_heads, ctx.group_size * rows, ctx.head_dim }
  local scores = q:contiguous():reshape(shape):matmul(ctx.keys:transpose(3, 4)) * (ctx.model.query_scale
    or ctx.head_dim ^ -0.5)
  scores = scores:reshape { ctx.layers, ctx.heads, rows, ctx.tokens }
  local mask = kv.tensor.zeros(rows, ctx.tokens)
  for i = 1, rows do
    local position = ctx.tokens - rows + i
    for t = position + 1, ctx.tokens do mask[i][t] = -math.huge end
    for t = 1, sliding and position - ctx.model.sliding_window or 0 do mask[i][t] = -math.huge end
  end
  return (scores + mask:to(scores.device)):softmax(-1)
end

local function last_attention(ctx, rows)
  local all = attention_as(ctx, rows, false)
  if not ctx.model.sliding then return all end
  local sliding = attention_as(ctx, rows, true)
  for l, slides in ipairs(ctx.model.sliding) do
    if slides then all:narrow(1, l, 1):copy_(sliding:narrow(1, l, 1)) end
  end
  return all
end

local function forward(model, dir)
  local file = weights.open(dir .. "/forward.safetensors")
  local ids = file:integers "ids"
  local ctx = model:prefill(ids, { hidden = true, logits = true, queries = true })
  local worst = compare("hidden", ctx.hidden, file, "hidden", TENSOR_TOL, model.layers + 1)
  worst = math.max(worst, compare("logits", ctx.prefill_logits, file, "logits", TENSOR_TOL, 1))
  if file:info "keys" then
    worst = math.max(worst, compare("keys", ctx.keys, file, "keys", TENSOR_TOL, model.layers))
    worst = math.max(worst, compare("values", ctx.values, file, "values", TENSOR_TOL, model.layers))
  end
  local attention = file:info "attention_last16"
  if attention and #attention.shape == 4 then
    compare("attention_last16", last_attention(ctx, attention.shape[3]), file, "attention_last16", TENSOR_TOL,
      model.layers)
  end
  local last = table.remove(ids)
  local greedy = file:integers "greedy"
  local result = model:prefill(ids):generate({ last }, { max_new_tokens = #greedy, ignore_stop = true })
  check_tokens("greedy", result, greedy, largest(ctx.prefill_logits))
  return ("largest difference %.1e"):format(worst)
end

-- ---- presses ----

local function median(values, first, n)
  local list = {}
  for i = 1, n do list[i] = math.abs(values[first + i - 1]) end
  table.sort(list)
  return list[math.floor((n + 1) / 2)]
end

-- Ours are +inf where the rule forces a token (the reference pads with maxima there).
local function check_scores(scores, file, ctx, rule)
  local expected = file:floats "scores"
  local mine, n = common.floats(scores), ctx.tokens
  for head = 0, ctx.layers * ctx.kv_heads - 1 do
    local small = (MEDIAN_OF[rule] or SCORE_MEDIAN) * median(expected, head * n, n)
    for t = 0, n - 1 do
      local a, b = mine[head * n + t], expected[head * n + t]
      if a ~= math.huge and not (math.abs(a - b) <= SCORE_REL * math.abs(b) + small) then
        fail("score of layer %d, KV head %d, token %d is %.7g, expected %.7g", head / ctx.kv_heads, head % ctx.kv_heads,
          t, a, b)
      end
    end
  end
end

-- A rule as JSON may name parameters that follow the ratio ("ratio", "ratio/2", "1-ratio", "ratio-0.5") and files
-- beside the golden.
local function resolved(spec, ratio, folder)
  local known = { ratio = ratio, ["ratio/2"] = ratio / 2, ["1-ratio"] = math.max(0, 1 - ratio),
    ["ratio-0.5"] = ratio - 0.5 }
  for key, value in pairs(spec) do
    if type(value) == "table" then
      resolved(value, ratio, folder)
    elseif key == "path" or key == "stats_folder" then
      spec[key] = folder .. "/" .. value
    else
      spec[key] = known[value] or value
    end
  end
  return spec
end

-- Eviction while decoding: every token, and how far each was ahead of the next best (which moves with any key too few).
local function answer_file(ctx, keep, file)
  local question, answer, expected = file:integers "question", file:integers "answer", file:floats "margins"
  local scale = file:floats "largest"[0]
  local result = ctx:generate(question, { keep = keep, max_new_tokens = #answer, ignore_stop = true })
  for i, id in ipairs(answer) do
    if result.ids[i] ~= id then
      if expected[i - 1] < GREEDY_MARGIN * scale then return true end
      fail("token %d is %d, expected %d (margin %.4g)", i, result.ids[i], id, expected[i - 1])
    end
    local off = math.abs(result.margins[i] - expected[i - 1])
    if off > TENSOR_TOL * scale then fail("margin of token %d is %.5g, expected %.5g", i, result.margins[i],
      expected[i - 1]) end
  end
  return true
end

-- Do the heads of some layer keep different numbers of tokens?
local function uneven(keep)
  for l = 0, keep.layers - 1 do
    for h = 1, keep.kv_heads - 1 do
      if keep:count(l, h) ~= keep:count(l, 0) then return true end
    end
  end
  return false
end

-- KVPress cannot leave out a key in one head only: it puts another in its place that should draw no attention, and on
-- sharp attention draws some (docs/numerics.md). Where such a file's logits are off, the scalar specification, on the
-- file's own keep-set, says who is: skipped with both numbers if it agrees with this program.
local function by_specification(path, ids, question, keep, logits, why)
  local model = kv.model.load(path:match "^(.*)/", { dtype = "f32", device = "ref" })
  local exact = model:prefill(ids):logits(question, { keep = keep }):cpu()
  local off = (logits:cpu() - exact):abs():max() / exact:abs():max()
  model:close()
  if not (off <= TENSOR_TOL) then error(why, 0) end
  return nil, ("%s; the scalar reference is %.2g away from ours on the same keep-set"):format(why, off)
end

local function press_file(model, path)
  local file = weights.open(path)
  local ratio = tonumber(file:meta "ratio")
  local spec = resolved(json.decode(file:meta "press"), ratio, path:match "^(.*)/")
  local press, reason = kv.press.from_spec(spec)
  if not press then return nil, reason end
  local ctx = model:prefill(file:integers "ids", press.needs)
  if file:info "scores" and not press.rule.order_only then check_scores(press:score(ctx, ratio), file, ctx,
    press.rule.name) end
  local keep = press:keep(ctx, ratio)
  if file:info "kept" then
    local reference = common.read_keep(file, "kept")
    common.check_kept(keep, reference, press, ctx, ratio)
    reference.cache, reference.position = keep.cache, keep.position -- a press that changes keys or values
    keep = reference
  end
  if file:info "margins" then return answer_file(ctx, keep, file) end
  if not file:info "logits" then return true end -- the reference cannot go on from this set
  local question, answer = file:integers "question", file:integers "answer"
  local logits = ctx:logits(question, { keep = keep })
  local ok, why = pcall(compare, "logits", logits, file, "logits", TENSOR_TOL, 1)
  if not ok and file:info "kept" and not keep.cache and uneven(keep) then
    return by_specification(path, file:integers "ids", question, keep, logits, why)
  end
  if not ok then error(why, 0) end
  local result = ctx:generate(question, { keep = keep, max_new_tokens = #answer, ignore_stop = true })
  check_tokens("answer", result, answer, largest(logits))
  return true
end

-- ---- folders ----

local function exists(path) return C.kvb_path_kind(path) == 1 end

local function judge(name, fn, ...)
  local ok, result, reason = pcall(fn, ...)
  if not ok then say("failed", name, tostring(result)) return end
  if result == nil then say("skipped", name, reason) return end
  say("passed", name, type(result) == "string" and result or nil)
end

local function model_folder(dir, wanted)
  local label = dir:match "([^/]+)/*$"
  local ok, model = pcall(kv.model.load, dir, { dtype = "f32" })
  if not ok then
    if not tostring(model):find "not supported" and not tostring(model):find "unknown" then
      say("failed", label, tostring(model))
    else
      say("skipped", label, tostring(model))
    end
    return
  end
  print(("%s: %s, %s"):format(label, model.dtype, model.tier))
  if exists(dir .. "/forward.safetensors") and not wanted then judge(label .. "/forward", forward, model, dir) end
  for _, name in ipairs(common.names_in(dir)) do
    local rule = name:match "^press%-(.+)%-[%d.]+%.safetensors$"
    if rule and (not wanted or wanted[rule]) then judge(label .. "/" .. name, press_file, model, dir .. "/" .. name) end
  end
  model:close()
end

local dirs, wanted = {}, nil
local i = 1
while arg[i] do
  if arg[i] == "--only" then
    wanted = wanted or {}
    for rule in (arg[i + 1] or ""):gmatch "[^,]+" do wanted[rule] = true end
    i = i + 1
  else
    dirs[#dirs + 1] = arg[i]:gsub("/+$", "")
  end
  i = i + 1
end
if #dirs == 0 then error("usage: kvbench tests/golden.lua DIR... [--only RULE,RULE]", 0) end

for _, dir in ipairs(dirs) do
  if exists(dir .. "/config.json") then
    model_folder(dir, wanted)
  else
    for _, name in ipairs(common.names_in(dir)) do
      if name:sub(-1) == "/" and exists(dir .. "/" .. name .. "config.json") then model_folder(dir .. "/"
        .. name:sub(1, -2), wanted) end
    end
  end
end
print(("%d passed, %d failed, %d skipped"):format(tally.passed, tally.failed, tally.skipped))
os.exit(tally.failed == 0 and tally.passed > 0 and 0 or 1)
