-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench press: what presses cost as a share of the prefill that they score. For every length a passage is
-- prefilled plainly and with what the press observes, and the press decides for nine ratios on the fresh context (keys,
-- values and queries are read out of the cache then) and once more on the same one (they are there). Medians of rounds.
local library = require "kvbench.ffi"
local presses = require "kvbench.press"
local stats = require "kvbench.press_check"
local C = library.C

local M = {}

local NINE = { .1, .2, .3, .4, .5, .6, .7, .8, .9 }

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end

local function timed(fn)
  local started = C.kvb_time()
  local value = fn()
  return C.kvb_time() - started, value
end

-- One press at one length; seconds: for how long to repeat.
local function measure(model, press, ids, seconds)
  local plain, observed, first, again, launches = {}, {}, {}, {}, 0
  local started = C.kvb_time()
  local rounds = 0
  repeat
    local spent, ctx = timed(function() return model:prefill(ids) end)
    ctx:close()
    local with, fresh = timed(function() return model:prefill(ids, press.needs) end)
    local cold = timed(function() press:keeps(fresh, NINE) end)
    local warm = timed(function() press:keeps(fresh, NINE) end)
    if rounds == 0 then launches = select(2, stats.cost(press, fresh)) end -- a warm-up: no times kept
    fresh:close()
    if rounds > 0 then
      plain[rounds], observed[rounds], first[rounds], again[rounds] = spent, with, cold, warm
    end
    rounds = rounds + 1
  until C.kvb_time() - started >= seconds and rounds > 3
  local prefill, cost = median(plain), median(first)
  return { press = press:label(), tokens = #ids, rounds = rounds - 1, launches = launches, prefill_ms = 1e3 * prefill,
    observing_ms = 1e3 * (median(observed) - prefill), press_ms = 1e3 * cost, press_again_ms = 1e3 * median(again),
    share = cost / prefill, share_again = median(again) / prefill }
end

--- The work that two comma-separated lists ask for: {press =, tokens =} each. What is wrong in them is said here,
--- before a model is loaded.
function M.plan(names, lengths)
  local plan = {}
  for length in lengths:gmatch "[^,%s]+" do
    local n = tonumber(length)
    if not n or n < 2 or n % 1 ~= 0 then
      error(("--lengths: '%s' is not a number of tokens -> --lengths 250,1500"):format(length), 0)
    end
    for name in names:gmatch "[^,%s]+" do plan[#plan + 1] = { press = presses(name), tokens = n } end
  end
  if #plan == 0 then error("--presses and --lengths want at least one each -> --presses ea,snapkv --lengths 250", 0) end
  return plan
end

--- {costs = list}, one entry for each of the plan; ids_of(n): token ids of a passage; seconds: for each.
function M.run(model, ids_of, plan, seconds)
  local out = {}
  for i, work in ipairs(plan) do out[i] = measure(model, work.press, ids_of(work.tokens), seconds) end
  return { costs = out }
end

function M.report(out)
  print(("%-28s %7s %11s %12s %11s %9s %9s %9s"):format("press, nine ratios", "tokens", "prefill ms", "observing ms",
    "press ms", "share", "again", "launches"))
  for _, row in ipairs(out.costs) do
    print(("%-28s %7d %11.2f %12.2f %11.2f %8.1f%% %8.1f%% %9d"):format(row.press, row.tokens, row.prefill_ms,
      row.observing_ms, row.press_ms, 100 * row.share, 100 * row.share_again, row.launches))
  end
end

return M
