-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep{variants =}: conditions made by hand beside those of the presses, on a tiny stored model with a made-up
-- tokenizer (its answers mean nothing).
local t = require "kvbench.testing"
local kv = require "kvbench"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local evidence = require "kvbench.metric.evidence"

local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
local model, data = tiny.model(), tiny.data(2, 3)
local records = data.records

local function sweep(more)
  local o = { model = model, dataset = data, presses = { "knorm" }, ratios = { 0, .6 }, max_new_tokens = 3,
    quiet = true }
  for name, value in pairs(more or {}) do o[name] = value end
  return kv.sweep(o)
end

local function same(a, b)
  for name, value in pairs(a) do
    if name ~= "key" and name ~= "variant" and name ~= "span" then t.eq(b[name], value, name) end
  end
end

local plain = tiny.by_key(sweep())
local seen = {}
local function forced(v)
  local e = evidence.of(v.index, v.question)
  seen[#seen + 1] = { v.record.id, v.q, v.press, v.ratio, v.keep:total(), v.question.q, v.index.record == v.record }
  if v.press == "full" then return nil end
  return { { name = "as it is", keep = v.keep }, { name = "forced", keep = v.keep:force(e.answer, { partial = true }),
    columns = { span = #e.answer } } }
end

t.case("variants run beside the plain conditions, which they do not change", function()
  local run = sweep { variants = forced }
  local rows = tiny.by_key(run)
  t.eq(#run.rows, 2 * 3 * (2 + 2))
  t.eq(#seen, 2 * 3 * 2)
  for _, s in ipairs(seen) do t.ok(s[7] and (s[4] == 0) == (s[3] == "full")) end
  for key, row in pairs(plain) do
    same(row, rows[key])
    t.eq(rows[key].variant, "")
    if row.ratio > 0 then
      same(row, rows[key .. "|as it is"])
      local f = rows[key .. "|forced"]
      t.eq(f.variant, "forced")
      t.ok(f.span >= 1)
      t.eq(f.effective_ratio, row.effective_ratio) -- the budget
      t.eq(f.ger_model, 0)
    end
  end
  local moved = 0
  for _, row in pairs(rows) do if row.variant == "forced" and row.ger_frac < 1 then moved = moved + 1 end end
  t.ok(moved > 0)
end)

t.case("a forced row is what that keep-set gives when it is run alone", function()
  local rows = tiny.by_key(sweep { variants = forced })
  local record = records[1]
  local prompt = kv.prompt.render("fewshot", record, { idk_example = true, model = model })
  local ctx = model:prefill(prompt.context)
  local index = evidence.index(record, ctx.spans, { base = prompt.passage_span[1] })
  local keep = kv.press("knorm"):keep(ctx, .6, { evictable = index.passage, ranks = true })
  keep = keep:force(evidence.of(index, record.questions[2]).answer, { partial = true })
  local batch = model:batch { stop_ids = { 10, unpack(model.stop_ids) } }
  batch:add { ctx = ctx, ids = model:ids(prompt.suffix(record.questions[2])), keep = keep, max_new_tokens = 3 }
  local result, margin = batch:run()[1], math.huge
  batch:close()
  for _, m in ipairs(result.margins) do margin = math.min(margin, m) end
  t.eq(rows[record.id .. "|2|knorm|0.6|agnostic|forced"].margin, margin)
end)

t.case("curves are of the plain rows, or of one variant", function()
  local run = sweep { variants = forced }
  local function n(variant) return #run:press_rows("knorm", variant) end
  t.eq({ n(), n "", n "forced", n "none" }, { 12, 12, 6, 0 })
  local a, b = run:curves "ger_frac", run:curves("ger_frac", { variant = "forced" })
  t.eq({ #a[1].x, #b[1].x }, { 2, 1 })
  t.ok(b[1].y[1] < a[1].y[2])
end)

t.case("instead of the plain conditions, or nothing at all", function()
  local run = sweep { variants = function(v)
    return { replace = true, v.q == 1 and v.ratio > 0 and { name = "only", keep = v.keep } or nil }
  end }
  t.eq(#run.rows, 2)
  t.eq({ run.rows[1].variant, run.rows[2].variant }, { "only", "only" })
  t.eq(#sweep({ variants = function() return { replace = true } end }).rows, 0)
end)

t.case("a run with variants goes on, and is not mixed with another's", function()
  local out = os.tmpname()
  os.remove(out)
  local function read(name)
    local file = assert(io.open(out .. name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end
  sweep { variants = forced, out = out }
  local csv, calls = read "/rows.csv", #seen
  t.ok(csv:match "^[^\n]*,variant,")
  sweep { variants = forced, out = out }
  t.eq(#seen, calls) -- nothing was left to run
  t.ok(read "/rows.csv" == csv)
  t.ok(json.decode(read "/run.json").variants)
  t.fails(function() sweep { out = out } end, "holds another run: variants was ")
  t.fails(function() sweep { out = out, variants = { make = forced, id = "other" } } end, "holds another run: variants")
  for _, name in ipairs { "rows.jsonl", "rows.csv", "run.json" } do os.remove(out .. "/" .. name) end
  os.remove(out)
end)

t.case("another position, and another cache", function()
  local function at(run, variant) return tiny.by_key(run)[records[1].id .. "|1|knorm|0.6|agnostic|" .. variant] end
  local run = sweep { variants = function(v)
    if v.ratio == 0 then return end
    local moved, negated = v.keep:copy(), v.keep:copy()
    moved.position = 200 -- beyond the end
    negated.cache = v.ctx:variant { values = -v.ctx.values }
    return { { name = "same", keep = v.keep }, { name = "moved", keep = moved },
      { name = "negated", keep = negated, close = { negated.cache } } }
  end }
  t.eq(#run.rows, 6 * (2 + 3))
  local same_row, moved, negated = at(run, "same"), at(run, "moved"), at(run, "negated")
  t.ok(moved.margin ~= same_row.margin and negated.margin ~= same_row.margin and moved.margin ~= negated.margin)
end)

t.case("variants that are wrong are named", function()
  local function fails(list, pattern)
    t.fails(function() sweep { variants = function() return list end } end, pattern)
  end
  fails({ { keep = nil } }, "a variant of full at 0 for question 1 of 'knowledge%-.*has no name")
  fails({ { name = "a" }, { name = "a" } }, "two are called 'a'")
  fails({ { name = "a", keep = true } }, "keep of 'a' is a boolean, expected a KeepSet")
  t.fails(function() sweep { variants = 3 } end, "variants is a number %-> a function")
end)
