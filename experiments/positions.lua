-- SPDX-License-Identifier: Apache-2.0
-- Is it the holes that hurt? Keys where they were or moved together, the question where it was or right behind
-- (causal experiment 8)
--
-- For the same keep-set four caches: keys at their original positions or re-rotated so that each head's survivors
-- close ranks; the question at position n (the original length) or n_kept (the longest head's number of survivors).
-- Hypothesis: closing ranks (re-rotated, n_kept) against leaving holes (original, n) changes P(correct); two-sided,
-- with equivalence at 3 points. The mixed conditions are controls: they move keys and question apart.
local kv = require "kvbench"
local causal = require "kvbench.causal"
local parts = require "kvbench.press_parts"
local tensor = require "kvbench.tensor"

local e = causal.experiment { name = "positions", title = "Positions after eviction",
  options = { treat = { .3, .5, .7 } }, docs = { treat = "ratios" } }
local opt = e.opt
local press = kv.press(opt.press)

local function longest(keep)
  local most = 0
  for l = 0, keep.layers - 1 do
    for h = 0, keep.kv_heads - 1 do most = math.max(most, keep:count(l, h)) end
  end
  return most
end

-- The four caches of one context and ratio; the re-rotated one is shared by its questions and closed with the last.
local function sets_of(v)
  local made = v.unit.positions or {}
  v.unit.positions = made
  local key = v.press .. v.ratio
  if not made[key] then
    local n_kept = longest(v.keep)
    local cache = v.ctx:variant { keys = tensor.on(v.ctx.device, parts.close_ranks, press, v.ctx, v.keep) }
    local function set(rotated, position)
      local keep = v.keep:copy()
      keep.cache, keep.position = rotated and cache or nil, position
      return keep
    end
    made[key] = { cache = cache, n_kept = n_kept, { "original, n", set(false, v.ctx.tokens) },
      { "original, n_kept", set(false, n_kept) }, { "re-rotated, n", set(true, v.ctx.tokens) },
      { "re-rotated, n_kept", set(true, n_kept) } }
  end
  return made[key]
end

local function interventions(v)
  local sets, list = sets_of(v), {}
  for i = 1, 4 do
    list[i] = { name = sets[i][1], keep = sets[i][2], columns = { n_kept = sets.n_kept } }
  end
  local questions = v.unit.questions
  if v.q == questions[#questions] then list[4].close = { sets.cache } end
  return list
end

local _, cells, gate, dataset = causal.sweep(e, { make = interventions, treat = opt.treat, presses = { press },
  id = "positions 1", passages = opt.passages })

local names = { "original, n", "original, n_kept", "re-rotated, n", "re-rotated, n_kept" }
local rows, panels, verdicts = {}, {}, {}
for _, ratio in ipairs(opt.treat) do
  local function here(cell) return math.abs(cell.ratio - ratio) < 1e-9 end
  local levels = {}
  for i, name in ipairs(names) do
    levels[i] = { label = name, effect = causal.level(cells, causal.correct, name, { where = here }) }
  end
  panels[#panels + 1] = causal.forest(levels, { title = ("%g evicted: keys, question at"):format(ratio), min = 0,
    max = 1, y_label = "P(correct)" })
  local function contrast(label, x, z)
    local effect, why = causal.paired(cells, causal.correct, x, z, { where = here })
    rows[#rows + 1] = { label = ("%g: %s"):format(ratio, label), effect = effect, why = why }
    return effect, why
  end
  local main, why = contrast("closed ranks - holes", "re-rotated, n_kept", "original, n")
  contrast("question at n_kept - at n, original keys", "original, n_kept", "original, n")
  contrast("question at n_kept - at n, re-rotated keys", "re-rotated, n_kept", "re-rotated, n")
  contrast("re-rotated - original, question at n", "re-rotated, n", "original, n")
  verdicts[#verdicts + 1] = { ratio, main, why }
end
e:save(kv.plot.small_multiples { columns = 1, width = 6.8, height = 1.9 * #panels, panels = panels,
  title = "Holes or closed ranks",
  caption = ("%s %s Bars: 95 %% BCa, passages resampled."):format(e:setting(dataset, "press " .. press:label()),
    causal.describe(gate)) }, "positions")
e:table("positions", causal.columns, causal.rows(rows), "Paired differences in P(correct)")
for _, v in ipairs(verdicts) do
  local claim = ("at %g, closing ranks changes answers (re-rotated at n_kept - original at n)"):format(v[1])
  causal.two_sided(e, gate, claim, v[2], v[3])
end
e:finish()
