-- SPDX-License-Identifier: Apache-2.0
-- The pieces of causal experiments: paired contrasts, the gate, verdicts, dose-response, reading behind a context.
local t = require "kvbench.testing"
local agree = require "kvbench.causal.agree"
local append = require "kvbench.causal.append"
local budgets = require "kvbench.causal.budgets"
local causal = require "kvbench.causal"
local confirm = require "kvbench.causal.confirm"
local contrast = require "kvbench.causal.contrast"
local dose = require "kvbench.causal.dose"
local fake = require "kvbench.fake_context"
local heads = require "kvbench.causal.heads"
local keepset = require "kvbench.keep"
local kv = require "kvbench"
local paths = require "kvbench.paths"

local function row(passage, question, press, ratio, variant, class)
  return { passage_id = passage, question = question, press = press, ratio = ratio, variant = variant, class = class,
    answerable = true, regime = "agnostic" }
end

t.case("contrasts pair the same question, by hand", function()
  local rows = {}
  local function add(...) rows[#rows + 1] = row(...) end
  for p = 1, 4 do
    for q = 1, 2 do
      add("p" .. p, q, "full", 0, "", "correct")
      add("p" .. p, q, "ea", .5, "", "conflict")
      add("p" .. p, q, "ea", .5, "a", (p <= 2 or q == 1) and "correct" or "conflict") -- 6 of 8
      add("p" .. p, q, "ea", .5, "b", p == 1 and "correct" or "conflict") -- 2 of 8
    end
  end
  add("p9", 1, "ea", .5, "a", "correct") -- has no b
  local cells = contrast.cells(rows)
  t.eq(#cells, 9)
  local e = contrast.paired(cells, causal.correct, "a", "b")
  t.near(e.estimate, .5)
  t.near(e.a, .75)
  t.near(e.b, .25)
  t.eq({ e.n, e.clusters }, { 8, 4 })
  t.ok(e.lo < .5 and e.hi > .5 and e.lo >= 0 and e.hi <= 1)
  -- passage differences 0 2 1 1: signs of three matter, all alike in 2 of 8
  t.near(e.p, 2 / 8)
  local swapped = contrast.paired(cells, causal.correct, "b", "a")
  t.near(swapped.estimate, -.5)
  t.near(contrast.paired(cells, causal.correct, "full", "a").estimate, .25)
  local same = contrast.paired(cells, causal.correct, "full", "full")
  t.ok(same.estimate == 0 and same.lo < 0 and same.hi > 0, "what never differs is not known exactly")
  t.eq({ contrast.paired(cells, causal.correct, "a", "none") }, { nil, "no question has both conditions" })
  t.eq(select(2, contrast.paired({ cells[1] }, causal.correct, "a", "b")), "one passage gives no interval")
end)

-- 10 passages of 3 questions: `right` of ten are right at each ratio.
local function graded(right, closed)
  local rows = {}
  for p = 1, 10 do
    for q = 1, 3 do
      rows[#rows + 1] = row("p" .. p, q, "full", 0, "", "correct")
      rows[#rows + 1] = row("p" .. p, q, "full", 0, "closed book", p <= closed and "correct" or "conflict")
      for ratio, n in pairs(right) do
        rows[#rows + 1] = row("p" .. p, q, "ea", ratio, "", p <= n and "correct" or "conflict")
      end
    end
  end
  return { rows = rows, presses = { "ea" } }
end

t.case("the gate: a floor, a step without slope, and a cliff that can be seen", function()
  local function gate(...)
    local run = graded(...)
    return causal.gate(run, contrast.cells(run.rows))
  end
  local good = gate({ [.3] = 8, [.5] = 5, [.7] = 3, [.9] = 0 }, 0)
  t.ok(good.ok)
  t.eq(good.inside, { .3, .5, .7 })
  t.eq({ good.full, good.closed }, { 1, 0 })
  local floor = gate({ [.3] = 8, [.5] = 5, [.7] = 3 }, 6)
  t.ok(not floor.ok and floor.reason:find "^floor: full%-cache minus closed%-book accuracy is 0.40")
  local step = gate({ [.3] = 10, [.5] = 5, [.7] = 0 }, 0)
  t.ok(not step.ok and step.reason:find "1 ratios of ea lie between 10 and 90 %% of the range %[0.00, 1.00%]")
  t.ok(not causal.gate({ rows = {}, presses = { "ea" } }, {}).ok)
end)

t.case("verdicts", function()
  local said
  local e = { verdict = function(_, status, text) said = status .. ": " .. text end }
  local open = { ok = true }
  local function judge(lo, hi, gate, opt)
    local effect = lo and { estimate = (lo + hi) / 2, lo = lo, hi = hi }
    return causal.verdict(e, gate or open, "claim", effect, "no rows", opt)
  end
  t.eq(judge(.01, .2), "supported")
  t.eq(judge(-.01, .2), "cannot tell")
  t.eq(judge(-.2, .02), "not supported")
  t.eq(judge(-.2, -.01), "not supported")
  t.eq(judge(-.2, -.01, nil, { direction = -1 }), "supported")
  t.eq(judge(.01, .2, { ok = false, reason = "floor: x" }), "cannot tell")
  t.ok(said:find("floor: x", 1, true))
  t.eq(causal.verdict(e, open, "claim", { estimate = .1, lo = .05, hi = .2, clusters = 3 }), "cannot tell")
  t.ok(said:find("floor: 3 passages, 8 are wanted; as it is", 1, true))
  t.eq(causal.two_sided(e, open, "claim", { estimate = -.1, lo = -.2, hi = -.05 }), "supported")
  t.eq(causal.two_sided(e, open, "claim", { estimate = 0, lo = -.02, hi = .02 }), "not supported")
  t.eq(causal.two_sided(e, open, "claim", { estimate = 0, lo = -.04, hi = .02 }), "cannot tell")
  t.eq(judge(), "cannot tell")
  t.ok(said:find("no rows", 1, true))
end)

t.case("dose-response by hand", function()
  t.eq(dose.isotonic({ 1, 3, 2, 4 }, { 1, 1, 1, 1 }), { 1, 2.5, 2.5, 4 })
  t.eq(dose.isotonic({ 1, 3, 0 }, { 1, 1, 2 }), { 1, 1, 1 })
  t.near(dose.half({ 0, 10, 20 }, { 0, .2, 1 }), 10 + .3 / .8 * 10)
  t.eq(dose.half({ 0, 10 }, { .5, .5 }), nil)
  local list = {}
  for p = 1, 6 do
    for i, y in ipairs { 0, p <= 3 and 1 or 0, 1 } do list[#list + 1] = { "p" .. p, i, y } end
  end
  local k = dose.k50(dose.fold(list, 3), { 0, 4, 8 })
  t.near(k.estimate, 4)
  t.eq(k.mean, { 0, .5, 1 })
  t.ok(k.lo <= 4 and k.hi >= 4 and k.lo > 0 and k.hi <= 8)
  t.eq({ dose.k50({}, { 0, 1 }) }, { nil, "fewer than two passages" })
end)

t.case("budgets: one total, bounds held, proportional inside them", function()
  t.eq(budgets.proportional({ 1, 1, 2 }, 8, 100, 1), { 2, 2, 4 })
  t.eq(budgets.proportional({ 1, 1, 1 }, 8, 100, 1), { 3, 3, 2 }) -- what rounding leaves goes to earlier layers
  t.eq(budgets.proportional({ 1, 1, 1e6 }, 12, 10, 1), { 1, 1, 10 })
  t.eq(budgets.proportional({ 1, 3, 1e6 }, 18, 10, 1), { 2, 6, 10 })
  t.fails(function() budgets.proportional({ 1, 1 }, 30, 10, 1) end, "budgets: 30 tokens for 2 layers of 1 to 10")
  local r = kv.rng.new "budgets"
  for _ = 1, 50 do
    local w, n, sum = {}, r:int(20, 300), 0
    for l = 1, 30 do w[l] = math.exp(8 * r:uniform()) end
    local total = r:int(30, 30 * n)
    local b = budgets.proportional(w, total, n, 1)
    for l = 1, 30 do
      t.ok(b[l] >= 1 and b[l] <= n and b[l] == math.floor(b[l]))
      sum = sum + b[l]
    end
    t.eq(sum, total)
  end
end)

t.case("layer budgets and single layers as keep-sets", function()
  local ctx = fake.new { layers = 3, kv_heads = 2, heads = 2, tokens = 40, head_dim = 8, seed = "layers" }
  local keep = kv.press("knorm"):keep(ctx, .5, { ranks = true, evictable = { 4, 36 } })
  local shared = budgets.keep(keep, { 16, 10, 22 })
  t.eq({ shared:count(0, 1), shared:count(1, 0), shared:count(2, 1) }, { 24, 18, 30 })
  t.eq(shared:count(1, 0, 0, 4) + shared:count(1, 0, 36, 40), 8)
  t.eq(budgets.keep(keep, { 16, 16, 16 }):hash(), keep:hash())
  local one = budgets.only_in(keep, function(l) return l == 1 end)
  t.eq({ one:count(0, 0), one:count(1, 1), one:count(2, 0) }, { 40, 24, 40 })
end)

t.case("orders of heads", function()
  t.eq(heads.by_score { [0] = .1, .5, .3, .5 }, { 1, 3, 2, 0 })
  local matched = heads.matched({ 0, 1, 8 }, 3, 3, "x")
  table.sort(matched)
  t.eq(matched[1] == 0 or matched[1] == 1, true) -- layer 0 has one other head: one is repeated
  t.eq(matched[2], 2)
  t.ok(matched[3] == 6 or matched[3] == 7)
  local inside = heads.cells_of({ 5, 2 }, 1, 3)
  t.eq({ inside(1, 2), inside(0, 2) }, { true, false })
end)

t.case("agreement of heads, by hand", function()
  -- one layer, two heads, tokens 0 to 3; x leaves out token 0
  local a = kv.tensor.from { { { .5, .3, .1, .1 }, { .2, .1, .6, .1 } } }
  local x = { 1, 2, 3 }
  local function h(...)
    local sum = 0
    for _, p in ipairs { ... } do sum = sum - p * math.log(p) end
    return sum
  end
  local one, two = { .6, .2, .2 }, { .125, .75, .125 }
  local joint = h((.6 + .125) / 2, (.2 + .75) / 2, (.2 + .125) / 2)
  t.near(agree.disagreement(a, x), (joint - (h(unpack(one)) + h(unpack(two))) / 2) / math.log(2), 1e-6)
  t.eq(agree.votes(a, x), { [1] = 1, [2] = 1 })
  local same = kv.tensor.from { { { .5, .3, .1, .1 }, { .5, .3, .1, .1 } } }
  t.near(agree.disagreement(same, x), 0, 1e-6)
  local idle = kv.tensor.from { { { .97, .01, .01, .01 }, { .2, .1, .6, .1 } } }
  t.eq(agree.disagreement(idle, x), nil)
  -- token 1 is preferred by all of six heads, 2 by none, and 2 receives more of what is left than 3
  local heads_of = {}
  for i = 1, 6 do heads_of[i] = { .1, .4, .3, .2 } end
  local first, second = agree.pair(kv.tensor.from { heads_of }, x, {})
  t.eq({ first.token, first.votes, second.token, second.votes }, { 1, 6, 2, 0 })
  t.near(second.mass, .3, 1e-6)
  t.eq(agree.pair(kv.tensor.from { heads_of }, x, { [1] = true }), nil) -- nobody votes for the others
  local keep = keepset.all(1, 2, 4):set(0, 1, 2, 3, false)
  local view, w = kv.metric.eviction.view(keep), require("kvbench.causal.heads").weight({ [0] = 3, 1 }, 2)
  t.near(kv.metric.route.weighted_ger(view, { 2 }, w), .25)
  t.near(kv.metric.route.weighted_ger(view, { 1, 2 }, w), .125)
end)

t.case("confirmatory hypotheses: tables are read, Holm holds over all, what is missing is told", function()
  local rows = confirm.read_table("condition,estimate,lo,hi,p,n,passages,note\n"
    .. '"a, ""b"":  x",0.2,0.1,0.3,0.001,60,10,\n'
    .. "c,0.01,-0.01,0.03,0.4,60,10,\nd,-0.2,-0.3,-0.1,0.001,60,10,\ne,2,1,3,,,10,\nf,,,,,,,no question has both\n")
  t.eq(rows['a, "b":  x'].estimate, .2)
  local result = { rows = rows }
  local function h(row, test, margin)
    return { id = row .. test, experiment = "x", row = row, claim = "claim", test = test, margin = margin }
  end
  local judged = {}
  local list = { h('a, "b":  x', "greater"), h("c", "greater"), h("d", "greater"), h("e", "greater"),
    h("c", "below", .05), h("f", "greater"), h("g", "different") }
  for i, one in ipairs(confirm.check(list)) do judged[i] = confirm.one(one, result) end
  t.eq(judged[1].p, .0005)
  t.eq(judged[2].p, .2)
  t.near(judged[3].p, .9995)
  t.near(judged[4].p, 4.43e-5, 1e-6) -- z = 3.92
  t.near(judged[5].p, 4.43e-5, 1e-6) -- (.05 - .01) / (.02 / 1.96) = 3.92
  t.eq({ judged[6].p, judged[7].p }, { 1, 1 })
  confirm.holm(judged)
  local status = {}
  for i, j in ipairs(judged) do status[i] = j.status end
  t.eq(status, { "supported", "not supported", "not supported", "supported", "supported", "cannot tell",
    "cannot tell" })
  t.near(judged[1].p_holm, 5 * .0005)
  t.ok(confirm.line(judged[6]):find("no question has both", 1, true))
  t.eq(confirm.one(list[1], { rows = rows, gate = "floor: x" }).note, "floor: x")
  t.eq(confirm.gate_of { verdicts = { { status = "cannot tell", text = "claim: floor: low; as it is: 0.1" } } },
    "floor: low")
  t.eq(#confirm.check(dofile(paths.at "experiments/confirmatory.lua")) <= 12, true)
  t.fails(function() confirm.check {} end, "empty")
  t.fails(function() confirm.check { h("c", "less") } end, "greater, different or below")
end)

-- ---- reading behind a context, on a tiny stored model ----

local model = kv.model.load(paths.at "tests/golden/models/llama", { dtype = "f32" })

local function ids_of(n, seed)
  local r, list = kv.rng.new(seed), {}
  for i = 1, n do list[i] = r:int(3, model.vocab - 1) end
  return list
end

local function close(a, b, tolerance)
  t.ok((a - b):abs():max() <= tolerance, ("off by %g"):format((a - b):abs():max()))
end

t.case("rows read behind a context are those of one prefill", function()
  local ids = ids_of(40, "rows")
  local whole = model:prefill(ids, { queries = true })
  local first, rest = { unpack(ids, 1, 25) }, { unpack(ids, 26) }
  local ctx = model:prefill(first)
  local own = append.rows(ctx, rest)
  close(own.keys, whole.keys:narrow(3, 26, 15), 1e-4)
  close(own.values, whole.values:narrow(3, 26, 15), 1e-4)
  close(own.queries, whole.queries:narrow(3, 26, 15), 1e-4)
  local dropped = append.rows(ctx, rest, keepset.all(model.layers, model.kv_heads, 25):set(nil, nil, 3, 9, false))
  t.ok((dropped.keys - own.keys):abs():max() > 1e-3)
end)

t.case("attention to the context: by hand from queries and keys", function()
  local ids = ids_of(30, "attention")
  local whole = model:prefill(ids, { queries = true })
  local ctx = model:prefill { unpack(ids, 1, 24) }
  local got = append.attention(ctx, { unpack(ids, 25) }, 2)
  t.eq({ got:size(1), got:size(2), got:size(3) }, { model.layers, model.kv_heads, 24 })
  local group, d = model.heads / model.kv_heads, model.head_dim
  local cos, sin = ctx:rope(0, 30)
  local q, keys, got_at = whole.queries:rope(cos, sin):tolua(), whole.keys:tolua(), got:tolua()
  local l, h = model.layers, 1
  local want = {}
  for k = 1, 24 do want[k] = 0 end
  for g = 1, group do
    for i = 29, 30 do
      local logits, sum = {}, 0
      for j = 1, i do
        local dot = 0
        for x = 1, d do
          dot = dot + q[l][(h - 1) * group + g][i][x] * keys[l][h][j][x]
        end
        logits[j] = math.exp(dot / math.sqrt(d))
        sum = sum + logits[j]
      end
      for j = 1, 24 do want[j] = want[j] + logits[j] / sum / (2 * group) end
    end
  end
  for j = 1, 24 do t.near(got_at[l][h][j], want[j], 1e-4) end
  local received, total = append.received(ctx, { unpack(ids, 25) }), 0
  for j = 0, 23 do total = total + received[j] end
  t.ok(total > 0 and total < 1)
end)

t.case("an unseen span leaves no trace: other tokens there change nothing behind it", function()
  local ids = ids_of(40, "unseen")
  local spans = { { 5, 9 }, { 20, 22 } }
  local other = { unpack(ids) }
  for _, span in ipairs(spans) do
    for i = span[1] + 1, span[2] do other[i] = 3 + (other[i] + 17) % (model.vocab - 3) end
  end
  local a, b = model:prefill(ids), model:prefill(other)
  local ua, ub = append.unseen(a, spans), append.unseen(b, spans)
  close(ua.keys:narrow(3, 10, 11), ub.keys:narrow(3, 10, 11), 1e-5)
  close(ua.values:narrow(3, 23, 18), ub.values:narrow(3, 23, 18), 1e-5)
  t.ok((a.values:narrow(3, 23, 18) - b.values:narrow(3, 23, 18)):abs():max() > 1e-3) -- seen, they leave one
  close(ua.keys:narrow(3, 1, 5), a.keys:narrow(3, 1, 5), 0) -- before it nothing changed
  close(append.unseen(a, {}).values, a.values, 0)
  close(append.unseen(a, { { 35, 40 } }).values, a.values, 0) -- nobody comes after it
end)
