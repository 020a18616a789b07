-- SPDX-License-Identifier: Apache-2.0
-- How well tags agree with the truth: confusion matrix, precision, recall and F1 of each class, their mean.
local tag = require "kvbench.tag"
local text = require "kvbench.text"

local M = {}
local Score = {}
Score.__index = Score

function M.new(axis) return setmetatable({ axis = axis, counts = {}, total = 0, errors = {} }, Score) end

--- Counts one pair; `what` (any value) is kept for the first errors.
function Score:add(truth, given, what)
  self.counts[truth] = self.counts[truth] or {}
  self.counts[truth][given] = (self.counts[truth][given] or 0) + 1
  self.total = self.total + 1
  if truth ~= given and #self.errors < 1000 then self.errors[#self.errors + 1] = { truth, given, what } end
end

local function count(self, truth, given) return (self.counts[truth] or {})[given] or 0 end

--- Per class {precision, recall, f1, support}, macro = mean F1 over the classes that occur in the truth, accuracy.
function Score:result()
  local out, sum, classes, right = { classes = {} }, 0, 0, 0
  for _, class in ipairs(tag.tags[self.axis]) do
    local hit, given, support = count(self, class, class), 0, 0
    for _, other in ipairs(tag.tags[self.axis]) do
      given = given + count(self, other, class)
      support = support + count(self, class, other)
    end
    local f1 = given + support > 0 and 2 * hit / (given + support) or 0
    out.classes[class] = { precision = given > 0 and hit / given or 0, recall = support > 0 and hit / support or 0,
      f1 = f1, support = support, given = given }
    if support > 0 then sum, classes = sum + f1, classes + 1 end
    right = right + hit
  end
  out.macro, out.accuracy = classes > 0 and sum / classes or 0, self.total > 0 and right / self.total or 0
  return out
end

--- The result and the confusion matrix (rows: truth) as text.
function Score:show()
  local result, names = self:result(), {}
  for _, class in ipairs(tag.tags[self.axis]) do
    local c = result.classes[class]
    if c.support + c.given > 0 then names[#names + 1] = class end
  end
  local rows = { { self.axis, "precision", "recall", "F1", "n", "|", unpack(names) } }
  for _, class in ipairs(names) do
    local c = result.classes[class]
    local row = { class, ("%.3f"):format(c.precision), ("%.3f"):format(c.recall), ("%.3f"):format(c.f1), c.support,
      "|" }
    for _, other in ipairs(names) do row[#row + 1] = count(self, class, other) end
    rows[#rows + 1] = row
  end
  return ("%s\nmacro F1 %.3f, accuracy %.3f over %d questions"):format(text.columns(rows), result.macro,
    result.accuracy, self.total)
end

return M
