-- SPDX-License-Identifier: Apache-2.0
-- Has the answer already leaked into the tokens behind it when it is evicted?   (causal; Proposition 2's assumption)
--
-- Eviction follows a dense prefill, so later tokens have seen the answer's tokens V before these go. Four conditions
-- at the otherwise full cache: V evicted after the prefill; V masked as a source *during* it and evicted; V masked but
-- kept; and the same two for a window of V's lengths elsewhere (control: does masking harm by itself?). The leak is
-- ln p(gold | V evicted after) - ln p(gold | V unseen and evicted) per gold token under teacher forcing, also in
-- P(correct). Hypothesis (the assumption of Proposition 2): the leak is under a tenth of what eviction costs.
local kv = require "kvbench"
local append = require "kvbench.causal.append"
local causal = require "kvbench.causal"
local target = require "kvbench.causal.target"

local e = causal.experiment { name = "leakage", title = "What leaks into later tokens before eviction",
  options = { passages = 24 } }
local opt = e.opt

-- Ascending {from, to} ranges of a token list.
local function spans_of(tokens)
  local list, spans = { unpack(tokens) }, {}
  table.sort(list)
  for _, t in ipairs(list) do
    local last = spans[#spans]
    if last and last[2] == t then last[2] = t + 1 else spans[#spans + 1] = { t, t + 1 } end
  end
  return spans
end

local function interventions(v)
  local t = target.of(v)
  if not t or not t.windows[1] then return nil end
  local list = {}
  local function pair(name, tokens)
    local unseen = append.unseen(v.ctx, spans_of(tokens))
    local dropped = v.keep:drop(tokens, { budget = false })
    local masked, kept = dropped:copy(), v.keep:copy()
    masked.cache, kept.cache = unseen, unseen
    list[#list + 1] = { name = name .. " evicted", keep = dropped }
    list[#list + 1] = { name = name .. " unseen, evicted", keep = masked }
    list[#list + 1] = { name = name .. " unseen, kept", keep = kept, close = { unseen } }
  end
  pair("V", t.answer)
  pair("window", t.windows[1])
  return list
end

local run, _, gate, dataset = causal.sweep(e, { make = interventions, treat = { 0 }, presses = { opt.press },
  teacher = true, id = "leakage 1", passages = opt.passages })
local cells = causal.full_cells(run.rows)
local function asked(cell) return cell.by["V evicted"] ~= nil end

local names = { { "", "full cache" }, { "V evicted", "V evicted" }, { "V unseen, evicted", "unseen, evicted" },
  { "V unseen, kept", "unseen, kept" }, { "window evicted", "window evicted" },
  { "window unseen, evicted", "unseen window" } }
local function panel(title, y, label, min, max)
  local levels = {}
  for i, name in ipairs(names) do
    levels[i] = { label = name[2], effect = causal.level(cells, y, name[1], { where = asked }) }
  end
  return causal.forest(levels, { title = title, y_label = label, min = min, max = max })
end
local rows = {}
local function contrast(label, y, a, b)
  local effect, why = causal.paired(cells, y, a, b, { where = asked })
  rows[#rows + 1] = { label = label, effect = effect, why = why }
  return effect, why
end
contrast("leak: V evicted - V unseen and evicted, P(correct)", causal.correct, "V evicted",
  "V unseen, evicted")
local nats, why_nats = contrast("leak, nats per gold token", "gold_logprob_per_token", "V evicted", "V unseen, evicted")
local placebo = contrast("the same for the window, nats per gold token", "gold_logprob_per_token", "window evicted",
  "window unseen, evicted")
contrast("full - V evicted, P(correct)", causal.correct, "", "V evicted")
contrast("full - V evicted, nats per gold token", "gold_logprob_per_token", "", "V evicted")
local function nats_of(cell, name) return cell.by[name] and cell.by[name].gold_logprob_per_token end
local limited, why_limited = causal.mean(cells, function(cell)
  local full, gone, unseen = nats_of(cell, ""), nats_of(cell, "V evicted"), nats_of(cell, "V unseen, evicted")
  return full and gone and unseen and gone - unseen - .1 * (full - gone)
end)
rows[#rows + 1] = { label = "leak - a tenth of full - V evicted, nats per gold token", effect = limited,
  why = why_limited }
contrast("full - V unseen but kept, P(correct)", causal.correct, "", "V unseen, kept")
contrast("full - unseen window, P(correct)", causal.correct, "", "window unseen, evicted")

e:save(kv.plot.small_multiples { columns = 1, width = 6.8, share_y = false, title = "What later tokens know",
  panels = { panel("answers", causal.correct, "P(correct)", 0, 1),
    panel("teacher forcing", "gold_logprob_per_token", "ln P(gold) per token") },
  caption = e:setting(dataset) .. " Unseen: masked as a source during prefill. " .. causal.describe(gate)
    .. " Bars: 95 % BCa, passages resampled." }, "leakage")
e:table("leakage", causal.columns, causal.rows(rows), "Paired differences")
causal.verdict(e, gate, "leakage into later tokens is limited (leak - a tenth of what eviction costs, nats, below 0)",
  limited, why_limited, { direction = -1, margin = 0 })
causal.verdict(e, gate, "there is a leak in log-probability (nats per gold token)", nats, why_nats, { margin = .05 })
if placebo then e:verdict("exploratory", "the same difference for a window (control)", placebo) end
e:finish()
