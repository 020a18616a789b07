-- SPDX-License-Identifier: Apache-2.0
-- long_context: passages of 1,100 +- 200 words about a subject and nine to twelve entities in three or four branches;
-- ten questions spread over the whole length, two of them put together from places at least two fifths of it apart.
local rng = require "kvbench.rng"
local essay = require "kvbench.dataset.essay"

local function shape(branches, side)
  return {
    words = { 900, 1300 }, aim = { 960, 1240 }, branches = branches, places = branches, main = 10, side = side,
    gap = 0.4, questions = { total = 10, manipulated = 1, part = 2, bridge = 2, reverse = 2, about = 1 },
  }
end
local three, four = shape(3, { 4, 5 }), shape(4, { 2, 4 })

return {
  name = "long_context", size = 100, doc = "a subject and up to twelve linked entities; answers far apart",
  uses = essay.uses,
  rules = { words = three.words, questions = { 10, 10 }, attributes = 28, answer_words = 12 },
  --- Record number i (1-based) of a seed.
  generate = function(seed, i)
    local wide = rng.new(("kvbench/long_context/%s/%d/shape"):format(seed, i)):uniform() < 0.5
    return essay.generate("long_context", seed, i, wide and four or three)
  end,
}
