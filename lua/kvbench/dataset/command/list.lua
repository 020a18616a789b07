-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset list
local dataset = require "kvbench.dataset"
local text = require "kvbench.text"
local words = require "kvbench.words"

return function(rest)
  local names = words.split(rest, {}, "kvbench dataset list: the tasks, their sizes and what they are")
  if #names > 0 then words.misused("kvbench dataset list takes no names, got '%s'", names[1]) end
  local rows = { { "task", "passages", "words", "questions", "" } }
  for _, name in ipairs(dataset.tasks()) do
    local task = dataset.task(name)
    local rules = task.rules
    rows[#rows + 1] = { task.name, task.size, ("%d-%d"):format(unpack(rules.words)),
      rules.questions[1] == rules.questions[2] and tostring(rules.questions[1])
        or ("%d-%d"):format(unpack(rules.questions)), task.doc or "" }
  end
  print(text.columns(rows))
  local suite = require "kvbench.dataset.suite"
  rows = {}
  for _, name in ipairs(suite.names()) do
    local spec, parts = suite.tasks[name:match("[^/]+$")], {}
    for key, value in pairs(spec[3]) do parts[#parts + 1] = key .. "=" .. tostring(value) end
    table.sort(parts)
    rows[#rows + 1] = { name, spec[2], table.concat(parts, " ") }
  end
  print("\nof any length (--length N), in the manner of RULER\n" .. text.columns(rows))
end
