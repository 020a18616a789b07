-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset check TASK|FILE: one line per rejected record, then one that counts. Status 1 when one was rejected.
local open = require "kvbench.dataset.command.open"
local read = require "kvbench.dataset.read"
local words = require "kvbench.words"

local USAGE = [==[
kvbench dataset check TASK|FILE [--task NAME] [--form NAME] [--seed TEXT] [--show N]
Checks every record and explains each rejected one: FILE:LINE: field: reason. Fields count from 1.
  --task NAME   check by this task's rules, whatever the records say they are
  --form NAME   own, squad, longbench (default: told by each line's fields)
  --seed TEXT   of a task's records (default A)
  --show N      rejects printed (default 100); all are counted]==]

-- "questions[2].aliases[1]" -> "questions.aliases", what rejects are counted by.
local function kind(field) return ((field or "record"):gsub("%[%d+%]", "")) end

local function sorted_counts(counts)
  local names = {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names, function(a, b) return counts[a] > counts[b] or counts[a] == counts[b] and a < b end)
  for i, name in ipairs(names) do names[i] = ("%d %s"):format(counts[name], name) end
  return table.concat(names, ", ")
end

return function(rest)
  local names, opt = words.split(rest, { task = "", form = "", seed = "A", show = 100 }, USAGE)
  if #names ~= 1 then words.misused("kvbench dataset check wants one task or file -> kvbench dataset check --help") end
  local name = names[1]
  local good, rejected, questions, tasks, fields = 0, 0, 0, {}, {}
  local each = open.each(name, { seed = opt.seed, task = opt.task ~= "" and opt.task or nil,
    form = opt.form ~= "" and opt.form or nil })
  local ok, problem = pcall(function()
    for record, reject in each do
      if record then
        good, questions = good + 1, questions + #record.questions
        tasks[record.task] = (tasks[record.task] or 0) + 1
      else
        rejected = rejected + 1
        local field = kind(reject.field)
        fields[field] = (fields[field] or 0) + 1
        if rejected <= opt.show then print(read.explain(name, reject)) end
      end
    end
  end)
  if rejected > opt.show then print(("... and %d more"):format(rejected - opt.show)) end
  print(("%s: %d records (%d questions) pass%s; %d rejected%s"):format(name, good, questions,
    good > 0 and ": " .. sorted_counts(tasks) or "", rejected, rejected > 0 and ": " .. sorted_counts(fields) or ""))
  if not ok then error(problem, 0) end -- a file that breaks off: what came before it is told first
  return (rejected > 0 or good == 0) and 1 or 0
end
