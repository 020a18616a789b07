-- SPDX-License-Identifier: Apache-2.0
-- d' and criterion: can the model tell unanswerable questions from answerable ones, or does it only abstain more?
--
-- Abstaining on an unanswerable question is a hit, on an answerable one a false alarm. d' = z(hit rate) - z(false-alarm
-- rate) is what the model can tell apart, c = -(z(H) + z(F)) / 2 how reluctant it is to abstain. A press that makes
-- everything look unknown moves c and leaves d' alone; the abstention rate by itself cannot show the difference.
-- Half a trial is added to each cell (log-linear correction), so that rates of 0 and 1 stay finite.
-- Source: Hautus, Behav. Res. Methods Instrum. Comput. 27, 1995; Macmillan & Creelman, "Detection Theory", 2005.
local normal = require "kvbench.stats.normal"
local interval = require "kvbench.stats.interval"
local resample = require "kvbench.stats.resample"

local M = {}

--- d' and c from counts: hits of `signals`, false alarms of `noises`. Returns d', c.
function M.from_counts(hits, signals, false_alarms, noises)
  local h = normal.quantile((hits + .5) / (signals + 1))
  local f = normal.quantile((false_alarms + .5) / (noises + 1))
  return h - f, -(h + f) / 2
end

local function counts_of(passages)
  local t = { 0, 0, 0, 0 }
  for _, p in ipairs(passages) do
    for k = 1, 4 do t[k] = t[k] + p[k] end
  end
  return t
end

--- Over rows. opt: signal(row) -> true for a row where responding is right (default: answerable == false), response
--- (column or function, default "abstention"), cluster, replicates 2000, seed, level. Matched and swapped questions of
--- a passage stay together: passages are resampled, and the interval is BCa.
--- Returns {estimate = d', lo, hi, criterion = {estimate, lo, hi}, hits, signals, false_alarms, noises, n, clusters};
--- `reason` instead of limits when one kind of question is missing or there are fewer than 3 passages.
function M.dprime(rows, opt)
  opt = opt or {}
  local response = resample.getter(opt.response or "abstention", "response")
  local cluster = resample.getter(opt.cluster or "passage_id", "cluster")
  local signal = opt.signal or function(row) return row.answerable == false end
  local at, passages = {}, {}
  for _, row in ipairs(rows) do
    local r, id = response(row), tostring(cluster(row))
    if r ~= nil then
      if not at[id] then
        at[id] = { 0, 0, 0, 0, id = id }
        passages[#passages + 1] = at[id]
      end
      local k = signal(row) and 1 or 3
      at[id][k] = at[id][k] + ((r == true or r == 1) and 1 or 0)
      at[id][k + 1] = at[id][k + 1] + 1
    end
  end
  table.sort(passages, function(a, b) return a.id < b.id end)
  local t = counts_of(passages)
  local out = { hits = t[1], signals = t[2], false_alarms = t[3], noises = t[4], n = t[2] + t[4],
    clusters = #passages }
  if t[2] == 0 or t[4] == 0 then
    out.reason = ("%d questions that should be refused, %d that should not: d' needs both"):format(t[2], t[4])
    return out
  end
  local d, c = M.from_counts(t[1], t[2], t[3], t[4])
  out.estimate, out.criterion = d, { estimate = c }
  if #passages < 3 then
    out.reason = ("%d passages: an interval needs at least 3"):format(#passages)
    return out
  end
  for k, into in ipairs { out, out.criterion } do
    local b = interval.bootstrap(passages, function(sample)
      local s = counts_of(sample)
      return (select(k, M.from_counts(s[1], s[2], s[3], s[4])))
    end, { replicates = opt.replicates, seed = opt.seed, level = opt.level })
    into.lo, into.hi = b.lo, b.hi
  end
  return out
end

return M
