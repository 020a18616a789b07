-- SPDX-License-Identifier: Apache-2.0
-- kvbench [--device D] [--dtype bf16] tests/agreement.lua MODEL DIR: how often a run in the device's own dtype gives
-- the stored f32 answers (see golden_answers.lua): a rate to report, not a test.
local kv = require "kvbench"
local json = require "kvbench.json"
local common = dofile((arg[0]:gsub("[^/]*$", "")) .. "golden_common.lua")
local weights = require "kvbench.weights"

if not arg[2] then error("usage: kvbench tests/agreement.lua MODEL DIR", 0) end
local model = kv.model.load(arg[1])
local file = assert(io.open(arg[2] .. "/answers.json"))
local index = json.decode(file:read "*a")
file:close()
local same, whole, tokens, equal = 0, 0, 0, 0
for n, passage in ipairs(index.passages) do
  local blobs = weights.open(("%s/passage%d.safetensors"):format(arg[2], n - 1))
  local ctx, batch = model:prefill((blobs:integers "context_ids")), model:batch()
  for _, expected in ipairs(passage.answers_out) do
    local keep
    if expected.rule ~= "none" then keep = common.read_keep(blobs,
      ("kept-%s-%g"):format(expected.rule, expected.ratio)) end
    batch:add { ctx = ctx, keep = keep, ids = passage.question_ids[expected.question + 1],
      max_new_tokens = index.new_tokens, tag = expected }
  end
  for _, result in ipairs(batch:run()) do
    local expected, all = result.tag.ids, true
    for i, id in ipairs(expected) do
      tokens = tokens + 1
      all = all and result.ids[i] == id
      equal = equal + (all and 1 or 0)
    end
    whole, same = whole + 1, same + (all and 1 or 0)
  end
  batch:close()
  ctx:close()
end
print(("%s, %s: %d of %d answers equal the f32 reference (%.1f %%); %.1f %% of tokens before the first difference"):format(
  model.dtype, model.tier, same, whole, 100 * same / whole, 100 * equal / tokens))
