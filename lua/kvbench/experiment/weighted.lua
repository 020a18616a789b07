-- SPDX-License-Identifier: Apache-2.0
-- Route-weighted eviction of stored rows: GER_w of the answer and of its placebo, from the ledger of a run, so that
-- rows which another script asked for need not be asked again.
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local heads = require "kvbench.causal.heads"
local ledger = require "kvbench.store.ledger"
local route = require "kvbench.metric.route"

local M = {}

local function placebo_of(view, sets, by)
  local sum, n = 0, 0
  for _, set in ipairs(sets) do
    local g = route.weighted_ger(view, set, by)
    if g then sum, n = sum + g, n + 1 end
  end
  return n > 0 and sum / n or nil
end

--- Adds ger_w and ger_w_placebo to the plain rows of presses (not of the full cache). e: the experiment; run, dataset:
-- as e:sweep returns them; opt: regime, calibration = how many other passages of the task tell where answers are read
-- (4), or w = those weights. Rows without answer tokens, and those whose keep-set is not in the ledger, stay as they
-- are. Returns how many rows have it.
function M.add(e, run, dataset, opt)
  local model, n = e:model(), 0
  local w = opt.w or heads.answer_mass(e, heads.calibration(e, dataset.task, #dataset.records, opt.calibration or 4))
  local by, records, groups, order = heads.weight(w, model.kv_heads), {}, {}, {}
  for _, record in ipairs(dataset.records) do records[record.id] = record end
  for _, row in ipairs(run.rows) do
    if row.press ~= "full" and (row.variant or "") == "" and row.answerable then
      local key = row.passage_id .. "|" .. row.press .. "|" .. row.ratio
      if not groups[key] then groups[key], order[#order + 1] = {}, key end
      table.insert(groups[key], row)
    end
  end
  run:reading(function(db)
    local indices = {}
    for _, key in ipairs(order) do
      local first = groups[key][1]
      local ok, keep = pcall(ledger.keep, db, first.passage_id, first.press, first.ratio, { regime = opt.regime })
      local record = records[first.passage_id]
      if ok and record then
        local index = indices[record] or ledger.index(db, record.id, { regime = opt.regime })
        indices[record] = index
        local view = eviction.view(keep)
        for _, row in ipairs(groups[key]) do
          local question = index.record.questions[row.question]
          local answer = evidence.of(index, question).answer
          if answer then
            row.ger_w = route.weighted_ger(view, answer, by)
            row.ger_w_placebo = placebo_of(view, evidence.placebo(index, question).facts, by)
            n = n + (row.ger_w and 1 or 0)
          end
        end
      end
    end
  end)
  return n
end

return M
