-- SPDX-License-Identifier: Apache-2.0
-- May a claim about forgetting be tested here? Only where there is something to forget: the passage must be worth
-- reading (accuracy with it minus accuracy without, lower bound > .3) and the curve must have a middle (three ratios
-- between 10 and 90 % of that range). Otherwise a flat line at the floor would look like robustness.
local interval = require "kvbench.stats.interval"
local panels = require "kvbench.experiment.panels"

local M = { least = .3, ratios = 3 }

local function right(row) return row.answerable and row.correct or nil end

--- What M.range looks at, besides what names a row.
M.columns = { "answerable", "correct" }

--- Accuracy with the passage minus accuracy without: rows of the full cache and of the closed book, matched by passage
-- and question. Returns {mean, lo, hi, n, clusters, closed}, or nil and why.
function M.range(full, closed)
  local without, pairs_ = {}, {}
  for _, row in ipairs(closed) do without[row.passage_id .. "|" .. row.question] = right(row) end
  local sum, n, uncompressed = 0, 0, false
  for _, row in ipairs(full) do
    local b, y = without[row.passage_id .. "|" .. row.question], right(row)
    uncompressed = uncompressed or row.press == "full"
    if row.press == "full" and b and y then
      pairs_[#pairs_ + 1] = { passage_id = row.passage_id, y = y - b }
      sum, n = sum + b, n + 1
    end
  end
  if not uncompressed then return nil, "nothing was asked with the full cache -> add 0 to --ratios" end
  if n == 0 then return nil, "no answerable question was asked with and without the passage" end
  local out = interval.mean(pairs_, { y = "y" })
  out.closed = sum / n
  return out
end

--- Judges one press: its run:data(label, "correct", {answerable = true}), a range as above. Returns ok, why (nil when
-- ok), ratios in the middle.
function M.judge(data, range)
  if not range.lo then return false, ("%d passage: no interval"):format(range.clusters), 0 end
  if not (range.lo > M.least) then
    return false, ("floor: accuracy with the passage minus without is %.2f [%.2f, %.2f], its lower bound not above %g")
      :format(range.mean, range.lo, range.hi, M.least), 0
  end
  local s = panels.series(data, { y = right })
  local inside = 0
  for _, y in ipairs(s and s.y or {}) do
    local share = (y - range.closed) / range.mean
    if share > .1 and share < .9 then inside = inside + 1 end
  end
  if inside < M.ratios then
    return false, ("only %d ratios lie between 10 and 90 %% of the range"):format(inside), inside
  end
  return true, nil, inside
end

return M
