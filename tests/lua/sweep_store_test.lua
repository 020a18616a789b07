-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep and its store, on a tiny stored model with a made-up tokenizer: resuming inside a passage, the eviction
-- ledger,
-- folders that are in use or may only be read.
local t = require "kvbench.testing"
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local tiny = dofile((debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "tests/lua") .. "/tiny_sweep.lua")

local model, data = tiny.model(), tiny.data(3, 4)

local function sweep(more)
  local o = { model = model, dataset = data, presses = { "knorm", { press = "snapkv", window_size = 16 } },
    ratios = { 0, .5, .9 }, max_new_tokens = 3, quiet = true }
  for name, value in pairs(more or {}) do o[name] = value end
  return kv.sweep(o)
end

local new_folder, root = tiny.folders()
local read = tiny.read

-- Calls fn with a batch whose `name` is watched; returns how often it was called.
local function counting(name, watch, fn)
  local calls = 0
  local ok, err = pcall(tiny.watching, model, name, function()
    calls = calls + 1
    if watch then watch(calls) end
  end, fn)
  return calls, ok, err
end

local first = new_folder()
local all_adds = counting("add", nil, function() sweep { out = first } end)
local expected = { csv = read(first .. "/rows.csv"), jsonl = read(first .. "/rows.jsonl") }
local total = #kv.runs.open(first).rows

t.case("an interrupted passage asks only what is missing, and the bytes are the same", function()
  local partial = 0
  for stop_at = 1, 12 do
    local out = new_folder()
    local _, ok = counting("step", function(step)
      if step == stop_at then C.kvb_cancel() end
    end, function() sweep { out = out, group = 1 } end)
    if not ok then
      local stored, units = 0, 0
      kv.runs.with(out, function(db)
        stored = db:row "SELECT COUNT(*) FROM answers"
        units = db:row "SELECT COALESCE(SUM(answers), 0) FROM units"
      end)
      if stored > units then partial = partial + 1 end
      local adds = counting("add", nil, function() sweep { out = out, group = 2 } end)
      t.ok(adds <= total - stored, ("%d asked, %d of %d were there"):format(adds, stored, total))
      t.ok(stored == 0 or adds < all_adds)
    end
    t.ok(read(out .. "/rows.csv") == expected.csv, "rows.csv differs after step " .. stop_at)
    t.ok(read(out .. "/rows.jsonl") == expected.jsonl, "rows.jsonl differs after step " .. stop_at)
  end
  -- a GPU's step takes a whole passage of this size
  if not model.device:find "^cuda" then t.ok(partial >= 2, "no run was interrupted inside a passage: " .. partial) end
end)

t.case("a press that is done is not scored again", function()
  local out = new_folder()
  sweep { out = out }
  kv.runs.with(out, function(db)
    db:run "DELETE FROM answers WHERE passage = 2 AND condition IN (SELECT id FROM conditions WHERE press = 'knorm')"
    db:run "UPDATE units SET state = 'open' WHERE passage = 2 AND block = 'knorm'"
  end, "write")
  local adds = counting("add", nil, function() sweep { out = out } end)
  t.eq(adds, 2 * #data.records[2].questions) -- two ratios of one press
  t.ok(read(out .. "/rows.csv") == expected.csv)
end)

t.case("a run with a folder and one in memory give the same rows", function()
  local a, b = sweep().rows, kv.runs.open(first).rows
  t.eq(#a, #b)
  for i, row in ipairs(a) do t.eq(b[i], row) end
end)

t.case("every column that follows from a keep-set follows from the ledger", function()
  local out = new_folder()
  sweep { out = out, regimes = { "agnostic", "aware", "aware_one" } }
  local run, compared = kv.runs.open(out), 0
  for _, row in ipairs(run.rows) do
    local opt = { regime = row.regime, question = row.question }
    local view = eviction.view(run:keep(row.passage_id, row.press, row.ratio, opt))
    local index = run:index(row.passage_id, opt)
    local columns = evidence.passage_columns(view, index)
    for name, value in pairs(evidence.columns(view, index, index.record.questions[row.question],
      { degenerate = row.class == "degenerate" })) do columns[name] = value end
    t.ok(columns.ger_model or not row.answerable)
    for name, value in pairs(columns) do
      compared = compared + 1
      t.eq(row[name], value, row.key .. " " .. name)
    end
  end
  t.ok(compared > 10 * #run.rows)
  t.fails(function() run:keep(data.records[1].id, "knorm", .3) end, "press 'knorm' has no ratio 0.3 .*it has 0.5, 0.9")
  t.fails(function() run:keep("nobody", "knorm", .5) end, "no context of passage 'nobody'")
end)

-- Exit status of kvbench runs verify, and what it prints.
local function verdict(out)
  local lines, real = {}, print
  print = function(line) lines[#lines + 1] = line end
  local ok, status = pcall(require "kvbench.runs.verify", { out })
  print = real
  if not ok then error(status, 0) end
  return status, table.concat(lines, "\n")
end

-- What variants left, by row key, as the function that made them saw it.
local function variants_of(seen)
  return { id = "some", make = function(v)
    local function key(name) return ("%s|%d|%s|%s|agnostic|%s"):format(v.record.id, v.q, v.press, v.ratio, name) end
    local list = { { name = "cold", temperature = { 2, 2 } } }
    local halved = v.keep:copy():set(0, nil, 10, 20, false):set(1, 1, 30 + v.q, 33 + v.q, true)
    list[2] = { name = "changed", keep = halved }
    if v.ratio > .6 then list[3] = { name = "late", keep = v.keep:copy():set(nil, nil, 40, 41, false) } end
    for _, made in ipairs(list) do
      local keep = made.keep or v.keep:copy():set(nil, nil, 0, v.keep.tokens, true)
      seen[key(made.name)] = keep:hash()
    end
    return list
  end }
end

t.case("the keep-sets of variants are in the ledger, and what follows from them", function()
  local out, seen = new_folder(), {}
  local o = { out = out, presses = { "knorm", "oracle" }, variants = variants_of(seen) }
  counting("step", function(step) if step == 3 then C.kvb_cancel() end end, function() sweep(o) end)
  sweep(o) -- goes on
  local run, rows, keeps = kv.runs.open(out), 0, 0
  for _, row in ipairs(run.rows) do
    local opt = { regime = row.regime, question = row.question, variant = row.variant }
    local keep = run:keep(row.passage_id, row.press, row.ratio, opt)
    if row.variant ~= "" then
      rows = rows + 1
      t.eq(keep:hash(), seen[row.key], row.key)
    elseif row.press == "oracle" then
      keeps = keeps + 1
    end
    local view, index = eviction.view(keep), run:index(row.passage_id, opt)
    for name, value in pairs(evidence.columns(view, index, index.record.questions[row.question],
      { degenerate = row.class == "degenerate" })) do t.eq(row[name], value, row.key .. " " .. name) end
  end
  t.eq(rows, 3 * 4 * ((1 + 2 + 2) * 2 + 2)) -- full, and two presses at two ratios; one more at .9
  t.eq(keeps, 3 * 4 * 2)
  local status, said = verdict(out)
  t.eq(status, 0, said)
  t.ok(not said:find "are not in it", said)
  local id = data.records[1].id
  t.fails(function() run:keep(id, "knorm", .5, { question = 1, variant = "late" }) end,
    "no variant 'late' at ratio 0.5 for question 1 of passage")
  t.fails(function() run:keep(id, "knorm", .9, { variant = "late" }) end, "for no question %(question = N%)")
  kv.runs.with(out, function(db)
    db:run "UPDATE answers SET ger_frac = 2 WHERE condition IN (SELECT id FROM conditions WHERE variant = 'late')"
  end, "write")
  t.ok(select(2, verdict(out)):find "|late: ger_frac is 2, the ledger gives")
end)

t.case("the keep-set of the ledger is the press's", function()
  local record = data.records[3]
  local prompt = kv.prompt.render("fewshot", record, { regime = "agnostic", idk_example = true, model = model })
  local ctx = model:prefill(prompt.context)
  local index = evidence.index(record, ctx.spans, { base = prompt.passage_span[1] })
  local run = kv.runs.open(first)
  for _, ratio in ipairs { .5, .9 } do
    local keep = kv.press("knorm"):keep(ctx, ratio, { evictable = index.passage })
    t.eq(run:keep(record.id, "knorm", ratio):hash(), keep:hash())
  end
  t.eq(run:keep(record.id, "full", 0):evicted(), 0)
  t.eq(run:index(record.id).passage, index.passage)
  ctx:close()
end)

t.case("verify finds what was changed", function()
  local out = new_folder()
  sweep { out = out }
  local status, text = verdict(out)
  t.eq(status, 0, text)
  local function after(sql, pattern)
    kv.runs.with(out, function(db) db:run(sql) end, "write")
    local s, said = verdict(out)
    t.eq(s, 1)
    t.ok(said:find(pattern), said)
  end
  after("UPDATE answers SET eviction_rate = eviction_rate + 1e-9 WHERE passage = 1 AND condition = 2 AND question = 1",
    "ledger: row .*eviction_rate is ")
  after("DELETE FROM answers WHERE passage = 3 AND condition = 2 AND question = 1",
    "counts: passage '.*' is done with 8 answers, 7 are there")
  after("INSERT INTO answers (passage, condition, question) VALUES (77, 1, 1)", "1 answers belong to no passage")
end)

t.case("curves from the summary are those from the rows", function()
  local summary, resample = require "kvbench.store.summary", require "kvbench.stats.resample"
  local out, large, product = new_folder(), summary.LARGE, resample.product_from
  summary.LARGE = 1
  sweep { out = out }
  summary.LARGE = large
  kv.runs.with(out, function(db) t.ok(summary.current(db)) end)
  for _, y in ipairs { "hallucination", "eviction_rate", "ger_model", "word_f1", "truncated" } do
    for _, able in ipairs { true, false } do
      local folded, rows = kv.runs.open(out), kv.runs.open(out)
      t.ok(#rows.rows > 0) -- loads them
      local ok, wanted = pcall(rows.curves, rows, y, { answerable = able })
      for _, from in ipairs { product, 1 } do
        resample.product_from = from
        local given, got = pcall(folded.curves, folded, y, { answerable = able })
        resample.product_from = product
        t.eq(given, ok, tostring(got))
        t.eq(rawget(folded, "rows"), nil)
        for i, s in ipairs(ok and wanted or {}) do
          t.eq({ got[i].label, got[i].x }, { s.label, s.x })
          for j = 1, #s.x do
            t.near(got[i].y[j], s.y[j], 1e-12)
            t.near(got[i].lo[j], s.lo[j], from == 1 and 1e-5 or 1e-12)
            t.near(got[i].hi[j], s.hi[j], from == 1 and 1e-5 or 1e-12)
          end
        end
      end
    end
  end
  t.fails(function() kv.runs.open(out):curves "nothing" end, "no numeric column 'nothing' in this run")
  kv.runs.with(out, function(db) -- an answer more, and the summary is not used any more
    db:run "DELETE FROM answers WHERE passage = 1 AND condition = 1 AND question = 1"
    t.ok(not summary.current(db))
  end, "write")
end)

t.case("a folder that this process works on already", function()
  local out = new_folder()
  local _, ok, err = counting("step", function(step)
    if step == 1 then sweep { out = out } end
  end, function() sweep { out = out } end)
  t.ok(not ok and err:find "this process already works on the run in", tostring(err))
  sweep { out = out }
  t.ok(read(out .. "/rows.csv") == expected.csv)
end)

t.case("a store of a newer version is refused and not touched", function()
  local out = new_folder()
  sweep { out = out }
  kv.runs.with(out, function(db) db:run "PRAGMA user_version = 99" end, "write")
  local before = read(out .. "/run.sqlite")
  t.fails(function() sweep { out = out } end, "written by a newer kvbench %(store version 99")
  t.fails(function() kv.runs.open(out) end, "written by a newer kvbench")
  t.ok(read(out .. "/run.sqlite") == before)
end)

t.case("two records of one name", function()
  local twice = { task = data.task, seed = "x", size = 2, hash = "x", generator_hash = "x",
    records = { data.records[1], data.records[1] } }
  t.fails(function() sweep { out = new_folder(), dataset = twice } end, "two records of the data set are called")
end)

model:close()
os.execute(("rm -rf '%s'"):format(root))
