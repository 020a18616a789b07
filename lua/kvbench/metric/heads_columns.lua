-- SPDX-License-Identifier: Apache-2.0
-- Columns of a sweep about what the heads of a layer look at, from the observed last row of each question.
--
-- Consensus is measured three ways. As observed: this run's own attention, which is what the definition asks for.
-- Frozen: the full cache's row renormalised to the kept keys, so that rows of different keep-sets differ in nothing
-- but the keys. Null: the same with as many keys of each head kept at random, since consensus falls by counting
-- alone; frozen minus null is what the press's choice did. Sinks are the full cache's.
local attention = require "kvbench.metric.attention"
local evidence = require "kvbench.metric.evidence"
local ffi = require "ffi"
local rng = require "kvbench.rng"

local M = {}

local MEASURES = { "consensus", "c_star", "rho", "diversity", "idle" }

-- [layers, heads, width] of one observed row: pointer, heads, width.
local function row_of(observed)
  local w = observed.weights
  return ffi.cast("const float *", w.data), w:size(2), w:size(3), w:size(4)
end

-- Full-cache sinks by layer, X without them, and how many tokens; once a question.
local function sinks_of(view)
  local from = view.reference or view.result.observed
  local p, layers, heads, width = row_of(from)
  local out = {}
  for l = 0, layers - 1 do
    local sinks, x = attention.sinks(p + l * heads * width, heads, view.unit.ctx.tokens, width), {}
    for _, t in ipairs(view.index.x) do if not sinks[t] then x[#x + 1] = t end end
    out[l] = x
  end
  return out
end

--- Measures of a layer's row a [heads, width]: consensus, c_star, rho, diversity, idle (share of heads), mass. x: X
--- without sinks; kept: how many of it some head still sees.
function M.layer(a, heads, tokens, width, x, kept)
  local m = attention.agreement(a, heads, x, width, kept)
  return { consensus = attention.consensus(a, heads, tokens, width), c_star = m.c_star, rho = m.rho,
    diversity = m.diversity, idle = m.idle / heads, mass = m.mass }
end

--- Copies row a [heads, width] into out with keys that kept(kv_head, t) refuses at 0 and the rest summing to 1; keys
--- from `tokens` on stay.
function M.remask(a, out, heads, group, tokens, width, kept)
  for h = 0, heads - 1 do
    local at, sum = h * width, 0
    for t = 0, width - 1 do
      local v = (t >= tokens or kept(math.floor(h / group), t)) and a[at + t] or 0
      out[at + t], sum = v, sum + v
    end
    for t = 0, sum > 0 and width - 1 or -1 do out[at + t] = out[at + t] / sum end
  end
end

--- As many tokens of `range` as a keep-set has in each head of a layer, drawn at random; outside of it what it has.
--- Returns kept(head, t).
function M.random_layer(keep, layer, range, r)
  local heads = {}
  for h = 0, keep.kv_heads - 1 do
    local list, n, set = {}, 0, {}
    for t = range[1], range[2] - 1 do
      list[#list + 1] = t
      if keep:kept(layer, h, t) then n = n + 1 end
    end
    for i = 1, n do
      local j = r:int(i, #list)
      list[i], list[j] = list[j], list[i]
      set[list[i]] = true
    end
    heads[h] = set
  end
  return function(h, t)
    if t < range[1] or t >= range[2] then return keep:kept(layer, h, t) end
    return heads[h][t] or false
  end
end

local function seen_by_any(x, heads, kept)
  local n = 0
  for _, t in ipairs(x) do
    for h = 0, heads - 1 do
      if kept(h, t) then
        n = n + 1
        break
      end
    end
  end
  return n
end

local function add(sums, suffix, m)
  for _, name in ipairs(MEASURES) do
    local key = name .. suffix
    if m[name] then
      sums[key] = sums[key] or { 0, 0 }
      sums[key][1], sums[key][2] = sums[key][1] + m[name], sums[key][2] + 1
    end
  end
end

-- Frozen and null of one layer, from the full cache's row.
local function counterfactual(view, sums, l, full, x, range, r, buffer)
  local p, _, heads, width = row_of(full)
  local keep, tokens = view.keep, view.unit.ctx.tokens
  local a, group = p + l * heads * width, heads / keep.kv_heads
  local function of(kept, suffix)
    M.remask(a, buffer, heads, group, tokens, width, kept)
    add(sums, suffix, M.layer(buffer, heads, tokens, width, x, seen_by_any(x, keep.kv_heads, kept)))
  end
  of(function(h, t) return keep:kept(l, h, t) end, "_frozen")
  of(M.random_layer(keep, l, range, r), "_null")
end

local function consensus(view)
  local seen, sums, x = view.result.observed, {}, sinks_of(view)
  local p, layers, heads, width = row_of(seen)
  if seen.weights:size(1) == 0 then return {} end
  local keep, full, tokens = view.keep, view.reference, view.unit.ctx.tokens
  local range = view.unit.range
  local r = rng.new("consensus"):fork(view.row.key)
  local frozen = keep and not keep.cache and full
  local buffer = frozen and ffi.new("float[?]", heads * select(4, row_of(full)))
  for l = 0, layers - 1 do
    local kept = keep and seen_by_any(x[l], keep.kv_heads, function(h, t) return keep:kept(l, h, t) end) or #x[l]
    add(sums, "", M.layer(p + l * heads * width, heads, tokens, width, x[l], kept))
    if frozen then counterfactual(view, sums, l, full, x[l], range, r, buffer) end
  end
  local out = {}
  for name, s in pairs(sums) do out[name] = s[1] / s[2] end
  return out
end

--- See metric/columns.lua.
function M.consensus(version)
  return { name = "consensus", version = version, observe = { "reference", weights = {} }, columns = consensus }
end

local function mean_mass(observed, tokens)
  local p, layers, heads, width = row_of(observed)
  local sum = 0
  for c = 0, layers * heads - 1 do
    for _, t in ipairs(tokens) do sum = sum + p[c * width + t] end
  end
  return sum / (layers * heads)
end

local function answer_mass(view)
  local e, seen = evidence.of(view.index, view.question), view.result.observed
  if not e.answer or seen.weights:size(1) == 0 then return {} end
  local sets, sum = evidence.placebo(view.index, view.question).facts, 0
  for _, set in ipairs(sets) do sum = sum + mean_mass(seen, set) end
  return { answer_mass = mean_mass(seen, e.answer), binding_mass = mean_mass(seen, e.binding),
    answer_mass_placebo = #sets > 0 and sum / #sets or nil }
end

--- See metric/columns.lua.
function M.answer_mass(version)
  return { name = "answer mass", version = version, observe = { weights = {} }, columns = answer_mass }
end

return M
