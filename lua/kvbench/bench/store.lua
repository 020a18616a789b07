-- SPDX-License-Identifier: Apache-2.0
-- kvbench bench store: what keeping results costs, on synthetic answers with the columns of a real sweep. No model.
-- Seconds
-- of the clock and of the CPUs, which a busy machine tells apart.
--   write   answers a second into one store, and its bytes an answer
--   merge   `shards` stores of `answers` answers each into one
--   open    a run of `large` answers: opening it and drawing the safety cliff (four curves of three presses with bands)
local answers = require "kvbench.store.answers"
local database = require "kvbench.store.db"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local merge = require "kvbench.store.merge"
local plot = require "kvbench.plot"
local rng = require "kvbench.rng"
local runs = require "kvbench.runs"
local schema = require "kvbench.store.schema"
local shards = require "kvbench.sweep.shards"
local summary = require "kvbench.store.summary"
local words = require "kvbench.words"
local work = require "kvbench.store.units"
local C, check = library.C, library.check

local M = {}

local QUESTIONS = 9
local PRESSES = { "ea", "adakv", "chunk" }
local RATIOS = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9 }
local CONDITIONS = 1 + #PRESSES * (#RATIOS - 1)
M.answers_a_passage = QUESTIONS * CONDITIONS

-- The columns of a scored sweep: indicators, ratios that have any value, texts.
local indicators = { "hallucination", "abstention", "degenerate", "correct", "contains", "exact", "e_all", "e_any" }
local ratios = { "f1", "word_f1", "margin", "effective_ratio", "eviction_rate", "eviction_rate_layer", "ger_model",
  "ger_layer", "ger_frac", "ger_model_binding", "ger_layer_binding", "ger_frac_binding", "ger_model_placebo",
  "ger_layer_placebo", "ger_frac_placebo", "ger_model_window", "ger_layer_window", "ger_frac_window", "null_model",
  "null_layer", "span_survival", "k_eff_x" }

local function fill(row, r)
  for _, name in ipairs(indicators) do row[name] = r:uniform() < row.ratio and 1 or 0 end
  for _, name in ipairs(ratios) do row[name] = r:uniform() end
  row.answerable = row.question > 1
  row.truncated, row.tokens, row.context_tokens = false, r:int(2, 24), 251
  row.class, row.class_reason, row.evidence = "hallucination", "no value", "answer"
  row.answer, row.gold, row.f1_tokenizer = "the year nineteen hundred and 7", "1907", "smollm2"
  return row
end

local function manifest(passages)
  local list = {}
  for i, label in ipairs(PRESSES) do list[i] = { label = label } end
  return { model = "synthetic", dataset = "synthetic", dataset_seed = "A", passages = passages, presses = list,
    ratios = RATIOS, regimes = { "agnostic" } }
end

--- Writes whole passages from, from + step ... to of `passages` into a new store; returns answers and the seconds spent
--- in the store, of the clock and of the CPU.
function M.write(folder, passages, from, to, step)
  check(C.kvb_dir_make(folder))
  local db, records, about = database.open(folder .. "/run.sqlite", "write"), {}, manifest(passages)
  schema.migrate(db)
  for i = 1, passages do records[i] = { id = ("synthetic-%06d"):format(i) } end
  local store = answers.new(db)
  db:transaction(function()
    work.prepare(db, store, records, about)
    db:exec("INSERT INTO runs (id, manifest, created) VALUES (1, ?, '')", json.encode(about))
  end)
  local r, n, seconds, cpu = rng.new("bench store/" .. from), 0, 0, 0
  local row = { regime = "agnostic", variant = "" }
  for i = from, to, step or 1 do
    local rows = {}
    db:begin()
    row.passage_id = records[i].id
    for block, label in ipairs { "full", unpack(PRESSES) } do
      for k = label == "full" and 1 or 2, label == "full" and 1 or #RATIOS do
        row.press, row.ratio = label, RATIOS[k]
        for q = 1, QUESTIONS do
          row.question = q
          row.key = ("%s|%d|%s|%s|agnostic"):format(row.passage_id, q, label, tostring(row.ratio))
          fill(row, r)
          rows[#rows + 1], n = row, n + 1
          row = { passage_id = row.passage_id, press = label, ratio = row.ratio, regime = "agnostic", variant = "" }
        end
      end
      work.done(db, i, label, block == 1 and QUESTIONS or QUESTIONS * (#RATIOS - 1), "bench", "bench")
    end
    local started, clock = C.kvb_time(), os.clock()
    for _, each in ipairs(rows) do store:add(each) end
    db:commit()
    seconds, cpu = seconds + C.kvb_time() - started, cpu + os.clock() - clock
    if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
  end
  db:close()
  return n, seconds, cpu
end

--- Bytes of a file; 0 when there is none.
local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end" or 0
  if file then file:close() end
  return size
end

-- More passages made of those that are there: what is measured is reading, and writing them one by one would take
-- minutes.
local function multiply(db, have, passages)
  local names = {}
  for row in db:rows "SELECT name FROM metrics ORDER BY name" do names[#names + 1] = ", " .. database.quote(row[1]) end
  local columns = table.concat(names)
  for first = have, passages - 1, have do
    db:exec(("INSERT INTO answers (passage, condition, question%s) SELECT passage + ?, condition, question%s "
      .. "FROM answers WHERE passage <= ?"):format(columns, columns), first, math.min(have, passages - first))
  end
  db:exec "UPDATE units SET state = 'done'"
end

local function bench_large(folder, large)
  local passages = math.ceil(large / M.answers_a_passage)
  local have = math.min(passages, 64)
  M.write(folder, passages, 1, have)
  runs.with(folder, function(db)
    db:transaction(function() multiply(db, have, passages) end)
  end, "write")
  local started, cpu = C.kvb_time(), os.clock()
  runs.with(folder, summary.make, "write")
  local out = { summary_seconds = C.kvb_time() - started, summary_cpu_seconds = os.clock() - cpu,
    bytes = size_of(folder .. "/run.sqlite") }
  started, cpu = C.kvb_time(), os.clock()
  local run = runs.open(folder)
  out.answers = run:count()
  out.open_seconds = C.kvb_time() - started
  local panels = {}
  for i, y in ipairs { "word_f1", "hallucination", "abstention", "ger_model" } do
    panels[i] = { kind = "lines", title = y, x = { label = "evicted share", min = 0, max = 1 },
      y = { label = "share", min = 0, max = 1 }, series = run:curves(y, { answerable = true }) }
  end
  out.curve_seconds = C.kvb_time() - started - out.open_seconds
  plot.small_multiples({ columns = 2, panels = panels, title = "Safety cliff" }):save(folder .. "/safety_cliff")
  out.draw_seconds, out.draw_cpu_seconds = C.kvb_time() - started, os.clock() - cpu
  return out
end

--- `count` shards of `each` answers, every one with every count-th passage as a task of a job array has them, taken
--- into one new store.
function M.merge(folder, count, each)
  local passages = math.ceil(each / M.answers_a_passage) * count
  for i = 0, count - 1 do
    M.write(("%s/shard-%d-of-%d"):format(folder, i, count), passages, i + 1, passages, count)
  end
  local started, cpu = C.kvb_time(), os.clock()
  local parts = shards.folders(folder)
  -- as kvbench runs merge does, into a store that is made for it
  local db = merge.begin(folder, parts[1])
  local n = 0
  for _, part in ipairs(parts) do n = n + merge.take(db, part .. "/run.sqlite") end
  db = merge.publish(db, folder)
  local left = work.left(db)
  db:close()
  return { shards = count, answers = n, seconds = C.kvb_time() - started, cpu_seconds = os.clock() - cpu,
    units_left = left, bytes = size_of(folder .. "/run.sqlite") }
end

local function checked(opt)
  for name, low in pairs { answers = 1, shards = 0, large = 0 } do
    local value = opt[name]
    if value ~= math.floor(value) or value < low or value > 1e9 then
      words.misused("bench store: --%s %s -> a whole number from %d to 1e9", name, value, low)
    end
  end
  if opt.folder ~= "" and C.kvb_path_kind(opt.folder) ~= 0 then
    words.misused("bench store: '%s' is there already -> a folder to make, which is removed afterwards", opt.folder)
  end
end

local function remove(folder) os.execute(("rm -rf '%s'"):format(folder:gsub("'", "'\\''"))) end

--- opt: answers (a shard), shards, large, folder (made and removed). Returns what --json prints.
function M.run(opt)
  checked(opt)
  local folder = opt.folder ~= "" and opt.folder or os.tmpname()
  if opt.folder == "" then os.remove(folder) end
  local ok, out = pcall(function()
    local n, seconds, cpu = M.write(folder .. "/write", math.ceil(opt.answers / M.answers_a_passage), 1,
      math.ceil(opt.answers / M.answers_a_passage))
    local result = { bench = "store", write = { answers = n, seconds = seconds, answers_per_s = n / seconds,
      microseconds_an_answer = 1e6 * seconds / n,
      cpu_microseconds_an_answer = 1e6 * cpu / n, bytes_an_answer = size_of(folder .. "/write/run.sqlite") / n } }
    if opt.shards > 0 then result.merge = M.merge(folder .. "/merge", opt.shards, opt.answers) end
    remove(folder .. "/merge")
    if opt.large > 0 then result.large = bench_large(folder .. "/large", opt.large) end
    return result
  end)
  remove(folder)
  if not ok then error(out, 0) end
  return out
end

--- What is printed without --json.
function M.report(out)
  print(("write: %.0f answers/s (%.1f us, %.1f of the CPU, and %.0f bytes an answer)"):format(
    out.write.answers_per_s, out.write.microseconds_an_answer, out.write.cpu_microseconds_an_answer,
    out.write.bytes_an_answer))
  if out.merge then
    print(("merge: %d shards, %d answers in %.1f s (CPU %.1f s)"):format(out.merge.shards, out.merge.answers,
      out.merge.seconds, out.merge.cpu_seconds))
  end
  if out.large then
    local l = out.large
    print(("open: %d answers (%.2f GiB) to a safety cliff in %.2f s (CPU %.2f; open %.2f, curves %.2f)"):format(
      l.answers, l.bytes / 2 ^ 30, l.draw_seconds, l.draw_cpu_seconds, l.open_seconds, l.curve_seconds))
    print(("summary, made when a run is complete: %.1f s (CPU %.1f s)"):format(l.summary_seconds,
      l.summary_cpu_seconds))
  end
end

return M
