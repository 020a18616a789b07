-- SPDX-License-Identifier: Apache-2.0
-- multi_entity: passages of 500 +- 100 words about a subject and six entities that hang on it (works, the persons
-- behind them, where those come from); ten questions, some across two entities, some naming
-- one and asking about another.
local essay = require "kvbench.dataset.essay"

local shape = {
  words = { 400, 600 }, aim = { 440, 560 }, branches = 2, places = 2, main = 6, side = { 2, 3 }, gap = 0.15,
  questions = { total = 10, manipulated = 1, part = 1, bridge = 2, reverse = 3, about = 0 },
}

return {
  name = "multi_entity", size = 100, doc = "a subject and six linked entities; questions across them",
  uses = essay.uses,
  rules = { words = shape.words, questions = { 10, 10 }, attributes = 14, answer_words = 12 },
  --- Record number i (1-based) of a seed.
  generate = function(seed, i) return essay.generate("multi_entity", seed, i, shape) end,
}
