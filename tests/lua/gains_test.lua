-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench gains on a tiny model: trunk, dedupe, refill and prefix cache, each switched off, give the same answers
-- to the bit (its own verdict), and its verdict can be "they differ".
local gains = require "kvbench.bench.gains"
local kv = require "kvbench"
local shaped = require "kvbench.bench.shaped"
local t = require "kvbench.testing"

local model = kv.model.random({ layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn = 96, vocab = 320,
  max_positions = 1024, norm_eps = 1e-5 }, {})

local function measure()
  return gains.run(model, { tokens = 70, questions = 2, question_tokens = 8, new = 3, trunk = 0, seconds = .01 })
end

t.case("what is computed once changes no answer", function()
  local out = measure()
  local names = {}
  for i, row in ipairs(out.gains) do
    names[i] = row.name
    t.ok(row.same_answers, row.name .. ": other answers")
    t.ok(row.seconds > 0 and row.seconds_without > 0 and row.gain == row.seconds_without / row.seconds)
  end
  t.eq(names, { "trunk", "dedupe", "refill", "prefix_cache" })
  t.ok(out.assumed:find "passages of 70 tokens, 2 questions of 8 tokens %(5 shared%)", out.assumed)
end)

t.case("answers that differ are found", function()
  local real, runs = shaped.run, 0
  shaped.run = function(m, shape) -- one more new token wherever there is no trunk
    runs = runs + 1
    if not shape.trunk then shape.new_tokens = shape.new_tokens + 1 end
    return real(m, shape)
  end
  local ok, out = pcall(measure)
  shaped.run = real
  if not ok then error(out, 0) end
  t.ok(runs > 0)
  for _, row in ipairs(out.gains) do t.eq(row.same_answers, row.name ~= "trunk", row.name) end
end)

t.case("uneven answers are 1 to 2 * mean - 1 tokens, and their mean is the mean", function()
  local least, most, sum = math.huge, 0, 0
  for salt = 1, 4000 do
    local n = shaped.length(8, salt)
    least, most, sum = math.min(least, n), math.max(most, n), sum + n
  end
  t.eq({ least, most }, { 1, 15 })
  t.near(sum / 4000, 8, .2)
end)

model:close()
