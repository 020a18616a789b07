-- SPDX-License-Identifier: Apache-2.0
-- Teacher-forced scores: how probable the gold answer is, and how far the next-token distributions along it are from
-- the full cache's. One append and no decoding; the logits of the gold rows are all that is kept.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}

--- Tokens of a gold answer as they would follow a prompt that ends with `before`: with a leading space unless the
--- prompt ends in white space.
function M.gold_ids(model, before, gold)
  return model:ids((before:find "%s$" and "" or " ") .. gold)
end

--- The fields of a batch request that scores `gold` behind `question` (token ids): logits of the rows that predict it.
function M.request(question, gold)
  if #gold == 0 then error("teacher: the gold answer has no tokens", 0) end
  local ids = {}
  for i = 1, #question do ids[i] = question[i] end
  for i = 1, #gold - 1 do ids[#ids + 1] = gold[i] end -- the last gold token is predicted, never fed
  return { ids = ids, logits = #question - 1, max_new_tokens = 0 }
end

--- Of logits [#gold, vocab]: {logits, lse, logprob = ln p of each gold token (Lua array), total, per_token}.
function M.score(logits, gold)
  local n = logits:size(1)
  if n ~= #gold then error(("teacher: %d gold tokens, logits of %d rows"):format(#gold, n), 0) end
  local lse, logprob = ffi.new("double[?]", n), ffi.new("double[?]", n)
  check(C.kvb_score_logprobs(logits, ffi.new("int32_t[?]", n, gold), lse, logprob))
  local out = { logits = logits, lse = lse, logprob = {}, total = 0 }
  for i = 1, n do
    out.logprob[i] = logprob[i - 1]
    out.total = out.total + logprob[i - 1]
  end
  out.per_token = out.total / n
  return out
end

--- Mean over the gold rows of KL(reference || score), nats; and each row's (Lua array). 0 for a score and itself.
function M.kl(reference, score)
  local n = #score.logprob
  local kl, rows, sum = ffi.new("double[?]", n), {}, 0
  check(C.kvb_score_kl(reference.logits, reference.lse, score.logits, score.lse, kl))
  for i = 1, n do
    rows[i] = kl[i - 1]
    sum = sum + kl[i - 1]
  end
  return sum / n, rows
end

return M
