-- SPDX-License-Identifier: Apache-2.0
-- Do the heads of a layer look at the same token, and does compression drive them together?
--                                                                     (arXiv:2603.01426, figures 16-18 and 33-35)
-- Consensus(l), the paper's: unique top-attended tokens over heads, while the answer is written: the last question row
-- and the first answer rows, as observed in each run (mean over --steps of them). Raw, it is decided by sinks and falls
-- by counting alone once few tokens are left, so beside it stand C* (without sinks, chance-corrected), the agreement
-- rho, the diversity D_l. The null: the full cache's last question row with as many tokens evicted from each head at
-- random; what compares with it is that row over the press's keys ("full-cache queries"), in which nothing else
-- differs. Drawn over layers, over the evicted share and over log2 of the tokens that are left. Claims judged: heads
-- diversify late; compression raises agreement beyond the null.
local kv = require "kvbench"
local attention = require "kvbench.metric.attention"
local contexts = require "kvbench.experiment.contexts"
local question_rows = require "kvbench.question_rows"
local e = kv.experiment { name = "consensus", title = "Consensus of heads", paper = "figures 16-18, 33-35",
  options = { task = "base", passages = 6, questions = 2, presses = { "adakv", "chunk" }, ratios = "0.1,0.5,0.9",
    regime = "agnostic", steps = 3 }, docs = { questions = "per passage", steps = "rows of an answer, the last "
      .. "question row first" } }
local opt = e.opt
local dataset = e:dataset(opt.task, opt.passages > 0 and opt.passages or 6)

local rows = {}
local MEASURES = { "consensus", "c_star", "rho", "diversity", "idle", "mass" }

-- One row per layer: the measures of row(l, step) -> float pointer [heads], averaged over steps.
local function measure(c, q, keep, base, steps, stride, row)
  local counts = keep and keep:layer_counts()
  for l = 0, q.rows.layers - 1 do
    local x, kept = {}, 0
    for _, t in ipairs(c.index.x) do
      if not q.sinks[l][t] then
        x[#x + 1] = t
        if not counts or counts[l * c.ctx.tokens + t] > 0 then kept = kept + 1 end
      end
    end
    local sums, out = {}, { passage_id = c.record.id, question = q.index, layer = l, left = kept }
    for step = 0, steps - 1 do
      local a = row(l, step)
      local m = attention.agreement(a, q.rows.heads, x, stride, kept)
      m.consensus, m.idle = attention.consensus(a, q.rows.heads, q.rows.context, stride), m.idle / q.rows.heads
      for _, name in ipairs(MEASURES) do
        if m[name] then
          sums[name] = sums[name] or { 0, 0 }
          sums[name][1], sums[name][2] = sums[name][1] + m[name], sums[name][2] + 1
        end
      end
    end
    for name, s in pairs(sums) do out[name] = s[1] / s[2] end
    for name, value in pairs(base) do out[name] = value end
    rows[#rows + 1] = out
  end
end

-- Presses that keep the same tokens in all heads of a layer, as StreamingLLM and TOVA do: what they do to agreement is
-- how they are built. Told by their keep-sets.
local one_set = {}
local function note_sets(label, keep)
  local counts, same = keep:layer_counts(), one_set[label] ~= false
  for i = 0, same and keep.layers * keep.tokens - 1 or -1 do
    same = same and (counts[i] == 0 or counts[i] == keep.kv_heads)
  end
  one_set[label] = same
end
local function shown(label) return e.shown(label) .. (one_set[label] and " (one set)" or "") end

contexts.each(e, { dataset = dataset, presses = opt.presses, regime = opt.regime }, function(c)
  for _, asked in ipairs(contexts.questions(c, opt.questions)) do
    local q = { index = asked.index, rows = question_rows.of(c.ctx, c.prompt.suffix(asked.question)), sinks = {} }
    local stride = q.rows.rows * q.rows.keys
    local function last(l, keep) return q.rows:weights(l, keep) + (q.rows.rows - 1) * q.rows.keys end
    for l = 0, q.rows.layers - 1 do q.sinks[l] = attention.sinks(last(l), q.rows.heads, q.rows.context, stride) end
    local keeps, conditions = { false }, { { press = "full", ratio = 0 } }
    for _, press in ipairs(c.presses) do
      for _, ratio in ipairs(opt.ratios) do
        keeps[#keeps + 1] = c.keep(press, ratio)
        note_sets(press:label(), keeps[#keeps])
        conditions[#conditions + 1] = { press = press:label(), ratio = ratio, random = c.random(press, ratio) }
      end
    end
    local observed = contexts.observed(c, asked.question, keeps, opt.steps)
    for i, condition in ipairs(conditions) do
      local keep, seen = keeps[i] or nil, observed[i]
      local function base(kind) return { press = condition.press, ratio = condition.ratio, kind = kind } end
      measure(c, q, keep, base "observed", seen.steps, seen.width, seen.layer)
      if keep then
        measure(c, q, keep, base "frozen", 1, stride, function(l) return last(l, keep) end)
        measure(c, q, condition.random, base "null", 1, stride, function(l) return last(l, condition.random) end)
      end
    end
    q.rows:close()
  end
end)
if #rows == 0 then
  e:cannot("consensus", "no question of this task is answerable and has provenance")
end

local labels = {}
for i, press in ipairs(e:presses()) do labels[i] = press:label() end
local layers = e:model().layers
local function pick(press, ratio, kind)
  local out = {}
  for _, row in ipairs(rows) do
    if row.press == press and (not ratio or row.ratio == ratio) and row.kind == kind then out[#out + 1] = row end
  end
  return out
end
local measures = { { "consensus", "Consensus (raw)" }, { "c_star", "C*" }, { "rho", "agreement rho" },
  { "diversity", "diversity D" } }
local caption = e:setting(dataset) .. (" %d questions a passage; attention of %d rows of each answer as they ran; "
  .. "null and full-cache queries: last question row. "):format(opt.questions, opt.steps) .. e.bands
for _, label in ipairs(labels) do
  if one_set[label] then
    caption = caption .. (" %s: one set for all heads of a layer by construction."):format(shown(label))
  end
end

local full = {}
for _, m in ipairs(measures) do
  full[#full + 1] = e.panel({ { rows = pick("full", 0, "observed"), label = "full cache" } }, { title = m[2],
    x = "layer", step = 1, x_label = "layer", x_max = layers - 1, y = m[1], y_label = m[2], min = 0, max = 1,
    indicator = false })
end
e:save(kv.plot.small_multiples { columns = 2, panels = full, title = "Heads of the full cache over depth",
  share_y = false, caption = caption }, "depth")
for _, m in ipairs(measures) do
  local panels = {}
  for _, label in ipairs(labels) do
    for _, ratio in ipairs(opt.ratios) do
      panels[#panels + 1] = e.panel({ { rows = pick(label, ratio, "observed"), label = "press" },
        { rows = pick("full", 0, "observed"), label = "full cache" },
        { rows = pick(label, ratio, "frozen"), label = "press, full-cache queries" },
        { rows = pick(label, ratio, "null"), label = "null: random, as many per head", style = "reference" } },
        { title = ("%s, %g"):format(shown(label), ratio), x = "layer", step = 1, x_label = "layer",
          x_max = layers - 1,
          y = m[1], y_label = m[2], min = 0, max = 1, indicator = false })
    end
  end
  e:save(kv.plot.small_multiples { columns = math.min(3, #opt.ratios), panels = panels,
    title = m[2] .. " under compression", caption = caption }, m[1])
end

-- ---- over ratios: means over layers, one row a question ----

local function over_layers(label, kind)
  local list, by = {}, {}
  for _, row in ipairs(pick(label, nil, kind)) do
    local key = row.passage_id .. "|" .. row.question .. "|" .. row.ratio
    local sum = by[key]
    if not sum then
      sum = { passage_id = row.passage_id, ratio = row.ratio, n = {}, left = 0, layers = 0 }
      by[key], list[#list + 1] = sum, sum
    end
    sum.left, sum.layers = sum.left + row.left, sum.layers + 1
    for _, m in ipairs(measures) do
      if row[m[1]] then sum[m[1]], sum.n[m[1]] = (sum[m[1]] or 0) + row[m[1]], (sum.n[m[1]] or 0) + 1 end
    end
  end
  local mean_left, n = {}, {}
  for _, row in ipairs(list) do
    for name, count in pairs(row.n) do row[name] = row[name] / count end
    mean_left[row.ratio] = (mean_left[row.ratio] or 0) + row.left / row.layers
    n[row.ratio] = (n[row.ratio] or 0) + 1
  end
  for _, row in ipairs(list) do -- one x for all passages at a ratio: their mean
    row.log_left = math.log(math.max(1, mean_left[row.ratio] / n[row.ratio])) / math.log(2)
  end
  return list
end
local least, most = math.huge, 1
for _, label in ipairs { "full", unpack(labels) } do
  for _, row in ipairs(over_layers(label, "observed")) do
    least, most = math.min(least, math.floor(row.log_left)), math.max(most, math.ceil(row.log_left))
  end
end
for _, x in ipairs { { "ratio", "evicted share", 0, 1 }, { "log_left", "log2 of tokens left in a layer",
  math.min(least, most - 1), most } } do
  local panels = {}
  for _, m in ipairs(measures) do
    local lines = {}
    for _, label in ipairs(labels) do
      lines[#lines + 1] = { rows = over_layers(label, "observed"), label = shown(label) }
      lines[#lines + 1] = { rows = over_layers(label, "null"), label = shown(label) .. ", null", style = "reference" }
    end
    lines[#lines + 1] = { rows = over_layers("full", "observed"), label = "full cache" }
    panels[#panels + 1] = e.panel(lines, { title = m[2], x = x[1], x_label = x[2], x_min = x[3], x_max = x[4], y = m[1],
      y_label = m[2], min = 0, max = 1, indicator = false })
  end
  e:save(kv.plot.small_multiples { columns = 2, panels = panels, share_y = false, caption = caption
    .. " Means over layers; left: kept by some head, without sinks.",
    title = "Heads under compression, by " .. (x[1] == "ratio" and "evicted share" or "what is left") },
    "over_" .. (x[1] == "ratio" and "ratio" or "kept"))
end

-- ---- early and late thirds; press minus null ----

local function mean_of(list, y, from, to)
  local by, out = {}, {}
  for _, row in ipairs(list) do
    if row.layer >= from and row.layer < to and row[y] then
      local p = by[row.passage_id]
      if not p then
        p = { passage_id = row.passage_id, sum = 0, n = 0 }
        by[row.passage_id], out[#out + 1] = p, p
      end
      p.sum, p.n = p.sum + row[y], p.n + 1
    end
  end
  for _, p in ipairs(out) do p.y = p.sum / p.n end
  return out, by
end
local function difference(a, b)
  local _, other = nil, {}
  for _, p in ipairs(b) do other[p.passage_id] = p.y end
  local list = {}
  for _, p in ipairs(a) do
    if other[p.passage_id] then list[#list + 1] = { passage_id = p.passage_id, y = p.y - other[p.passage_id] } end
  end
  return #list > 0 and kv.stats.mean(list, { y = "y", indicator = false }) or nil
end
local third, table_rows = math.max(1, math.floor(layers / 3)), {}
for _, m in ipairs(measures) do
  local list = pick("full", 0, "observed")
  local late, early = mean_of(list, m[1], layers - third, layers), mean_of(list, m[1], 0, third)
  local d = difference(late, early)
  if d then
    table_rows[#table_rows + 1] = { measure = m[2], what = "last third - first third, full cache", difference = d.mean,
      lo = d.lo, hi = d.hi, passages = d.clusters }
    if m[1] == "c_star" then e:verdict("exploratory", "C* of the last third of layers minus the first", d) end
  end
  for _, label in ipairs(labels) do
    for _, ratio in ipairs(opt.ratios) do
      local p = difference(mean_of(pick(label, ratio, "frozen"), m[1], 0, layers),
        mean_of(pick(label, ratio, "null"), m[1], 0, layers))
      local q = difference(mean_of(pick(label, ratio, "observed"), m[1], 0, layers),
        mean_of(pick("full", 0, "observed"), m[1], 0, layers))
      if q then
        table_rows[#table_rows + 1] = { measure = m[2], what = ("%s - full cache at %g, as observed"):format(
          shown(label), ratio), difference = q.mean, lo = q.lo, hi = q.hi, passages = q.clusters }
      end
      if p then
        table_rows[#table_rows + 1] = { measure = m[2],
          what = ("%s - null at %g, full-cache queries"):format(shown(label), ratio),
          difference = p.mean, lo = p.lo, hi = p.hi, passages = p.clusters }
        if m[1] == "c_star" and ratio == opt.ratios[#opt.ratios] then
          local clear = p.clusters >= 5 and p.lo and (p.hi < 0 and "supported" or "not supported")
          e:verdict(clear or "cannot tell", ((clear and ""
            or "under 5 passages: ") .."%s at %g brings heads together beyond the null (C* minus "
            .. "its null below 0)"):format(shown(label), ratio), p)
        end
      end
    end
  end
end
if #e.verdicts == 0 then
  e:verdict("cannot tell", "no layer has two active heads and two tokens to agree on")
end
e:table("differences", { "measure", "what", "difference", "lo", "hi", "passages" }, table_rows,
  "Means over layers, paired by passage; 95 % BCa intervals")
e:finish()
