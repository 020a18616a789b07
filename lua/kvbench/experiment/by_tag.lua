-- SPDX-License-Identifier: Apache-2.0
-- Curves by a tag of the question (answer type, question type, direction, hop): one figure a task, one panel a press
-- and regime. A tag with few questions has no curve but a line in the table; one tag alone compares with nothing, and
-- the figure says so.
local plot = require "kvbench.plot"
local interval = require "kvbench.stats.interval"

local M = {}

--- Rows that have a y, by the value of a column, as a list of {tag, rows, questions}, most questions first
-- (numbers: ascending).
function M.groups(rows, tag, y)
  local by, order = {}, {}
  for _, row in ipairs(rows) do
    local value = type(tag) == "function" and tag(row) or row[tag]
    if value ~= nil and row[y] ~= nil then
      if not by[value] then
        by[value] = { tag = value, rows = {}, questions = 0, seen = {} }
        order[#order + 1] = by[value]
      end
      local g, key = by[value], row.passage_id .. "|" .. row.question
      g.rows[#g.rows + 1] = row
      if not g.seen[key] then g.seen[key], g.questions = true, g.questions + 1 end
    end
  end
  table.sort(order, function(a, b)
    if type(a.tag) == "number" then return a.tag < b.tag end
    if a.questions ~= b.questions then return a.questions > b.questions end
    return tostring(a.tag) < tostring(b.tag)
  end)
  return order
end

local function at_ratio(rows, ratio, y)
  local list = {}
  for _, row in ipairs(rows) do if math.abs(row.ratio - ratio) < 1e-9 then list[#list + 1] = row end end
  if #list == 0 then return nil end
  return interval.mean(list, { y = y })
end

--- Draws one task. o: e, task, regimes, tag (column), what (its name), y ("f1"), y_label, least (questions a curve
-- needs), presses (labels; default all), name(tag) -> shown, file (of the figure; default: the task). Adds a line a
-- curve to `numbers`, and returns {[regime] = {[press] = groups}}, dataset.
function M.draw(o, numbers)
  local e, y, panels, found, dataset = o.e, o.y or "f1", {}, {}, nil
  for _, regime in ipairs(o.regimes) do
    local run
    run, dataset = e:sweep { task = o.task, regime = regime,
      columns = { y, "f1", "answer_type", "question_type", "direction" } }
    e.join(run.rows, dataset)
    found[regime] = {}
    for _, label in ipairs(o.presses or run.presses) do
      local title = ("%s, %s"):format(e.shown(label), regime)
      local groups, lines = M.groups(run:press_rows(label), o.tag, y), {}
      found[regime][label] = groups
      for _, g in ipairs(groups) do
        local shown = o.name and o.name(g.tag) or tostring(g.tag)
        if g.questions >= (o.least or 5) then lines[#lines + 1] = { rows = g.rows, label = shown } end
        local zero, nine = at_ratio(g.rows, 0, y), at_ratio(g.rows, .9, y)
        numbers[#numbers + 1] = { task = o.task, regime = regime, press = e.shown(label), [o.what] = shown,
          questions = g.questions, ["at 0"] = zero and zero.mean, ["at 0.9"] = nine and nine.mean,
          lo = nine and nine.lo, hi = nine and nine.hi,
          drawn = g.questions >= (o.least or 5) and "yes" or ("no: under %d questions"):format(o.least or 5) }
      end
      if #groups == 0 then
        panels[#panels + 1] = e.note(title, ("task %s has no %s labels"):format(o.task, o.what))
      else
        local panel = e.panel(lines, { title = title, y = y, y_label = o.y_label or "token F1", min = 0, max = 1,
          reason = ("no %s has %d questions with an answer"):format(o.what, o.least or 5) })
        if #lines == 1 then panel.title = title .. ": one class only, nothing to compare" end
        panels[#panels + 1] = panel
      end
    end
  end
  local columns = #panels % 4 == 0 and 4 or math.min(3, #panels)
  e:save(plot.small_multiples { columns = columns, panels = panels, title = ("%s: by %s"):format(o.task, o.what),
    caption = ("%s Curves with at least %d questions. %s"):format(e:setting(dataset), o.least or 5, e.bands) }, o.file
      or o.task)
  return found, dataset
end

M.columns = function(what)
  return { "task", "regime", "press", what, "questions", "at 0", "at 0.9", "lo", "hi", "drawn" }
end

return M
