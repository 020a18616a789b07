-- SPDX-License-Identifier: Apache-2.0
-- base: passages of 175 +- 25 words about one invented subject with tightly bound attributes, six questions each; one
-- passage has five, as in the paper's Table 1 (200 passages, 1,199 questions). Sentences: kvbench.dataset.domain.*
local rng = require "kvbench.rng"
local grammar = require "kvbench.dataset.grammar"

local domain_names = {
  "band", "species", "landmark", "condition", "trial", "prison", "anime", "rock", "city", "athlete",
}
local short_passage = 100 -- the one that has five questions

local uses = { "kvbench.dataset.grammar", "kvbench.dataset.draw", "kvbench.dataset.dates",
  "kvbench.dataset.real_names" }
local domains = {}
for i, name in ipairs(domain_names) do
  local module = "kvbench.dataset.domain." .. name
  domains[i] = require(module)
  uses[#uses + 1] = module
end

local task = {
  name = "base", size = 200, doc = "one invented subject, tightly bound attributes, six questions in both directions",
  uses = uses,
  rules = { words = grammar.words, questions = { 5, 6 }, attributes = 4, answer_words = 8 },
}

--- Record number i (1-based) of a seed. Every block of #domains records holds each domain once, in random order.
function task.generate(seed, i)
  local block = math.floor((i - 1) / #domains)
  local order = rng.new("kvbench/base/" .. seed .. "/block/" .. block):shuffle({ unpack(domains) })
  local domain = order[(i - 1) % #domains + 1]
  local id = ("base-%s-%04d"):format(seed, i)
  return grammar.generate(domain, seed, id, block + 1, i == short_passage and 5 or 6)
end

return task
