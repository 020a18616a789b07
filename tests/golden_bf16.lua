-- SPDX-License-Identifier: Apache-2.0
-- kvbench [--device D] tests/golden_bf16.lua DIR...: the f32 references of golden.lua against a
-- 16-bit run (bf16; f16 with
-- --dtype f16).
--
-- What 16 bits can be asked for: hidden states within 6e-2 (L2, per layer), keep-sets that overlap the reference's by a
-- Jaccard index of .93 (.8 at ratio .9 and above, where a head keeps a dozen tokens and one swap costs .12; .85 and .6
-- for rules that choose within pieces of the context, two tokens a piece at .9), logits from the reference's own
-- keep-set within .15 of the largest. transformers in bf16 measures 1.5e-2 to 4.6e-2, .91 to .96 and 5e-2 to 8e-2
-- against the same files. Tokens that a rule forces are alike: where the budget is smaller than they are many, either
-- choice counts as equal.
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local json = require "kvbench.json"
local options = require "kvbench.options"
local common = dofile((arg[0]:gsub("[^/]*$", "")) .. "golden_common.lua")
local weights = require "kvbench.weights"

local HIDDEN_L2, LOGITS = 6e-2, .15
local KEPT, KEPT_HIGH, PIECES, PIECES_HIGH = .93, .8, .85, .6
local in_pieces = { chunk = true, block = true }
local dtype = options.dtype == "f16" and "f16" or "bf16"
local tally = { passed = 0, failed = 0, skipped = 0 }
local worst = { hidden = 0, logits = 0, kept = 1 }

local function fail(...) error(string.format(...), 0) end

-- L2 distance over L2 norm of each of `slices` equal parts; the largest.
local function l2(tensor, file, key, slices)
  local p, expected, info = common.floats(tensor), file:floats(key)
  local n, most = info.elements / slices, 0
  for s = 0, slices - 1 do
    local difference, norm = 0, 1e-30
    for i = s * n, (s + 1) * n - 1 do
      difference, norm = difference + (p[i] - expected[i]) ^ 2, norm + expected[i] ^ 2
    end
    local ratio = math.sqrt(difference / norm)
    if not (ratio <= most) then most = ratio end
  end
  return most
end

local function furthest(tensor, file, key)
  local p, expected, info = common.floats(tensor), file:floats(key)
  local difference, largest = 0, 1e-30
  for i = 0, info.elements - 1 do
    local d = math.abs(p[i] - expected[i])
    if not (d <= difference) then difference = d end
    largest = math.max(largest, math.abs(expected[i]))
  end
  return difference / largest
end

local function forward(model, path)
  local file = weights.open(path)
  local ctx = model:prefill(file:integers "ids", { hidden = true })
  local difference = l2(ctx.hidden, file, "hidden", model.layers + 1)
  worst.hidden = math.max(worst.hidden, difference)
  if not (difference <= HIDDEN_L2) then fail("hidden states are %.3g away (allowed %g)", difference, HIDDEN_L2) end
end

-- Jaccard index over all heads; swaps among forced tokens (score +inf) are none.
local function overlap(keep, reference, press, ctx, ratio)
  local scored = press.rule.score and press or press.of
  local scores = scored and scored.rule and scored.rule.score and common.floats(scored:score(ctx, ratio))
  local both, either = 0, 0
  for layer = 0, ctx.layers - 1 do
    local mine, theirs = 0, 0 -- over the layer: some rules spend one budget over its heads
    for head = 0, ctx.kv_heads - 1 do
      local base = (layer * ctx.kv_heads + head) * ctx.tokens
      for t = 0, ctx.tokens - 1 do
        local a, b = keep:kept(layer, head, t), reference:kept(layer, head, t)
        if a and b then both, either = both + 1, either + 1
        elseif a or b then
          if scores and scores[base + t] == math.huge then
            mine, theirs = mine + (a and 1 or 0), theirs + (b and 1 or 0)
          else
            either = either + 1
          end
        end
      end
    end
    both, either = both + math.min(mine, theirs), either + math.max(mine, theirs)
  end
  return both / either
end

local function press_file(model, path)
  local file = weights.open(path)
  if not file:info "kept" or not file:info "logits" then return "no keep-set in it" end
  local ratio = tonumber(file:meta "ratio")
  local press, reason = kv.press.from_spec(json.decode(file:meta "press"))
  if not press then return reason end
  local ctx = model:prefill(file:integers "ids", press.needs)
  local keep, reference = press:keep(ctx, ratio), common.read_keep(file, "kept")
  if keep.cache then return "the rule changes keys or values" end
  local jaccard, high = overlap(keep, reference, press, ctx, ratio), ratio >= .9
  local allowed = in_pieces[press.name] and (high and PIECES_HIGH or PIECES) or high and KEPT_HIGH or KEPT
  worst.kept = math.min(worst.kept, jaccard)
  if press.name ~= "random" and not (jaccard >= allowed) then fail("keep-sets overlap by %.3f (at least %g)", jaccard,
    allowed) end
  local difference = furthest(ctx:logits(file:integers "question", { keep = reference }), file, "logits")
  worst.logits = math.max(worst.logits, difference)
  if not (difference <= LOGITS) then fail("logits are %.3g of the largest away (allowed %g)", difference, LOGITS) end
end

local function judge(name, fn, ...)
  local ok, reason = pcall(fn, ...)
  local kind = not ok and "failed" or reason and "skipped" or "passed"
  tally[kind] = tally[kind] + 1
  if kind ~= "passed" then print(("%-7s %s: %s"):format(kind, name, tostring(reason))) end
end

local function model_folder(dir)
  local label = dir:match "([^/]+)/*$"
  local ok, model = pcall(kv.model.load, dir, { dtype = dtype })
  if not ok then
    tally.skipped = tally.skipped + 1
    print(("skipped %s: %s"):format(label, tostring(model)))
    return
  end
  print(("%s: %s, %s"):format(label, model.dtype, model.tier))
  judge(label .. "/forward", forward, model, dir .. "/forward.safetensors")
  for _, name in ipairs(common.names_in(dir)) do
    if name:find "^press%-.*%.safetensors$" then judge(label .. "/" .. name, press_file, model, dir .. "/" .. name) end
  end
  model:close()
end

if #arg == 0 then error("usage: kvbench tests/golden_bf16.lua DIR...", 0) end
for _, dir in ipairs(arg) do
  dir = dir:gsub("/+$", "")
  if C.kvb_path_kind(dir .. "/config.json") == 1 then model_folder(dir) else
    for _, name in ipairs(common.names_in(dir)) do
      if name:sub(-1) == "/" and C.kvb_path_kind(dir .. "/" .. name .. "config.json") == 1 then
        model_folder(dir .. "/" .. name:sub(1, -2))
      end
    end
  end
end
print(("furthest hidden states %.3g, logits %.3g, smallest overlap %.3f"):format(worst.hidden, worst.logits,
  worst.kept))
print(("%d passed, %d failed, %d skipped"):format(tally.passed, tally.failed, tally.skipped))
os.exit(tally.failed == 0 and tally.passed > 0 and 0 or 1)
