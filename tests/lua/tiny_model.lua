-- SPDX-License-Identifier: Apache-2.0
-- The tiny stored model with a made-up tokenizer, for tests that need a whole sweep and no meaning: every answer is
-- wrong.
local kv = require "kvbench"
local paths = require "kvbench.paths"

-- Words and single bytes, folded into the model's 128 ids.
local fake = { size = 128, stop_ids = {}, add_bos = false }

function fake:encode(text)
  local ids, spans, at = {}, {}, 1
  while at <= #text do
    local last = select(2, text:find("^ ?%w+", at)) or at
    local word, sum = text:sub(at, last), 7
    for i = 1, #word do sum = (sum * 31 + word:byte(i)) % 100003 end
    ids[#ids + 1], spans[#spans + 1] = word == "\n" and 10 or 11 + sum % 117, { at - 1, last }
    at = last + 1
  end
  return ids, spans
end

function fake:decode(ids)
  local parts = {}
  for i, id in ipairs(ids) do parts[i] = id == 10 and "\n" or " w" .. id end
  return table.concat(parts)
end

function fake:is_special() return false end

local model = kv.model.load(paths.at "tests/golden/models/llama", { dtype = "f32" })
model.tokenizer = fake
return model
