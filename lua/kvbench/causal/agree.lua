-- SPDX-License-Identifier: Apache-2.0
-- Do heads look at the same token? Of one row's attention, [layers, heads, tokens] on the host, over a set x of
-- positions (the passage without sinks), renormalised there. Heads with under 5 % of their mass on x are idle and left
-- out.
local M = {}

local IDLE = 0.05

-- Visits every head that is not idle: fn(layer, head, mass(t) -> renormalised attention, argmax position).
local function each(attention, x, fn)
  local layers, heads, n = attention:size(1), attention:size(2), attention:size(3)
  local p = attention:pointer()
  for l = 0, layers - 1 do
    for h = 0, heads - 1 do
      local base, total, top, at = (l * heads + h) * n, 0, -1, nil
      for _, t in ipairs(x) do
        local a = p[base + t]
        total = total + a
        if a > top then top, at = a, t end
      end
      if total >= IDLE then fn(l, h, function(t) return p[base + t] / total end, at) end
    end
  end
end

--- Disagreement D_l = [entropy of the mean over heads - mean of the heads' entropies] / ln(heads), averaged over layers
--- with two heads or more that are not idle: 0 = all heads look alike, 1 = each elsewhere. nil when no layer has two.
function M.disagreement(attention, x)
  local sums, entropies, counts = {}, {}, {}
  each(attention, x, function(l, _, mass)
    sums[l], entropies[l], counts[l] = sums[l] or {}, entropies[l] or 0, (counts[l] or 0) + 1
    for i, t in ipairs(x) do
      local a = mass(t)
      sums[l][i] = (sums[l][i] or 0) + a
      if a > 0 then entropies[l] = entropies[l] - a * math.log(a) end
    end
  end)
  local total, layers = 0, 0
  for l, count in pairs(counts) do
    if count >= 2 then
      local joint = 0
      for _, s in ipairs(sums[l]) do
        local a = s / count
        if a > 0 then joint = joint - a * math.log(a) end
      end
      total, layers = total + (joint - entropies[l] / count) / math.log(count), layers + 1
    end
  end
  return layers > 0 and total / layers or nil
end

--- How many heads (over all layers) have their largest attention on each position: {[t] = heads}.
function M.votes(attention, x)
  local votes = {}
  each(attention, x, function(_, _, _, at) votes[at] = (votes[at] or 0) + 1 end)
  return votes
end

--- The token with most votes, and the one of nearest attention (mean over all heads) with at most a quarter of them,
--- neither of `taken`: {token, votes, mass} each, or nil where there is none.
function M.pair(attention, x, taken)
  local votes, mass = M.votes(attention, x), {}
  local cells, n, p = attention:size(1) * attention:size(2), attention:size(3), attention:pointer()
  for _, t in ipairs(x) do
    mass[t] = 0
    for c = 0, cells - 1 do mass[t] = mass[t] + p[c * n + t] / cells end
  end
  local first
  for _, t in ipairs(x) do
    if not taken[t] and (votes[t] or 0) > (first and votes[first] or 0) then first = t end
  end
  if not first then return nil end
  local second, gap = nil, math.huge
  for _, t in ipairs(x) do
    local d = math.abs(math.log((mass[t] + 1e-12) / (mass[first] + 1e-12)))
    if not taken[t] and t ~= first and 4 * (votes[t] or 0) <= votes[first] and d < gap then second, gap = t, d end
  end
  local function of(t) return t and { token = t, votes = votes[t] or 0, mass = mass[t] } end
  return of(first), of(second)
end

return M
