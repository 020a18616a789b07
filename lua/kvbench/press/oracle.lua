-- SPDX-License-Identifier: Apache-2.0
-- The oracle knows the answer: the full cache answers the question first, and what the question and that answer
-- attended to is kept. Not a method, but what a method that scores by attention could at best know.
local attention = require "kvbench.attention"
local rotary = require "kvbench.rotary"
local tensor = require "kvbench.tensor"

local function questions_of(self, ctx)
  if self.question then return { { q = self.question, a = self.answer } } end
  if ctx.questions and #ctx.questions > 0 then return ctx.questions end
  error(("press '%s' needs to know what will be asked -> question = \"...\", or ctx.questions = {{q = text}, ...} (or "
    .. "ids =)")
    :format(self.name), 0)
end

-- Attention that the last `count` rows of a longer context pay to this one's tokens, in one layer: [kv_heads, n].
local function received(ctx, more, l, count)
  local n, kv_heads, group = ctx.tokens, ctx.kv_heads, ctx.group_size
  local cos, sin = ctx:rope(n, count)
  local queries = rotary.apply(more.queries:narrow(1, l, 1):slice(3, -count), cos, sin) * attention.scale(ctx)
  local keys = more.keys:narrow(1, l, 1):transpose()
  local sum = tensor.zeros(kv_heads, n)
  queries = queries:split_heads(group)
  attention.blocks(count, ctx.heads, n + count, function(from, to)
    local rows = to - from
    local logits = attention.rows(queries, from, to):matmul(keys:narrow(-1, 1, n + to))
    logits = logits:reshape(kv_heads, group, rows, n + to) + tensor.causal_mask(rows, n + to)
    sum:copy_(sum + logits:softmax(-1):narrow(-1, 1, n):sum(3):mean(2))
  end)
  return sum / count
end

return {
  name = "oracle",
  doc = "Keeps what the question and the full cache's own answer attend to (an upper bound, not a method).",
  formula = "mean over the rows i of question and full-cache answer: softmax_j(q_i k_j / sqrt d), mean over the group",
  params = {
    question = { kind = "string", optional = true, doc = "what is appended; unset: ctx.questions, all of them" },
    answer = { kind = "string", optional = true, doc = "unset: what the full cache answers" },
    max_new_tokens = { default = 24, min = 1, integer = true, doc = "of that answer" },
  },
  extra_pass = "answers each question with the full cache, then prefills context, question and answer",
  per_question = true, -- a sweep asks it anew for every question, with ctx.questions set
  whole = true, -- one continuation serves every layer
  score = function(self, ctx)
    local asked = questions_of(self, ctx)
    local score = tensor.zeros(ctx.layers, ctx.kv_heads, ctx.tokens)
    for _, question in ipairs(asked) do
      local ids = {}
      for i, id in ipairs(question.ids or ctx:encode(question.q)) do ids[i] = id end
      local answer = question.a and ctx:encode(question.a)
        or ctx:generate(ids, { max_new_tokens = self.max_new_tokens }).ids
      for _, id in ipairs(answer) do ids[#ids + 1] = id end
      local more = ctx:read_on(ids)
      for l = 1, ctx.layers do
        local into = score[l]
        into:copy_(into + tensor.scope(received, ctx, more, l, #ids) / #asked)
      end
      more:close()
    end
    return score
  end,
}
