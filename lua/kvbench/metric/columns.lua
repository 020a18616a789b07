-- SPDX-License-Identifier: Apache-2.0
-- Metrics as columns of a sweep's rows: kv.sweep{metrics = {"selectivity", "ger_w", ...}}. Each is made for one
-- sweep, by name with defaults or here with options, and costs nothing where it is not asked for.
--
--   kv.sweep { ..., metrics = { "selectivity", kv.metric.columns.agreement { with = "adakv" } } }
--
-- What each column says, and its null: docs/metrics.md. Columns that are undefined for a row are absent from it.
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local route = require "kvbench.metric.route"
local text = require "kvbench.text"

local M = {}

local VERSION = "1"

--- How much more of the answer was evicted than of other facts' values of equal length: selectivity_model, _layer,
--- _frac.
function M.selectivity()
  return { name = "selectivity", version = VERSION, columns = function(view)
    local out = {}
    for _, kind in ipairs { "model", "layer", "frac" } do
      local own, placebo = view.row["ger_" .. kind], view.row["ger_" .. kind .. "_placebo"]
      if own and placebo then out["selectivity_" .. kind] = own - placebo end
    end
    return out
  end }
end

-- Answer mass of the heads on records that the sweep does not ask about.
local function weights_of(o)
  local heads = require "kvbench.causal.heads"
  local asked, records = {}, {}
  for _, record in ipairs(o.dataset.records) do asked[record.id] = true end
  local n = o.calibration or 4
  local ok, more = pcall(require "kvbench.dataset", o.dataset.task, { size = #o.dataset.records + n,
    seed = o.dataset.seed })
  for i = ok and #more.records or 0, 1, -1 do
    if #records < n and not asked[more.records[i].id] then records[#records + 1] = more.records[i] end
  end
  if #records == 0 then
    error(("metric 'ger_w': no other passages of task '%s' to measure the heads on -> kv.metric.columns.ger_w { "
      .. "records = {...} }"):format(tostring(o.dataset.task)), 0)
  end
  return heads.answer_mass({ model = function() return o.model end, opt = { style = o.style or "fewshot",
    idk_example = o.idk_example ~= false } }, records)
end

--- Eviction of the answer weighted by where the full cache reads answers: ger_w, ger_w_placebo, selectivity_w.
--- w = {[layer * kv_heads + head] = weight}, as kvbench.causal.heads.answer_mass gives it; without it, it is measured
--- once on `calibration` (4) other passages of the sweep's task, or on `records`.
function M.ger_w(o)
  local w = o.w
  local function weight(view)
    if not w and o.records then
      w = require("kvbench.causal.heads").answer_mass({ model = function() return o.model end, opt = { style = o.style
        or "fewshot", idk_example = o.idk_example ~= false } }, o.records)
    end
    w = w or weights_of(o)
    return require("kvbench.causal.heads").weight(w, view.eviction.keep.kv_heads)
  end
  return { name = "ger_w", version = VERSION, columns = function(view)
    local e = evidence.of(view.index, view.question)
    if not e.answer then return {} end
    local by = weight(view)
    local out = { ger_w = route.weighted_ger(view.eviction, e.answer, by) }
    local sets, sum = evidence.placebo(view.index, view.question).facts, 0
    for _, set in ipairs(sets) do sum = sum + (route.weighted_ger(view.eviction, set, by) or 0) end
    if out.ger_w and #sets > 0 then
      out.ger_w_placebo = sum / #sets
      out.selectivity_w = out.ger_w - out.ger_w_placebo
    end
    return out
  end }
end

--- Agreement with what the press `with` (a label; default the sweep's first) keeps of the same passage at the same
--- ratio, on X without sinks: kappa, jaccard, jaccard_chance (of independent sets of these sizes). Its own rows have
--- none.
function M.agreement(o)
  local with = o and o.with or o and o.presses and o.presses[1] and o.presses[1]:label()
  if not with then error("metric 'agreement' needs a press -> kv.metric.columns.agreement { with = \"adakv\" }", 0) end
  return { name = "agreement with " .. with, version = VERSION, compared = with, columns = function(view)
    local other = view.unit.compared and view.unit.compared[view.row.ratio]
    if not other or not view.keep or view.row.press == with or view.row.variant ~= "" then return {} end
    local a, b = view.eviction, eviction.view(other)
    if a.cells ~= b.cells then return {} end
    local m = eviction.agreement(a, b, view.index.x)
    local p, q = 1 - eviction.effective_ratio(a, view.index.x), 1 - eviction.effective_ratio(b, view.index.x)
    local union = p + q - p * q
    return { kappa = m.kappa, jaccard = m.jaccard, jaccard_chance = union > 0 and p * q / union or 1 }
  end }
end

--- Proposition 1 on this row's keep-set: prop_observed, prop_bound, prop_general, prop_phi; once a context and
--- condition.
function M.independence()
  local seen = setmetatable({}, { __mode = "k" })
  return { name = "independence", version = VERSION, columns = function(view)
    local p = seen[view.condition]
    if not p then
      local m = route.proposition(view.eviction, view.index.x) or {}
      p = { prop_observed = m.observed, prop_bound = m.bound, prop_general = m.general, prop_phi = m.phi }
      seen[view.condition] = p
    end
    return p
  end }
end

--- Routes of the direct graph (and with leaky = true of the leaky one) from the last question row to the answer's
--- tokens, full-cache queries over the kept keys: route_direct, route_placebo, route_flow, route_heads, route_reach,
--- route_leaky, route_leaky_placebo. epsilon: weight from which an edge counts (.01).
function M.routes(o)
  o = o or {}
  local found = setmetatable({}, { __mode = "k" })
  local function before(v)
    local e = evidence.of(v.index, v.question)
    if not e.answer then return end
    local list = {}
    for i, condition in ipairs(v.conditions) do list[i] = { keep = condition.keep, of = condition } end
    local placebo = evidence.placebo(v.index, v.question)
    require("kvbench.route_rows").measure(v.ctx, v.ids, { answer = e.answer, placebo = placebo.facts[1] }, list,
      { epsilon = o.epsilon, leaky = o.leaky })
    for _, c in ipairs(list) do
      found[c.of] = found[c.of] or {}
      found[c.of][v.question] = { route_direct = c.direct, route_placebo = c.placebo, route_flow = c.flow,
        route_heads = c.heads, route_reach = c.reach, route_leaky = c.leaky, route_leaky_placebo = c.leaky_placebo }
    end
  end
  return { name = ("routes at %g%s"):format(o.epsilon or .01, o.leaky and ", leaky" or ""), version = VERSION,
    before = before, columns = function(view)
      local of = found[view.condition]
      local out = of and of[view.question]
      if of then of[view.question] = nil end
      return out or {}
    end }
end

--- How the heads of a layer agree, from the last question row of this very run, means over layers; and the same of the
--- full cache's row over the kept keys (_frozen) and over as many random ones (_null): see metric/heads_columns.lua.
function M.consensus() return require("kvbench.metric.heads_columns").consensus(VERSION) end

--- Attention of the last question row to the answer, to other facts' values of equal length, and to what binds the
--- answer: answer_mass, answer_mass_placebo, binding_mass, means over layers and heads.
function M.answer_mass() return require("kvbench.metric.heads_columns").answer_mass(VERSION) end

--- The names that kv.sweep{metrics =} knows.
M.names = { "selectivity", "ger_w", "agreement", "independence", "routes", "consensus", "answer_mass" }

--- The metric of a name, for a sweep's settings o (model, dataset, presses, style, idk_example).
function M.named(name, o)
  for _, known in ipairs(M.names) do
    if known == name then return M[name](o) end
  end
  error(("sweep: no metric '%s' %s"):format(name, text.suggest(name, M.names)), 0)
end

return M
