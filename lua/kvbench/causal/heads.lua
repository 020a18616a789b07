-- SPDX-License-Identifier: Apache-2.0
-- What the heads of a model do, measured on other passages than those of the experiment, and orders of heads.
--
-- A cell is one (layer, KV head), numbered layer * kv_heads + head from 0. Scores are f32 arrays over cells.
local append = require "kvbench.causal.append"
local evidence = require "kvbench.metric.evidence"
local prompt = require "kvbench.prompt"
local rng = require "kvbench.rng"
local teacher = require "kvbench.teacher"

local M = {}

--- The `n` records behind the experiment's own `passages` of a task: other passages of the same kind.
function M.calibration(e, task, passages, n)
  local all = require "kvbench.dataset"(task, { size = passages + n, seed = e.opt.seed })
  local list = {}
  for i = math.max(1, #all.records - n + 1), #all.records do list[#list + 1] = all.records[i] end
  return list
end

--- A record's context as the experiment reads it, with its token spans: ctx, prompt, index. Close ctx after use.
function M.read(e, record)
  local model = e:model()
  local p = prompt.render(e.opt.style, record, { regime = "agnostic", idk_example = e.opt.idk_example, model = model })
  local ctx = model:prefill(p.context)
  return ctx, p, evidence.index(record, ctx.spans, { base = p.passage_span[1] })
end

local function add(scores, attention, tokens)
  local list = attention:contiguous():cpu()
  local p, n = list:pointer(), list:size(3)
  for c = 0, #scores do
    local sum = 0
    for _, t in ipairs(tokens) do sum = sum + p[c * n + t] end
    scores[c] = scores[c] + sum
  end
end

local function zeros(cells)
  local out = {}
  for c = 0, cells - 1 do out[c] = 0 end
  return out
end

local function divided(scores, n)
  for c = 0, #scores do scores[c] = scores[c] / math.max(1, n) end
  return scores
end

--- Full-cache answer mass w(layer, head): attention that the rows which write the answer (the last question row and
--- the gold answer's, but for its last) pay to the answer's tokens, mean over the questions of `records`. Returns
--- {[cell] = w} and the number of questions.
function M.answer_mass(e, records)
  local model, n = e:model(), 0
  local scores = zeros(model.layers * model.kv_heads)
  for _, record in ipairs(records) do
    local ctx, p, index = M.read(e, record)
    for _, question in ipairs(record.questions) do
      local target = evidence.of(index, question).answer
      if target then
        local suffix = p.suffix(question)
        local ids, gold = { unpack(model:ids(suffix)) }, teacher.gold_ids(model, suffix, question.a)
        for i = 1, #gold - 1 do ids[#ids + 1] = gold[i] end
        add(scores, append.attention(ctx, ids, math.max(1, #gold)), target)
        n = n + 1
      end
    end
    ctx:close()
  end
  return divided(scores, n), n
end

--- Scores as the function(layer, head) that metric.route's weighted_ger takes.
function M.weight(scores, kv_heads)
  return function(l, h) return scores[l * kv_heads + h] end
end

--- Mass on the context's first token, and on the last `window` tokens of the context, from the rows of the questions'
--- last tokens: {[cell] =} each.
function M.sink_and_local(e, records, window)
  local model, n = e:model(), 0
  local sink, near = zeros(model.layers * model.kv_heads), zeros(model.layers * model.kv_heads)
  for _, record in ipairs(records) do
    local ctx, p = M.read(e, record)
    local last = {}
    for t = math.max(1, ctx.tokens - window), ctx.tokens - 1 do last[#last + 1] = t end
    -- the first tokens of the suffix stand where "near" still means the end of the passage
    local ids = model:ids(p.suffix(record.questions[1]))
    local attention = append.attention(ctx, { ids[1], ids[2] }, 1)
    add(sink, attention, { 0 })
    add(near, attention, last)
    n = n + 1
    ctx:close()
  end
  return divided(sink, n), divided(near, n)
end

--- Induction: random tokens twice in a row; attention from the second copy to the token behind the first copy of the
--- same token, mean over rows and `repeats` draws. {[cell] =}.
function M.induction(e, length, repeats)
  local model, scores = e:model(), zeros(e:model().layers * e:model().kv_heads)
  for k = 1, repeats do
    local r, ids = rng.new("induction/" .. k), {}
    for i = 1, length do ids[i] = r:int(math.floor(model.vocab / 10), model.vocab - 1) end
    local ctx = model:prefill(ids)
    local rows = math.min(length - 1, 16)
    for i = 1, rows do -- one row at a time: each has a target of its own
      local seen = {}
      for j = 1, i do seen[j] = ids[j] end
      add(scores, append.attention(ctx, seen, 1), { i })
    end
    divided(scores, 1)
    ctx:close()
    if k == repeats then divided(scores, rows * repeats) end
  end
  return scores
end

--- Cells by falling score: array of cell numbers.
function M.by_score(scores)
  local order = {}
  for c = 0, #scores do order[c + 1] = c end
  table.sort(order, function(a, b)
    if scores[a] ~= scores[b] then return scores[a] > scores[b] end
    return a < b
  end)
  return order
end

--- The k-th random order of all cells.
function M.random_order(cells, k)
  local order = {}
  for c = 0, cells - 1 do order[c + 1] = c end
  rng.new("head order/" .. k):shuffle(order)
  return order
end

--- Other cells with as many in every layer as `cells` has, where the layer has as many others; else it repeats some.
function M.matched(cells, kv_heads, layers, seed)
  local r, taken, per_layer, out = rng.new("matched/" .. seed), {}, {}, {}
  for _, c in ipairs(cells) do
    taken[c] = true
    local l = math.floor(c / kv_heads)
    per_layer[l] = (per_layer[l] or 0) + 1
  end
  for l = 0, layers - 1 do
    local free, used = {}, {}
    for h = 0, kv_heads - 1 do
      local list = taken[l * kv_heads + h] and used or free
      list[#list + 1] = l * kv_heads + h
    end
    r:shuffle(free)
    r:shuffle(used)
    for i = 1, per_layer[l] or 0 do out[#out + 1] = free[i] or used[i - #free] end
  end
  return out
end

--- For keep:force and keep:drop: {cells = function(layer, head)} of the first n cells of an order.
function M.cells_of(order, n, kv_heads)
  local set = {}
  for i = 1, math.min(n, #order) do set[order[i]] = true end
  return function(l, h) return set[l * kv_heads + h] == true end
end

return M
