-- SPDX-License-Identifier: Apache-2.0
-- Interventions on what another rule keeps, at its budget: named tokens are forced in (rescue) or out (ablation), and
-- the lowest-ranked others give way or move up. What an answer span is worth is the difference between forcing it and
-- forcing another span of the same length.
local tensor = require "kvbench.tensor"

-- "12-15,30-33" (both ends included) as {{12, 16}, {30, 34}}; tokens count from 0.
local function spans_of(text)
  local list = {}
  for part in text:gmatch "[^,]+" do
    local from, to = part:match "^%s*(%d+)%s*%-%s*(%d+)%s*$"
    if not from then from = part:match "^%s*(%d+)%s*$"; to = from end
    if not from or tonumber(to) < tonumber(from) then
      error(("press 'answer_aware': tokens = '%s': '%s' is not a span -> \"12-15,30\""):format(text, part), 0)
    end
    list[#list + 1] = { tonumber(from), tonumber(to) + 1 }
  end
  return list
end

local function spans(self, ctx)
  local list = self.tokens and spans_of(self.tokens) or ctx.spans_of_interest
  if list and list.complete then return list end -- a question without an answer in the text: nothing is forced
  if not list or #list == 0 then
    error(("press '%s' needs to know which tokens -> tokens = \"12-15,30\", or ctx.spans_of_interest = {{12, 16}, ...}")
      :format(self.name), 0)
  end
  for _, span in ipairs(list) do
    if span[1] < 0 or span[2] > (ctx.parent_tokens or ctx.tokens) or span[1] >= span[2] then
      error(("press '%s': tokens [%d, %d) do not lie inside a context of %d"):format(self.name, span[1], span[2],
        ctx.parent_tokens or ctx.tokens), 0)
    end
  end
  return list
end

return {
  name = "answer_aware",
  doc = "Forces named tokens in (rescue) or out (ablation) of what another rule keeps, at the same budget.",
  formula = "+inf (rescue) or -inf (ablation) on the tokens, the inner score elsewhere",
  params = {
    of = { kind = "press", default = "expected_attention", doc = "the rule that scores" },
    tokens = { kind = "string", optional = true,
      doc = "spans such as \"12-15,30\", both ends included, tokens count from 0; unset: ctx.spans_of_interest" },
    mode = { default = "rescue", doc = "rescue or ablation" },
  },
  aliases = { rescue = { mode = "rescue" }, ablation = { mode = "ablation" } },
  per_question = true, -- a sweep asks it anew for every question, with ctx.spans_of_interest set to the answer's tokens
  check = function(self)
    require("kvbench.press_parts").expect_scorer(self, self.of, "changes scores")
    if self.mode ~= "rescue" and self.mode ~= "ablation" then
      error(("press 'answer_aware': mode = '%s' -> rescue or ablation"):format(self.mode), 0)
    end
    if self.tokens then spans_of(self.tokens) end
  end,
  score = function(self, ctx, ratio)
    local score = self.of.rule.score(self.of, ctx, ratio)
    local chosen = tensor.zeros(ctx.tokens)
    for _, span in ipairs(spans(self, ctx)) do
      local from = math.max(0, span[1] - (ctx.token_first or 0))
      local to = math.min(ctx.tokens, span[2] - (ctx.token_first or 0))
      if from < to then chosen:narrow(1, from + 1, to - from):fill_(1) end
    end
    if self.mode == "ablation" then return tensor.where(chosen, -math.huge, score) end
    -- what the inner rule forces comes after: a window may be all that the ratio leaves
    return tensor.where(chosen, math.huge, score:clamp(-math.huge, 3.4028234663852886e38))
  end,
}
