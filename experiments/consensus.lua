-- SPDX-License-Identifier: Apache-2.0
-- Do the heads of a layer look at the same token, and does compression drive them together?
--                                                                     (arXiv:2603.01426, figures 16-18 and 33-35)
-- Consensus(l), the paper's: unique top-attended tokens over heads, of the last question row. Raw, it is decided by
-- sinks and falls by counting alone once few tokens are left, so beside it stand C* (without sinks, chance-corrected),
-- the agreement rho, the diversity D_l, and for each of them the null: the same rows with as many tokens evicted from
-- each head at random. Queries are the full cache's, keys those that the press left. Claims judged: LLaMA stabilises
-- early and diversifies late; compression raises agreement beyond the null.
local kv = require "kvbench"
local attention = require "kvbench.metric.attention"
local contexts = require "kvbench.experiment.contexts"
local question_rows = require "kvbench.question_rows"
local e = kv.experiment { name = "consensus", title = "Consensus of heads", paper = "figures 16-18, 33-35",
  options = { task = "base", passages = 6, questions = 2, presses = { "adakv", "chunk" }, ratios = "0.1,0.5,0.9",
    regime = "agnostic" }, docs = { questions = "per passage" } }
local opt = e.opt
local dataset = e:dataset(opt.task, opt.passages > 0 and opt.passages or 6)

local rows = {}
local function measure(c, q, keep, base)
  local r, own = q.rows, {}
  for l = 0, r.layers - 1 do
    local all = r:weights(l, keep)
    local a, stride = all + (r.rows - 1) * r.keys, r.rows * r.keys
    local sinks, x, kept = q.sinks[l], {}, 0
    local counts = keep and q.counts[keep]
    for _, t in ipairs(c.index.x) do
      if not sinks[t] then
        x[#x + 1] = t
        if not counts or counts[l * c.ctx.tokens + t] > 0 then kept = kept + 1 end
      end
    end
    local m = attention.agreement(a, r.heads, x, stride, kept)
    local row = { passage_id = c.record.id, question = q.index, layer = l, consensus = attention.consensus(a, r.heads,
      r.context, stride), c_star = m.c_star, rho = m.rho, diversity = m.diversity, idle = m.idle / r.heads,
      mass = m.mass, sinks = 0 }
    for _ in pairs(sinks) do row.sinks = row.sinks + 1 end
    for name, value in pairs(base) do row[name] = value end
    own[#own + 1], rows[#rows + 1] = row, row
  end
  return own
end

contexts.each(e, { dataset = dataset, presses = opt.presses, regime = opt.regime }, function(c)
  for _, asked in ipairs(contexts.questions(c, opt.questions)) do
    local q = { index = asked.index, rows = question_rows.of(c.ctx, c.prompt.suffix(asked.question)), sinks = {},
      counts = {} }
    for l = 0, q.rows.layers - 1 do
      local all = q.rows:weights(l)
      local a = all + (q.rows.rows - 1) * q.rows.keys
      q.sinks[l] = attention.sinks(a, q.rows.heads, q.rows.context, q.rows.rows * q.rows.keys)
    end
    measure(c, q, nil, { press = "full", ratio = 0, null = false })
    for _, press in ipairs(c.presses) do
      for _, ratio in ipairs(opt.ratios) do
        for _, null in ipairs { false, true } do
          local keep = null and c.random(press, ratio) or c.keep(press, ratio)
          q.counts[keep] = keep:layer_counts()
          measure(c, q, keep, { press = press:label(), ratio = ratio, null = null })
        end
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
local function pick(press, ratio, null)
  local out = {}
  for _, row in ipairs(rows) do
    if row.press == press and row.ratio == ratio and row.null == null then out[#out + 1] = row end
  end
  return out
end
local measures = { { "consensus", "Consensus (raw)" }, { "c_star", "C*" }, { "rho", "agreement rho" },
  { "diversity", "diversity D" } }
local caption = e:setting(dataset) .. (" %d questions a passage, last question row, full-cache queries. "):format(
  opt.questions) .. e.bands

local full = {}
for _, m in ipairs(measures) do
  full[#full + 1] = e.panel({ { rows = pick("full", 0, false), label = "full cache" } }, { title = m[2], x = "layer",
    step = 1,
    x_label = "layer", x_max = layers - 1, y = m[1], y_label = m[2], min = 0, max = 1, indicator = false })
end
e:save(kv.plot.small_multiples { columns = 2, panels = full, title = "Heads of the full cache over depth",
  share_y = false,
  caption = caption }, "depth")
for _, m in ipairs(measures) do
  local panels = {}
  for _, label in ipairs(labels) do
    for _, ratio in ipairs(opt.ratios) do
      panels[#panels + 1] = e.panel({ { rows = pick(label, ratio, false), label = "press" },
        { rows = pick("full", 0, false), label = "full cache" },
        { rows = pick(label, ratio, true), label = "null: random, as many per head", style = "reference" } },
        { title = ("%s, %g"):format(e.shown(label), ratio), x = "layer", step = 1, x_label = "layer",
          x_max = layers - 1,
          y = m[1], y_label = m[2], min = 0, max = 1, indicator = false })
    end
  end
  e:save(kv.plot.small_multiples { columns = math.min(3, #opt.ratios), panels = panels,
    title = m[2] .. " under compression", caption = caption }, m[1])
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
  local list = pick("full", 0, false)
  local late, early = mean_of(list, m[1], layers - third, layers), mean_of(list, m[1], 0, third)
  local d = difference(late, early)
  if d then
    table_rows[#table_rows + 1] = { measure = m[2], what = "last third - first third, full cache", difference = d.mean,
      lo = d.lo, hi = d.hi, passages = d.clusters }
    if m[1] == "c_star" then e:verdict("exploratory", "C* of the last third of layers minus the first", d) end
  end
  for _, label in ipairs(labels) do
    for _, ratio in ipairs(opt.ratios) do
      local p = difference(mean_of(pick(label, ratio, false), m[1], 0, layers),
        mean_of(pick(label, ratio, true), m[1], 0, layers))
      if p then
        table_rows[#table_rows + 1] = { measure = m[2], what = ("%s - null at %g"):format(e.shown(label), ratio),
          difference = p.mean, lo = p.lo, hi = p.hi, passages = p.clusters }
        if m[1] == "c_star" and ratio == opt.ratios[#opt.ratios] then
          local clear = p.clusters >= 5 and p.lo and (p.hi < 0 and "supported" or "not supported")
          e:verdict(clear or "cannot tell", ((clear and ""
            or "under 5 passages: ") .."%s at %g brings heads together beyond the null (C* minus "
            .. "its null below 0)"):format(e.shown(label), ratio), p)
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
