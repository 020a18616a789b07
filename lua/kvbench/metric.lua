-- SPDX-License-Identifier: Apache-2.0
-- Everything that is measured on one answer or one keep-set: scores, answer classes, eviction.
-- The parts load when first touched, as kv.metric.text, .answer_class, .eviction, .evidence, .decomposition, .abstain,
-- .suite, .attention, .route, .columns (as columns of a sweep's rows).
local parts = {
  text = true, abstain = true, answer_class = true, slots = true, leak = true, fold = true, eviction = true,
  evidence = true, decomposition = true, suite = true, attention = true, route = true,
  columns = true,
}

local M = setmetatable({}, {
  __index = function(m, name)
    if not parts[name] then return nil end
    local part = require("kvbench.metric." .. name)
    rawset(m, name, part)
    return part
  end,
})

--- All answer scores of one row at once. Takes the arguments of answer_class.classify and returns a flat table:
---   class, class_reason, answer (cleaned text), answerable, and the class's columns (answer_class.columns);
---   word_f1, contains, exact (best over gold and aliases; answerable questions only: "I don't know" has no overlap
---     to score);
---   suite_score and suite_rule where the record is one of a long-context suite (kvbench.metric.suite);
---   f1 = token F1 under a.tokenizer, and f1_tokenizer = a.tokenizer_name or "custom"; absent without a tokenizer.
--- The flat table can be merged into a result row.
function M.score(a)
  local text = M.text
  local class, detail = M.answer_class.classify(a)
  local out = M.answer_class.columns(class, detail.answerable)
  out.class, out.class_reason, out.answer, out.answerable = class, detail.reason, detail.text, detail.answerable
  if a.record and a.record.suite then
    out.suite_score, out.suite_rule = M.suite.score(a.record, a.question, a.answer)
  end
  if detail.answerable then
    local golds = text.golds(a.question)
    out.word_f1 = text.best(text.word_f1, detail.text, golds)
    out.contains = text.best(text.contains, detail.text, golds)
    out.exact = text.best(text.exact, detail.text, golds)
    if a.tokenizer then
      out.f1 = text.best(text.token_f1, detail.text, golds, a.tokenizer)
      out.f1_tokenizer = a.tokenizer_name or "custom"
    end
  end
  return out
end

return M
