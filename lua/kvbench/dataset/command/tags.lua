-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset tags TASK|FILE: what the rules make of each question, against the labels that are there.
local open = require "kvbench.dataset.command.open"
local read = require "kvbench.dataset.read"
local score = require "kvbench.tag.score"
local tag = require "kvbench.tag"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench dataset tags TASK|FILE [--rules FILE] [--seed TEXT] [--n N] [--errors N]
Tags every question by the rules and scores the tags against the labels in the data (a task's are its generator's):
precision, recall, F1 of each class, macro F1, confusion matrix (rows: label). Questions without labels are counted only.
  --rules FILE   rules that go before the built-in ones (docs/dataset.md)
  --errors N     show N of the questions that were tagged otherwise
  --n N          the first N records (default 1000; 0 = all)]==]

return function(rest)
  local names, opt = words.split(rest, { rules = "", seed = "A", n = 1000, errors = 0, form = "" }, USAGE)
  if #names ~= 1 then words.misused("kvbench dataset tags wants one task or file -> kvbench dataset tags --help") end
  local tagger = tag.new { rules = opt.rules ~= "" and opt.rules or nil }
  local scores, given, records, rejected = {}, {}, 0, 0
  for _, axis in ipairs(tag.axes) do scores[axis], given[axis] = score.new(axis), {} end
  for record, reject in open.each(names[1], { seed = opt.seed, size = opt.n > 0 and opt.n or nil, untagged = true,
    form = opt.form ~= "" and opt.form or nil }) do
    if record then
      records = records + 1
      for _, q in ipairs(record.questions) do
        local tags = tagger:tag(q, record.passage)
        for _, axis in ipairs(tag.axes) do
          given[axis][tags[axis]] = (given[axis][tags[axis]] or 0) + 1
          if q[axis] then scores[axis]:add(q[axis], tags[axis], { q, tags.rules[axis] }) end
        end
      end
    else
      rejected = rejected + 1
      if rejected == 1 then print(read.explain(names[1], reject)) end
    end
  end
  for _, axis in ipairs(tag.axes) do
    if scores[axis].total > 0 then
      print(scores[axis]:show() .. "\n")
      for i = 1, math.min(opt.errors, #scores[axis].errors) do
        local truth, got, what = unpack(scores[axis].errors[i])
        print(("  %s, not %s (rule: %s): %s -> %s"):format(truth, got, what[2], what[1].q, what[1].a))
      end
    else
      local parts = {}
      for _, name in ipairs(tag.tags[axis]) do parts[#parts + 1] = ("%s %d"):format(name, given[axis][name] or 0) end
      print(("%s (no labels to compare with): %s"):format(axis, table.concat(parts, ", ")))
    end
  end
  if rejected > 0 then print(("%s records rejected -> kvbench dataset check"):format(text.count(rejected))) end
  if records == 0 then error(("'%s' holds no good records"):format(names[1]), 0) end
end
