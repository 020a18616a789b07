-- SPDX-License-Identifier: Apache-2.0
-- How attention heads agree and what they look at, from rows of attention weights: consensus, its chance-corrected
-- version, agreement, diversity, idle heads, mass on evidence.
--
-- A row set is any indexable of numbers, 0-based: weight of head h on token t at a[h * stride + t]. Raw consensus is
-- the paper's (arXiv:2603.01426, section 5.1); it counts argmax tokens, so it falls by counting alone when few tokens
-- are left, and sinks decide it. The other measures look at what is not a sink, renormalised, and leave out heads that
-- have nothing left there.
local M = {}

--- Heads with less of their mass than this on the tokens looked at are idle.
M.IDLE = .05
--- A token with more than this mean attention of a layer's heads is a sink of the layer.
M.SINK = .3

local function argmax(a, from, tokens)
  local best, at = -math.huge, nil
  for i = 1, #tokens do
    local v = a[from + tokens[i]]
    if v > best then best, at = v, tokens[i] end
  end
  return at, best
end

--- Sinks of a layer: positions among the first n with mean weight over heads above M.SINK, and position 0. A set
-- {[t] = true}.
function M.sinks(a, heads, n, stride)
  local out = { [0] = true }
  for t = 0, n - 1 do
    local sum = 0
    for h = 0, heads - 1 do sum = sum + a[h * stride + t] end
    if sum / heads > M.SINK then out[t] = true end
  end
  return out
end

--- The paper's Consensus(l): unique top-attended tokens among positions 0 .. n - 1, over heads. 1 = all heads look
-- elsewhere.
function M.consensus(a, heads, n, stride)
  local seen, unique = {}, 0
  for h = 0, heads - 1 do
    local best, at = -math.huge, nil
    for t = 0, n - 1 do
      local v = a[h * stride + t]
      if v > best then best, at = v, t end
    end
    if at and not seen[at] then seen[at], unique = true, unique + 1 end
  end
  return unique / heads
end

--- Agreement of the heads of one layer on `tokens` (ascending positions, X without sinks): weights are renormalised to
-- these tokens; heads with less than 5 % of their mass there are idle and left out.
--   n_kept   tokens that some head can still see (at most #tokens; default #tokens)
-- Returns {c_star = (U - 1) / (min(active, n_kept) - 1), rho = largest share of heads with one top token, diversity =
-- [Ent(mean_h a_h) - mean_h Ent(a_h)] / ln(active), top = the token behind rho, active, idle, mass = mean weight on
-- `tokens`}; c_star and diversity are nil where fewer than two heads are active or fewer than two tokens are left.
function M.agreement(a, heads, tokens, stride, n_kept)
  local out, tops, unique, mean, entropy = { active = 0, idle = 0, mass = 0 }, {}, 0, {}, 0
  for i = 1, #tokens do mean[i] = 0 end
  for h = 0, heads - 1 do
    local from, mass = h * stride, 0
    for i = 1, #tokens do mass = mass + a[from + tokens[i]] end
    out.mass = out.mass + mass / heads
    if mass < M.IDLE then
      out.idle = out.idle + 1
    else
      out.active = out.active + 1
      local top = argmax(a, from, tokens)
      if not tops[top] then unique = unique + 1 end
      tops[top] = (tops[top] or 0) + 1
      for i = 1, #tokens do
        local p = a[from + tokens[i]] / mass
        mean[i] = mean[i] + p
        if p > 0 then entropy = entropy - p * math.log(p) end
      end
    end
  end
  if out.active == 0 then return out end
  local most, mixed = 0, 0
  for i = 1, #tokens do
    local t, p = tokens[i], mean[i] / out.active
    if (tops[t] or 0) > most then most, out.top = tops[t], t end
    if p > 0 then mixed = mixed - p * math.log(p) end
  end
  out.rho, out.unique = most / out.active, unique
  local can = math.min(out.active, n_kept or #tokens)
  if can >= 2 then out.c_star = math.min(1, (unique - 1) / (can - 1)) end
  if out.active >= 2 then
    out.diversity = math.max(0, (mixed - entropy / out.active) / math.log(out.active))
  end
  return out
end

--- Weight of each head on a token set: array by head (from 1).
function M.mass(a, heads, tokens, stride)
  local out = {}
  for h = 0, heads - 1 do
    local sum = 0
    for i = 1, #tokens do sum = sum + a[h * stride + tokens[i]] end
    out[h + 1] = sum
  end
  return out
end

--- Attention recall of one head: the share of its full-cache attention on positions 0 .. n - 1 that falls on kept ones;
-- kept(t) -> boolean. nil where the head attends to none of them.
function M.recall(a, from, n, kept)
  local all, left = 0, 0
  for t = 0, n - 1 do
    local v = a[from + t]
    all = all + v
    if kept(t) then left = left + v end
  end
  return all > 0 and left / all or nil
end

--- Local output error ||o_a - o|| / ||o|| of one head, from weights and values v[t * dim + d] of `count` keys. nil
-- where o is zero.
function M.output_error(full, evicted, from, values, value_from, count, dim)
  local diff, norm = 0, 0
  for d = 0, dim - 1 do
    local o, oa = 0, 0
    for t = 0, count - 1 do
      local v = values[value_from + t * dim + d]
      o, oa = o + full[from + t] * v, oa + evicted[from + t] * v
    end
    diff, norm = diff + (oa - o) ^ 2, norm + o * o
  end
  return norm > 0 and math.sqrt(diff / norm) or nil
end

return M
