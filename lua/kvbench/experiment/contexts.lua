-- SPDX-License-Identifier: Apache-2.0
-- Contexts for experiments that look inside: each passage prefilled once, its evidence, the keep-sets of presses at
-- ratios, and the keep-set that evicts as much from each head at random (the null for everything that counts heads or
-- tokens).
local evidence = require "kvbench.metric.evidence"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local presses = require "kvbench.press"
local prompt = require "kvbench.prompt"

local M = {}

--- Calls fn(c) for each record: c = {record, prompt, ctx, index, range (evictable tokens), keep(press label or press,
-- ratio), random(press, ratio)}. o: dataset, presses (names, as e:presses takes), regime, question (for aware_one:
-- index in the record). The context is closed behind it.
function M.each(e, o, fn)
  local model, opt = e:model(), e.opt
  local list = e:presses(o.presses)
  for i, record in ipairs(o.dataset.records) do
    local made = prompt.render(opt.style, record, { regime = o.regime or "agnostic", idk_example = opt.idk_example,
      model = model, question = record.questions[o.question or 1],
      list = o.regime == "aware_other" and prompt.other_questions(o.dataset.records, i) or nil })
    local ctx = model:prefill(made.context, presses.needs(list))
    ctx.seed = ("%s/%s"):format(opt.seed, record.id)
    local c = { record = record, prompt = made, ctx = ctx, keeps = {}, presses = list,
      index = evidence.index(record, ctx.spans, { base = made.passage_span[1] }) }
    c.range = opt.evictable == "passage" and c.index.passage or { 0, ctx.tokens }
    function c.keep(press, ratio)
      local key = press:label() .. "|" .. ratio
      if ratio == 0 then return keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens) end
      c.keeps[key] = c.keeps[key] or press:keep(ctx, ratio, { evictable = c.range })
      return c.keeps[key]
    end
    function c.random(press, ratio)
      local key = "random|" .. press:label() .. "|" .. ratio
      c.keeps[key] = c.keeps[key] or presses("random", { budget_of = press }):keep(ctx, ratio,
        { evictable = c.range })
      return c.keeps[key]
    end
    fn(c)
    ctx:close()
  end
end

--- What the answers themselves attend to: each keep-set (false: everything) of `keeps` decodes `steps` rows, the last
-- question row first. Returns a list in that order of {steps = rows that ran, width, layer = function(l, step) -> float
-- pointer [heads, width] of layer l (both from 0)}; pointers are good while the entry lives.
function M.observed(c, question, keeps, steps)
  local model, out = c.ctx.model, {}
  local batch, ids = model:batch(), model:ids(c.prompt.suffix(question))
  for i, keep in ipairs(keeps) do
    batch:add { ctx = c.ctx, keep = keep or nil, ids = ids, max_new_tokens = steps, ignore_stop = true, tag = i,
      weights = { rows = steps } }
  end
  for _, result in ipairs(batch:run()) do
    local w = result.observed.weights -- [rows, layers, heads, width]
    local layers, heads, width = w:size(2), w:size(3), w:size(4)
    out[result.tag] = { steps = w:size(1), width = width, weights = w, layer = function(l, step)
      return ffi.cast("const float *", w.data) + (step * layers + l) * heads * width
    end }
  end
  batch:close()
  return out
end

--- The first n answerable questions of a record that have evidence, spread over the record: {question, index}.
function M.questions(c, n)
  local list, out = {}, {}
  for i, q in ipairs(c.record.questions) do
    if q.answerable ~= false and evidence.of(c.index, q).answer then list[#list + 1] = { question = q, index = i } end
  end
  for i = 1, math.min(n, #list) do out[i] = list[math.floor((i - 1) * #list / math.min(n, #list)) + 1] end
  return out
end

return M
