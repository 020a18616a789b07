-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench gains: what a sweep saves by each thing that it does once or at once instead of again or later. The
-- same work runs with all of them and with each one switched off; the answers must be the same, to the bit.
--   trunk         the first tokens of all questions are computed once a condition
--   dedupe        conditions that keep the same run once (here: the full cache, which every press has at ratio 0)
--   refill        an answer that ends makes room for the next at once (with a sixth of the answers in flight at a time)
--   prefix_cache  where a question stands inside the context, the passage before it is computed once
local presses = require "kvbench.press"
local shaped = require "kvbench.bench.shaped"
local C = require("kvbench.ffi").C

local M = {}

local NAMES = { "ea", "adakv", "chunk" }

local function answer(result)
  local margins = {}
  for i, margin in ipairs(result.margins) do margins[i] = ("%a"):format(margin) end
  return table.concat(result.ids, " ") .. " " .. table.concat(margins, " ")
end

-- Answers by passage, question and condition (0: the full cache); conflict: two of the same that differ.
local function collector()
  local seen = { list = {}, count = 0, conflict = false }
  return seen, function(result)
    local tag = result.tag
    local key = ("%d/%d/%d"):format(tag.passage, tag.question, tag.condition)
    local text = answer(result)
    if seen.list[key] and seen.list[key] ~= text then seen.conflict = true end
    if not seen.list[key] then seen.list[key], seen.count = text, seen.count + 1 end
  end
end

local function same(a, b)
  if a.conflict or b.conflict or a.count ~= b.count then return false end
  for key, text in pairs(a.list) do if b.list[key] ~= text then return false end end
  return true
end

-- A sweep of `passages` with one switch off, or with in_flight at a time. Seconds and answers; the answers are taken in
-- a run of their own, since printing margins would be timed.
local function sweep(model, opt, passages, off, in_flight)
  local shape = { passages = passages, tokens = opt.tokens, questions = opt.questions,
    question_tokens = opt.question_tokens, new_tokens = opt.new, presses = NAMES, ratios = shaped.ratios, uneven = true,
    shared = opt.trunk, trunk = off ~= "trunk" and opt.trunk or nil, full_each = off == "dedupe" or nil,
    refill = off ~= "refill", in_flight = in_flight }
  local seconds = shaped.run(model, shape).seconds
  local seen, see = collector()
  shape.passages, shape.see = math.min(passages, 2), see
  shaped.run(model, shape)
  return seconds, seen
end

-- Contexts of a passage and one question each, scored and asked that question once more.
local function question_inside(model, opt, passages, cached)
  local list, ratios, see = {}, shaped.ratios, nil
  local seen
  seen, see = collector()
  for i, name in ipairs(NAMES) do list[i] = presses(name) end
  local needs, started, batch = presses.needs(list), C.kvb_time(), model:batch { stop_ids = {} }
  for p = 1, passages do
    local beginning, texts = shaped.ids(opt.tokens, p, model.vocab), {}
    for q = 1, opt.questions do
      texts[q] = { unpack(beginning) }
      for _, id in ipairs(shaped.ids(opt.question_tokens, p * 1000 + q, model.vocab)) do
        texts[q][#texts[q] + 1] = id
      end
    end
    local base = cached and model:prefill(beginning, needs)
    local contexts = model:prefill_many(texts, needs, { from = base or nil })
    if base then base:close() end
    for q, ctx in ipairs(contexts) do
      local keeps, ids = { false }, shaped.ids(opt.question_tokens, p * 1000 + q, model.vocab)
      for _, press in ipairs(list) do
        for _, keep in ipairs(press:keeps(ctx, ratios)) do keeps[#keeps + 1] = keep end
      end
      ctx:forget()
      for k, keep in ipairs(keeps) do
        batch:add { ctx = ctx, keep = keep or nil, ids = ids, max_new_tokens = opt.new, ignore_stop = true,
          tag = { passage = p, question = q, condition = k - 1 } }
      end
      ctx:close()
    end
    while batch:queued() > 0 do
      batch:step()
      for result in function() return batch:next() end do if p == 1 then see(result) end end
    end
  end
  for _, result in ipairs(batch:run()) do if result.tag.passage == 1 then see(result) end end
  batch:close()
  return C.kvb_time() - started, seen
end

-- Passages that take about `seconds`, judged from one after a warm-up.
local function enough(seconds, fn)
  fn(1)
  local each = fn(1)
  return math.max(1, math.floor(seconds / each + .5))
end

--- opt: tokens (of a passage), questions, question_tokens, new, trunk (shared question tokens), seconds (of one run).
function M.run(model, opt)
  if opt.questions == 0 then opt.questions = 13 end
  if opt.trunk == 0 then opt.trunk = math.min(5, opt.question_tokens - 1) end
  local assumed = "passages of %d tokens, %d questions of %d tokens (%d shared), answers of %d tokens on average, ea, adakv "
    .. "and chunk at nine ratios"
  local out = { gains = {},
    assumed = assumed:format(opt.tokens, opt.questions, opt.question_tokens, opt.trunk, opt.new) }
  local function add(name, passages, on, off, equal)
    out.gains[#out.gains + 1] = { name = name, passages = passages, seconds = on, seconds_without = off,
      gain = off / on, same_answers = equal }
  end
  local passages = enough(opt.seconds, function(n) return (sweep(model, opt, n)) end)
  local on, answers = sweep(model, opt, passages)
  local few = math.ceil(passages * opt.questions * (1 + #NAMES * #shaped.ratios) / 6)
  for _, name in ipairs { "trunk", "dedupe", "refill" } do
    local bound = name == "refill" and few or nil
    if bound then on = sweep(model, opt, passages, nil, bound) end
    local off, others = sweep(model, opt, passages, name, bound)
    add(name, passages, on, off, same(answers, others))
  end
  passages = enough(opt.seconds, function(n) return (question_inside(model, opt, n, true)) end)
  on, answers = question_inside(model, opt, passages, true)
  local off, others = question_inside(model, opt, passages, false)
  add("prefix_cache", passages, on, off, same(answers, others))
  return out
end

function M.report(out)
  print(("%-14s %9s %10s %10s %7s  %s"):format("once", "passages", "seconds", "without", "times", "answers"))
  for _, row in ipairs(out.gains) do
    print(("%-14s %9d %10.2f %10.2f %6.2fx  %s"):format(row.name, row.passages, row.seconds, row.seconds_without,
      row.gain, row.same_answers and "the same" or "DIFFER"))
  end
  print(out.assumed)
end

return M
