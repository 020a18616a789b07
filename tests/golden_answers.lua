-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/golden_answers.lua MODEL DIR: real questions on a real model against stored reference answers.
--
-- DIR holds answers.json and passage<N>.safetensors (context ids, keep-sets, last logits). One count per answer: the
-- prompt's token ids, the keep-set of the rule, and the greedy tokens must agree, up to the first token whose reference
-- margin is under 0.02. Always f32.
local kv = require "kvbench"
local json = require "kvbench.json"
local common = dofile((arg[0]:gsub("[^/]*$", "")) .. "golden_common.lua")
local weights = require "kvbench.weights"

local MARGIN, LOGIT_TOL = 0.02, 1e-3

local name, dir = arg[1], arg[2]
if not dir then error("usage: kvbench tests/golden_answers.lua MODEL DIR", 0) end
local model = kv.model.load(name, { dtype = "f32" })
print(("%s: %s, %s"):format(name, model.dtype, model.tier))
local file = assert(io.open(dir .. "/answers.json"))
local index = json.decode(file:read "*a")
file:close()
local passed, failed, skipped = 0, 0, 0

local function same_ids(what, mine, expected)
  for i = 1, math.max(#mine, #expected) do
    if mine[i] ~= expected[i] then
      error(("%s: token %d is %s, expected %s"):format(what, i, tostring(mine[i]), tostring(expected[i])), 0)
    end
  end
end

local function check_answer(result, expected)
  for i, id in ipairs(expected.ids) do
    if expected.margins[i] < MARGIN then return end
    if result.ids[i] ~= id then
      error(("token %d is %s, expected %d (reference margin %.3f); text '%s', expected '%s'"):format(i,
        tostring(result.ids[i]), id,
        expected.margins[i], result.text or "", expected.text), 0)
    end
  end
end

for n, passage in ipairs(index.passages) do
  local blobs = weights.open(("%s/passage%d.safetensors"):format(dir, n - 1))
  local context_ids = blobs:integers "context_ids"
  local presses, needs, missing = {}, { last_logits = true }, {}
  for rule, spec in pairs(index.rules) do
    local press, reason = kv.press.from_spec(spec)
    presses[rule], missing[rule] = press, reason
    for need, value in pairs(press and press.needs or {}) do needs[need] = value end
  end
  local ctx = model:prefill(context_ids, needs)
  local prompt_error
  local ok, err = pcall(function()
    same_ids("context", (model.tokenizer:encode(passage.context_text)), context_ids)
    for q, ids in ipairs(passage.question_ids) do
      same_ids("question", (model.tokenizer:encode("\n" .. passage.questions[q] .. passage.question_suffix)), ids)
    end
    local expected = blobs:floats "context_logits_last"
    local mine = common.floats(ctx.prefill_logits)
    local worst, largest = 0, 0
    for i = 0, model.vocab - 1 do
      local d = math.abs(mine[i] - expected[i])
      if not (d <= worst) then worst = d end
      largest = math.max(largest, math.abs(expected[i]))
    end
    if not (worst <= LOGIT_TOL * largest) then error(("last logits of the context differ by %.2g"):format(worst / largest), 0) end
  end)
  if not ok then prompt_error = err end
  local keeps = {}
  local batch = model:batch()
  for _, expected in ipairs(passage.answers_out) do
    local label = ("passage %d, question %d, %s %.2g"):format(n - 1, expected.question, expected.rule, expected.ratio)
    local key = expected.rule .. "-" .. expected.ratio
    if expected.rule ~= "none" and not presses[expected.rule] then
      skipped = skipped + 1
      print("skipped " .. label .. ": " .. tostring(missing[expected.rule]))
    else
      local good, why = pcall(function()
        if prompt_error then error(prompt_error, 0) end
        if expected.rule ~= "none" and not keeps[key] then
          local reference = common.read_keep(blobs, ("kept-%s-%g"):format(expected.rule, expected.ratio))
          local press = presses[expected.rule]
          common.check_kept(press:keep(ctx, expected.ratio), reference, press, ctx, expected.ratio)
          keeps[key] = reference
        end
        batch:add { ctx = ctx, keep = keeps[key], ids = passage.question_ids[expected.question + 1],
          max_new_tokens = index.new_tokens, tag = { label, expected } }
      end)
      if not good then
        failed = failed + 1
        print("failed  " .. label .. ": " .. tostring(why))
      end
    end
  end
  for _, result in ipairs(batch:run()) do
    result.text = model.tokenizer:decode(result.ids, { skip_special = true })
    local good, why = pcall(check_answer, result, result.tag[2])
    passed, failed = passed + (good and 1 or 0), failed + (good and 0 or 1)
    if not good then print("failed  " .. result.tag[1] .. ": " .. why) end
  end
  batch:close()
  ctx:close()
end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0 and passed > 0 and 0 or 1)
