-- SPDX-License-Identifier: Apache-2.0
-- Paired tests: two presses answer the same questions.
local resample = require "kvbench.stats.resample"
local rng = require "kvbench.rng"

local M = {}

local EXACT_UP_TO = 14 -- 2^14 sign patterns are fewer than the default number of random ones

--- McNemar's exact test: b = pairs in which only the first is right, c = only the second. Two-sided p under
--- Binomial(b + c, 1/2). For one question per passage; questions that share a passage need sign_flip. Source:
--- McNemar, Psychometrika 12, 1947.
function M.mcnemar(b, c)
  local n, m = b + c, math.min(b, c)
  if n == 0 then return 1 end
  local log_choose, sum = 0, 0
  for k = 0, m do
    if k > 0 then log_choose = log_choose + math.log(n - k + 1) - math.log(k) end
    sum = sum + math.exp(log_choose - n * math.log(2))
  end
  return math.min(1, 2 * sum)
end

--- Calls visit(signs) for every sign pattern of n pairs (n <= 14), or for R random ones; returns exact, patterns.
function M.each_pattern(n, R, seed, visit)
  local signs = {}
  if n <= EXACT_UP_TO then
    for code = 0, 2 ^ n - 1 do
      local rest = code
      for i = 1, n do
        signs[i] = rest % 2 == 0 and 1 or -1
        rest = math.floor(rest / 2)
      end
      visit(signs)
    end
    return true, 2 ^ n
  end
  local r = rng.new("sign_flip/" .. tostring(seed))
  for _ = 1, R do
    local word, left = 0, 0
    for i = 1, n do
      if left == 0 then word, left = r:bits(), 32 end
      signs[i] = word % 2 == 0 and 1 or -1
      word, left = math.floor(word / 2), left - 1
    end
    visit(signs)
  end
  return false, R
end

--- Sign-flip permutation test of paired differences d (array, one per passage): is their sum further from 0 than
--- random signs make it? Two-sided. All 2^n patterns for n <= 14, else opt.replicates (10000) random ones with the
--- observed one counted in.
--- Returns {p, statistic = mean of d, exact, patterns}.
function M.sign_flip_values(d, opt)
  local n, sum, scale = #d, 0, 0
  if n == 0 then error("stats.sign_flip: no pairs -> do the two sides share passages?", 0) end
  for i = 1, n do sum, scale = sum + d[i], scale + math.abs(d[i]) end
  local extreme, slack = 0, 1e-12 * scale
  local exact, patterns = M.each_pattern(n, opt and opt.replicates or 10000, opt and opt.seed or 1, function(signs)
    local s = 0
    for i = 1, n do s = s + signs[i] * d[i] end
    if math.abs(s) >= math.abs(sum) - slack then extreme = extreme + 1 end
  end)
  return { p = exact and extreme / patterns or (extreme + 1) / (patterns + 1), statistic = sum / n, exact = exact,
    patterns = patterns }
end

--- Passage-level sign-flip test of mean_a - mean_b. Rows as for stats.curve (y, cluster). A passage's difference is
--- weighted by its number of questions, so that the statistic is the difference of the plain means; both sides must
--- hold equally many questions of each shared passage. Returns sign_flip_values' table with statistic = difference
--- of means, passages, dropped.
function M.sign_flip(rows_a, rows_b, opt)
  local function fold(rows)
    return resample.compact(rows, { x = function() return 0 end, y = opt.y, cluster = opt.cluster })
  end
  local a, b = fold(rows_a), fold(rows_b)
  local at, d, total = {}, {}, 0
  for c, id in ipairs(b.ids) do at[id] = c - 1 end
  for c, id in ipairs(a.ids) do
    local other = at[id]
    if other then
      local na, nb = a.count[c - 1], b.count[other]
      if na ~= nb then
        error(string.format("stats.sign_flip: passage '%s' has %d rows on one side and %d on the other -> compare the "
          .. "same questions",
          id, na, nb), 0)
      end
      d[#d + 1] = a.sum[c - 1] - b.sum[other]
      total = total + na
    end
  end
  local out = M.sign_flip_values(d, opt)
  out.statistic = out.statistic * #d / total
  out.passages, out.dropped = #d, #a.ids + #b.ids - 2 * #d
  return out
end

--- Sign-flip test of a whole paired curve with max-T: rows as for stats.curve. At each x the passage differences'
--- sum over the root of their sum of squares; the same signs flip all x, and the largest |T| of each pattern is what
--- a point's |T| is compared with, so the p values hold for all x together (Westfall & Young, 1993). Returns { {x,
--- difference, t, p}, ... }, {exact, patterns, passages}.
function M.sign_flip_curve(rows_a, rows_b, opt)
  local a, b = resample.compact(rows_a, opt), resample.compact(rows_b, opt)
  local at, x_at, xs, passages = {}, {}, {}, {}
  for c, id in ipairs(b.ids) do at[id] = c - 1 end
  for i, x in ipairs(b.xs) do x_at[x] = i - 1 end
  for i, x in ipairs(a.xs) do
    if x_at[x] then xs[#xs + 1] = { x = x, a = i - 1, b = x_at[x], n = 0, sum = 0, squares = 0 } end
  end
  for c, id in ipairs(a.ids) do
    if at[id] then
      local d = {}
      for i, p in ipairs(xs) do
        local ia, ib = (c - 1) * a.points + p.a, at[id] * b.points + p.b
        if a.count[ia] ~= b.count[ib] then
          error(string.format("stats.sign_flip_curve: passage '%s' at %s has %d rows on one side and %d on the other "
            .. "-> compare the same questions", id, tostring(p.x), a.count[ia], b.count[ib]), 0)
        end
        d[i] = a.sum[ia] - b.sum[ib]
        p.n, p.sum, p.squares = p.n + a.count[ia], p.sum + d[i], p.squares + d[i] ^ 2
      end
      passages[#passages + 1] = d
    end
  end
  if #passages == 0 or #xs == 0 then error("stats.sign_flip_curve: the two sides share no passages or no x", 0) end
  local extreme = {}
  for i, p in ipairs(xs) do
    extreme[i] = 0
    p.t = p.squares > 0 and p.sum / math.sqrt(p.squares) or 0
  end
  local exact, patterns = M.each_pattern(#passages, opt.replicates or 10000, opt.seed or 1, function(signs)
    local top = 0
    for i, p in ipairs(xs) do
      local s = 0
      for c = 1, #passages do s = s + signs[c] * passages[c][i] end
      if p.squares > 0 then top = math.max(top, math.abs(s) / math.sqrt(p.squares)) end
    end
    for i, p in ipairs(xs) do if top >= math.abs(p.t) - 1e-12 then extreme[i] = extreme[i] + 1 end end
  end)
  local out = {}
  for i, p in ipairs(xs) do
    local share = exact and extreme[i] / patterns or (extreme[i] + 1) / (patterns + 1)
    out[i] = { x = p.x, difference = p.n > 0 and p.sum / p.n or 0, t = p.t, p = share }
  end
  return out, { exact = exact, patterns = patterns, passages = #passages }
end

--- Holm's adjusted p values, in the order given: significant at level alpha where <= alpha, with the family-wise
--- error held.
--- Source: Holm, Scand. J. Statist. 6, 1979.
function M.holm(ps)
  local order, out, running = {}, {}, 0
  for i = 1, #ps do order[i] = i end
  table.sort(order, function(i, j)
    if ps[i] ~= ps[j] then return ps[i] < ps[j] end
    return i < j
  end)
  for rank, i in ipairs(order) do
    running = math.max(running, math.min(1, (#ps - rank + 1) * ps[i]))
    out[i] = running
  end
  return out
end

return M
