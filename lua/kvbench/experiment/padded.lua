-- SPDX-License-Identifier: Apache-2.0
-- The same facts in longer and longer passages: a record's text stays whole and stands at a fixed relative depth among
-- sentences about other things, so that the size of the passage changes and nothing that is asked does.
--
-- Ids are those of the original records, so that results of all sizes can be paired by passage. The text is not taken
-- apart: its later sentences refer to its first ("They studied ...").
local hay = require "kvbench.dataset.suite.hay"
local rng = require "kvbench.rng"

local M = {}

local function shifted(span, by) return { span[1] + by, span[2] + by } end

local function shifted_facts(facts, by)
  local out = {}
  for i, fact in ipairs(facts) do
    local mentions = {}
    for j, m in ipairs(fact.mentions) do
      local binding = {}
      for k, span in ipairs(m.binding or {}) do binding[k] = shifted(span, by) end
      mentions[j] = { sentence = m.sentence and shifted(m.sentence, by), value = m.value and shifted(m.value, by),
        binding = binding }
    end
    out[i] = { mentions = mentions }
    for key, value in pairs(fact) do out[i][key] = out[i][key] or value end
  end
  return out
end

--- A record in a passage of at most `tokens` tokens (the record's own length where that is more); o: measure(text) ->
--- tokens, haystack "prose" or "noise", seed, keep(question) -> whether it is asked, most = how many are.
function M.record(record, tokens, o)
  local r = rng.new(("padded/%s/%s"):format(tostring(o.seed), record.id))
  local depth, sentence = r:uniform(), hay.sentences(o.haystack or "prose", r)
  local at
  local function needle(w) at = w.put(record.passage)[1] end
  local function assembled(n) return (hay.assemble(sentence, n, { needle }, { math.floor(depth * n + .5) })) end
  local n = hay.most(function(count) return count == 0 or o.measure(assembled(count)) <= tokens end, "a record")
  local passage, out = assembled(n), {}
  for key, value in pairs(record) do out[key] = value end
  out.task, out.passage, out.questions = "padded_" .. record.task, passage, {}
  out.facts = shifted_facts(record.facts, at)
  for _, question in ipairs(record.questions) do
    if #out.questions < (o.most or math.huge) and (not o.keep or o.keep(question)) then
      out.questions[#out.questions + 1] = question
    end
  end
  return out
end

--- A dataset's records at one size (M.record's o); those of which nothing is asked are left out. Returns a dataset and
--- the mean number of tokens of its passages; nil where nothing is asked of any.
function M.dataset(dataset, tokens, o)
  local records, sum = {}, 0
  for _, record in ipairs(dataset.records) do
    local padded = M.record(record, tokens, o)
    if #padded.questions > 0 then
      records[#records + 1] = padded
      sum = sum + o.measure(padded.passage)
    end
  end
  if #records == 0 then return nil end
  return require "kvbench.dataset"(records), sum / #records
end

return M
