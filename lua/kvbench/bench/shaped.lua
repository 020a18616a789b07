-- SPDX-License-Identifier: Apache-2.0
-- A sweep of given shape: so many passages of so many tokens, questions and answers of given length, real presses and
-- ratios, token ids instead of texts. What it costs depends on shapes alone, so random weights will do.
--
-- It works as kv.sweep does: passages are prefilled in groups, scored once a press, and every (condition, question)
-- is a row of one continuous batch; a group is prefilled while the batch still has work.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local presses = require "kvbench.press"
local with_room = require("kvbench.sweep.prefilled").with_room
local C = library.C

local M = {}

--- The paper's nine ratios.
M.ratios = { .1, .2, .3, .4, .5, .6, .7, .8, .9 }

--- n ids that differ from passage to passage and question to question.
function M.ids(n, salt, vocab)
  local out, x = {}, (salt * 7919 + 17) % 65521
  for i = 1, n do
    x = (x * 25173 + 13849) % 65536
    out[i] = x % math.min(vocab, 65536)
  end
  return out
end

--- Floating-point operations of `rows` rows through the layers and `heads` rows through the LM head (attention, below
--- one percent, is left out: these are the useful operations that a limit of products can be compared with).
function M.flops(model, rows, heads)
  local q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
  local layer = (q + 2 * kv) * model.hidden + model.hidden * q + 3 * model.ffn * model.hidden
  return 2 * model.layers * layer * rows + 2 * model.vocab * model.hidden * heads
end

-- Takes what has finished.
local function take(shape, batch)
  for result in function() return batch:next() end do
    if shape.see then shape.see(result) end
  end
end

-- Prefills one group of passages and queues all their continuations.
local function enqueue(model, shape, batch, list, needs, first, last, work)
  local texts = {}
  for i = first, last do
    texts[#texts + 1] = M.ids(shape.tokens, i, model.vocab)
    work.prefilled = work.prefilled + shape.tokens
  end
  local started = C.kvb_time()
  local contexts = with_room({ relieve = function() return batch:relieve(function() take(shape, batch) end) end },
    model.prefill_many, model, texts, needs)
  work.prefill_seconds = work.prefill_seconds + (C.kvb_time() - started)
  started = C.kvb_time()
  for i, ctx in ipairs(contexts) do
    local keeps, salt = { false }, { 0 } -- equal sets have answers of equal length
    for p, press in ipairs(list) do
      if p > 1 and shape.full_each then keeps[#keeps + 1], salt[#salt + 1] = false, 0 end
      for r, keep in ipairs(press:keeps(ctx, shape.ratios)) do
        keeps[#keeps + 1], salt[#salt + 1] = keep, p * 100 + r
      end
    end
    ctx:forget()
    for q = 1, shape.questions do
      local ids = M.ids(shape.question_tokens, (first + i) * 1000 + q, model.vocab)
      for t = 1, shape.shared or shape.trunk or 0 do ids[t] = t end
      for k, keep in ipairs(keeps) do
        local new = shape.new_tokens
        if shape.uneven then new = M.length(new, (first + i) * 1009 + q * 31 + salt[k]) end
        batch:add { ctx = ctx, keep = keep or nil, ids = ids, trunk = shape.trunk, max_new_tokens = new,
          ignore_stop = true, tag = shape.see and { passage = first + i, question = q, condition = salt[k] } }
      end
    end
    work.continuations = work.continuations + #keeps * shape.questions
    ctx:close()
  end
  work.score_seconds = work.score_seconds + (C.kvb_time() - started)
end

--- Bytes of keys and values that a continuation of n tokens takes.
function M.bytes(model, n)
  local element = model.dtype == "f32" and 4 or 2
  return 2 * model.layers * model.kv_heads * model.head_dim * element * 32 * math.ceil(n / 32)
end

--- Uneven answers: 1 to 2 * mean - 1 tokens, all as likely.
function M.length(mean, salt) return 1 + (salt * 7919 + 17) % 65521 % (2 * mean - 1) end

--- shape: passages, tokens, questions, question_tokens, new_tokens, presses (names), ratios, trunk (tokens that all
--- questions begin with and that are computed once). For bench gains: shared (tokens that they begin with, trunk or not),
--- uneven (answers of 1 to 2 * new_tokens - 1 tokens), full_each (the full cache once a press), refill, in_flight
--- (continuations at a time, where that is the bound), see (called with every result). Returns seconds,
--- continuations, rows, padded_rows, steps, prefilled tokens, flops, and where host time went.
function M.run(model, shape)
  local list = {}
  for i, name in ipairs(shape.presses) do list[i] = presses(name) end
  local needs = presses.needs(list)
  local most = model.buckets[#model.buckets]
  local per_passage = shape.questions * (1 + #shape.ratios * #list)
  local batch = model:batch { stop_ids = {}, refill = shape.refill, max_bytes = shape.in_flight and M.bytes(model,
    shape.question_tokens + (shape.uneven and 2 or 1) * shape.new_tokens) * shape.in_flight }
  -- enough waiting questions to fill steps while a group is being prefilled
  local group = math.max(1, math.min(shape.passages, math.ceil(2 * most / shape.question_tokens / per_passage)))
  local work = { continuations = 0, prefilled = 0, prefill_seconds = 0, score_seconds = 0, most_in_flight = 0 }
  local started, next_passage, pending = C.kvb_time(), 1, 0
  repeat
    while next_passage <= shape.passages and batch:queued() * shape.question_tokens < most do
      local last = math.min(next_passage + group - 1, shape.passages)
      enqueue(model, shape, batch, list, needs, next_passage, last, work)
      next_passage = last + 1
    end
    pending = batch:step()
    work.most_in_flight = math.max(work.most_in_flight, C.kvb_batch_in_flight(batch:pointer()))
    take(shape, batch)
  until pending == 0 and next_passage > shape.passages
  work.seconds = C.kvb_time() - started
  work.rows, work.padded_rows, work.steps = batch:rows()
  batch:close()
  work.flops = M.flops(model, work.rows + work.prefilled, work.continuations * shape.new_tokens)
  return work
end

--- Rate of the layers' products back to back at the largest bucket, in floating-point operations a second: the limit.
function M.limit(model, repeats)
  local seconds, flops = ffi.new("double[1]"), ffi.new("double[1]")
  local most = model.buckets[#model.buckets]
  library.check(C.kvb_bench_products(model:pointer(), -1, most, repeats or 2, seconds, flops))
  return flops[0] / seconds[0]
end

return M
