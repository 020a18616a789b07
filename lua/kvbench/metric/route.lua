-- SPDX-License-Identifier: Apache-2.0
-- Routes from the question to the answer's tokens through a compressed cache (arXiv:2603.01426, section 6).
--
-- Nodes are the residual stream at (level, row); edges (l + 1, i) -> (l, i), the residual, and (l + 1, i) -> (l, j, h),
-- attention. Eviction follows a dense prefill, so two graphs: *direct*, the question's rows only, each answer token
-- read at its own key and value; *leaky*, the passage's rows too, dense, since what they gathered about the answer
-- before it was evicted can be read from them. An edge weighs A ||W_o v||, normalised per row over heads and keys; the
-- residual weighs nothing. "No head used twice" is colour-disjoint routing, which is NP-complete, so disjoint heads are
-- counted for routes of length 1 only.
local ffi = require "ffi"
local eviction = require "kvbench.metric.eviction"

local M = {}

--- Edge weights of one layer: e[i * keys + j] = max over heads of A ||W_o v|| / (sum of the row over heads and keys),
-- and counts of the heads at or above opt.epsilon in c (same shape). weights [heads, rows, keys], norms [heads, keys].
function M.edges(weights, norms, heads, rows, keys, opt)
  local e, c = ffi.new("double[?]", rows * keys), opt and opt.epsilon and ffi.new("int32_t[?]", rows * keys)
  for i = 0, rows - 1 do
    local total = 0
    for h = 0, heads - 1 do
      local a, v = (h * rows + i) * keys, h * keys
      for j = 0, keys - 1 do total = total + weights[a + j] * norms[v + j] end
    end
    for h = 0, total > 0 and heads - 1 or -1 do
      local a, v = (h * rows + i) * keys, h * keys
      for j = 0, keys - 1 do
        local w = weights[a + j] * norms[v + j] / total
        if w > e[i * keys + j] then e[i * keys + j] = w end
        if c and w >= opt.epsilon then c[i * keys + j] = c[i * keys + j] + 1 end
      end
    end
  end
  return e, c
end

--- Widths at level 0: infinite at the source tokens, 0 elsewhere. double [keys].
function M.start(keys, sources)
  local width = ffi.new("double[?]", keys)
  for _, t in ipairs(sources) do width[t] = math.huge end
  return width
end

--- One layer up: width'[i] = max(width[i], max_j min(e_ij, width[j])) for the rows first .. first + rows - 1; the
-- others stay. Returns a new array. The width of a row at the last level is its widest path: the largest epsilon at
-- which it still reaches a source, so reachability at an epsilon is width >= epsilon.
function M.step(width, e, first, rows, keys)
  local out = ffi.new("double[?]", keys)
  ffi.copy(out, width, 8 * keys)
  for i = 0, rows - 1 do
    local best = width[first + i]
    for j = 0, math.min(first + i, keys - 1) do
      local w = math.min(e[i * keys + j], width[j])
      if w > best then best = w end
    end
    out[first + i] = best
  end
  return out
end

-- ---- max-flow ----

local function add_edge(g, from, to, capacity)
  g.to[#g.to + 1], g.cap[#g.cap + 1] = to, capacity
  g.at[from] = g.at[from] or {}
  table.insert(g.at[from], #g.to)
  g.to[#g.to + 1], g.cap[#g.cap + 1] = from, 0
  g.at[to] = g.at[to] or {}
  table.insert(g.at[to], #g.to)
end

-- Shortest augmenting paths (Edmonds and Karp): capacities are small whole numbers.
local function max_flow(g, source, sink)
  local flow = 0
  while true do
    local before, queue, head = { [source] = 0 }, { source }, 1
    while queue[head] and not before[sink] do
      for _, id in ipairs(g.at[queue[head]] or {}) do
        if g.cap[id] > 0 and not before[g.to[id]] then
          before[g.to[id]] = id
          queue[#queue + 1] = g.to[id]
        end
      end
      head = head + 1
    end
    if not before[sink] then return flow end
    local least, node = math.huge, sink
    while node ~= source do
      least = math.min(least, g.cap[before[node]])
      node = g.to[before[node] % 2 == 1 and before[node] + 1 or before[node] - 1]
    end
    if least == math.huge then return math.huge end
    node = sink
    while node ~= source do
      local id = before[node]
      local back = id % 2 == 1 and id + 1 or id - 1
      g.cap[id], g.cap[back] = g.cap[id] - least, g.cap[back] + least
      node = g.to[back]
    end
    flow = flow + least
  end
end

--- Max-flow of the direct graph from the last question row to the sources, capacity 1 per (layer, head, row, key) whose
-- edge weighs at least epsilon; the residual has no limit. counts: array by layer (from 1) of c as M.edges gives it
-- over the question's rows; context = tokens of the context.
function M.flow(counts, rows, keys, context, sources)
  local g = { to = {}, cap = {}, at = {} }
  local function node(level, i) return level * rows + i + 2 end -- 1 is the answer
  for l, c in ipairs(counts) do
    for i = 0, rows - 1 do
      add_edge(g, node(l, i), node(l - 1, i), math.huge)
      for j = 0, i do
        local n = c[i * keys + context + j]
        if n > 0 and j ~= i then add_edge(g, node(l, i), node(l - 1, j), n) end
      end
      local n = 0
      for _, t in ipairs(sources) do n = n + c[i * keys + t] end
      if n > 0 then add_edge(g, node(l, i), 1, n) end
    end
  end
  return max_flow(g, node(#counts, rows - 1), 1)
end

--- Heads (l, h) through which the last row reads a source directly with at least epsilon: routes of length 1 that share
-- no head. weights, norms as for M.edges.
function M.direct_heads(weights, norms, heads, rows, keys, sources, epsilon)
  local total, count, i = 0, 0, rows - 1
  for h = 0, heads - 1 do
    for j = 0, keys - 1 do total = total + weights[(h * rows + i) * keys + j] * norms[h * keys + j] end
  end
  for h = 0, total > 0 and heads - 1 or -1 do
    local most = 0
    for _, t in ipairs(sources) do
      most = math.max(most, weights[(h * rows + i) * keys + t] * norms[h * keys + t] / total)
    end
    if most >= epsilon then count = count + 1 end
  end
  return count
end

--- Route-weighted eviction GER_w = 1 - mean over tokens of (sum over cells w S) / (sum over cells w): w(l, h) = how
-- much of the full cache's answer mass the cell's heads carry, estimated on other passages. nil without tokens or
-- weight.
function M.weighted_ger(view, tokens, w)
  if not tokens or #tokens == 0 then return nil end
  local total, kept = 0, 0
  for _, layer in ipairs(view.layers) do
    for _, h in ipairs(layer.heads) do
      local weight, n = w(layer.l, h), 0
      for _, t in ipairs(tokens) do if view.keep:kept(layer.l, h, t) then n = n + 1 end end
      total, kept = total + weight, kept + weight * n / #tokens
    end
  end
  return total > 0 and 1 - kept / total or nil
end

--- Proposition 1, tested: survival of tokens x under a keep-set (a view of kvbench.metric.eviction) against what
-- independent heads would give. Returns {observed = share of x kept somewhere, bound = 1 - (1 - p)^k with p = the
-- smallest kept share of a head and k = cells, general = 1 - prod_h (1 - p_h), phi = mean correlation of the keep bits
-- of two cells over x (0 when independent; nil when no cell varies), k_eff}. nil for an empty x.
function M.proposition(view, x)
  local null, g = eviction.independent_null(view, x), eviction.ger(view, x)
  if not null then return nil end
  local cells, least = {}, 1
  for _, layer in ipairs(view.layers) do
    for _, h in ipairs(layer.heads) do
      local bits, n = {}, 0
      for i, t in ipairs(x) do
        bits[i] = view.keep:kept(layer.l, h, t) and 1 or 0
        n = n + bits[i]
      end
      least = math.min(least, n / #x)
      if n > 0 and n < #x then cells[#cells + 1] = { bits = bits, p = n / #x } end
    end
  end
  local sum, pairs_ = 0, 0
  for a = 1, #cells do
    for b = a + 1, #cells do
      local both, ca, cb = 0, cells[a], cells[b]
      for i = 1, #x do both = both + ca.bits[i] * cb.bits[i] end
      sum = sum + (both / #x - ca.p * cb.p) / math.sqrt(ca.p * (1 - ca.p) * cb.p * (1 - cb.p))
      pairs_ = pairs_ + 1
    end
  end
  return { observed = 1 - g.model, bound = 1 - (1 - least) ^ view.cells, general = 1 - null.model,
    phi = pairs_ > 0 and sum / pairs_ or nil, k_eff = eviction.k_eff(g.model, null.evicted_share) }
end

return M
