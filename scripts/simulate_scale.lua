-- SPDX-License-Identifier: Apache-2.0
-- kvbench scripts/simulate_scale.lua: what a run costs beside the model, on synthetic answers through the real store,
-- merge, Slurm and ledger, at several sizes; and what follows for --tasks tasks and --total answers. docs/scale.md
-- quotes its table. Everything is measured at growing sizes, so that what grows faster than in proportion shows.
local kv = require "kvbench"
local bench = require "kvbench.bench.store"
local evidence = require "kvbench.metric.evidence"
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local paper = require "kvbench.bench.paper_grid"
local paths = require "kvbench.paths"
local text = require "kvbench.text"
local C, check = library.C, library.check

local opt = kv.args({ tasks = 1000, total = 1e9, answers = 20000, shards = { 4, 16, 64 },
  slurm = { 10, 100, 1000 }, model = "smollm2", folder = "", json = false }, {
  tasks = "tasks of the run that is planned", total = "answers of the run that is planned",
  answers = "answers a shard in the simulation", shards = "numbers of shards that are merged, growing",
  slurm = "sizes of job arrays that a Slurm of its own is asked about (needs root and its packages)",
  model = "whose keep-sets the ledger is sampled with; '' for none",
  folder = "made, and removed; default: a temporary one",
})

local base = opt.folder ~= "" and opt.folder or os.tmpname()
if opt.folder == "" then os.remove(base) end
if C.kvb_path_kind(base) ~= 0 then error(("'%s' is there already -> a folder to make"):format(base), 0) end
check(C.kvb_dir_make(base))
local function remove(folder) os.execute(("rm -rf '%s'"):format(folder:gsub("'", "'\\''"))) end

local out = { date = os.date "!%Y-%m-%d", merge = {}, watch = {}, slurm = {}, ledger = {} }
local function say(...) io.stderr:write(("%s\n"):format(string.format(...))) end

local function output(line)
  local pipe = io.popen(line)
  local all = pipe:read "*a"
  pipe:close()
  return all
end

-- ---- writing and merging ----

local function simulate_merge()
  for _, count in ipairs(opt.shards) do
    local folder = base .. "/merge"
    local started, clock = C.kvb_time(), os.clock()
    local m = bench.merge(folder, count, opt.answers)
    m.write_cpu_us = 1e6 * (os.clock() - clock - m.cpu_seconds) / m.answers -- the making of the rows included
    m.write_us = 1e6 * (C.kvb_time() - started - m.seconds) / m.answers
    m.merge_us, m.merge_cpu_us = 1e6 * m.seconds / m.answers, 1e6 * m.cpu_seconds / m.answers
    m.bytes_an_answer = m.bytes / m.answers
    out.merge[#out.merge + 1] = m
    say("merge: %d shards, %d answers: %.2f us (CPU %.2f) and %.0f bytes an answer", count, m.answers, m.merge_us,
      m.merge_cpu_us, m.bytes_an_answer)
    remove(folder)
  end
end

local function simulate_write()
  local n, seconds, cpu = bench.write(base .. "/write", math.ceil(10 * opt.answers / bench.answers_a_passage), 1,
    math.ceil(10 * opt.answers / bench.answers_a_passage))
  out.write = { answers = n, us = 1e6 * seconds / n, cpu_us = 1e6 * cpu / n }
  say("write: %d answers: %.2f us (CPU %.2f) an answer", n, out.write.us, out.write.cpu_us)
  remove(base .. "/write")
end

-- ---- files, and looking at them ----

local function simulate_watch()
  local folder = base .. "/watch"
  for _, count in ipairs(opt.slurm) do
    for i = 0, count - 1 do
      local shard = ("%s/shard-%d-of-%d"):format(folder, i, count)
      check(C.kvb_dir_make(shard))
      json.save(shard .. "/progress.json", { state = "done", done = 1, total = 1000, done_here = 1, share = 1,
        answers_here = 1, seconds = 1, pid = 1, host = "node", updated = os.date "!%Y-%m-%dT%H:%M:%SZ" })
    end
    local real, started = print, C.kvb_time()
    print = function() end
    require "kvbench.runs.watch" { folder, "--once" }
    print = real
    out.watch[#out.watch + 1] = { tasks = count, seconds = C.kvb_time() - started }
    say("watch: one look at %d tasks: %.3f s", count, C.kvb_time() - started)
    remove(folder)
  end
end

-- Files of a shard while its task runs and after it: a sweep of a tiny model is stopped in the middle to count them.
local function count_files()
  local tiny, folder = dofile(paths.at "tests/lua/tiny_sweep.lua"), base .. "/files"
  local most = 0
  local run = require "kvbench.sweep.run"
  local tick, often = run.tick_seconds, nil
  run.tick_seconds = 0
  local model = tiny.model()
  local watching = { name = "count", columns = function()
    local n = tonumber(output(("find '%s' -type f | wc -l"):format(folder)))
    most, often = math.max(most, n), (often or 0) + 1
    return {}
  end }
  kv.sweep { model = model, dataset = tiny.data(2, 1), presses = { "knorm" }, ratios = { 0, .5 }, max_new_tokens = 2,
    quiet = true, metrics = { watching }, out = folder }
  run.tick_seconds = tick
  model:close()
  out.files = { running = most, merged = tonumber(output(("find '%s' -type f | wc -l"):format(folder))) }
  say("files: %d of a shard that is written to, %d of a run that is complete", most, out.files.merged)
end

-- ---- the ledger ----

local PRESSES, RATIOS = { "expected_attention", "adakv", "chunk" }, { .1, .2, .3, .4, .5, .6, .7, .8, .9 }

local function sample_ledger()
  if opt.model == "" then return end
  local model = kv.model.load(opt.model)
  local data_out, bytes_out = ffi.new "const void *[1]", ffi.new "int64_t[1]"
  local bytes, cells, seconds, contexts = 0, 0, 0, 0
  for _, task in ipairs(paper.tasks) do
    local record = kv.dataset(task.name, { size = 1 }).records[1]
    local p = kv.prompt.render("paper", record, { regime = "agnostic", model = model })
    local needs = {}
    for _, name in ipairs(PRESSES) do for need, value in pairs(kv.press(name).needs) do needs[need] = value end end
    local ctx = model:prefill(p.context, needs)
    local passage = evidence.index(record, ctx.spans, { base = p.passage_span[1] }).passage
    for _, name in ipairs(PRESSES) do
      local keeps = kv.press(name):keeps(ctx, RATIOS, { evictable = passage })
      local handles = ffi.new("const kvb_keep *[?]", #keeps)
      for i, keep in ipairs(keeps) do
        check(C.kvb_keep_fetch(keep.handle))
        handles[i - 1] = keep.handle
      end
      local started = C.kvb_time()
      check(C.kvb_ledger_pack(handles, #keeps, data_out, bytes_out))
      seconds = seconds + C.kvb_time() - started
      bytes, cells = bytes + tonumber(bytes_out[0]), cells + ctx.layers * ctx.kv_heads * ctx.tokens
    end
    contexts = contexts + 1
    ctx:close()
  end
  model:close()
  out.ledger = { contexts = contexts, bits = 8 * bytes / cells, ns = 1e9 * seconds / cells }
  say("ledger: %d contexts, %.2f bits and %.1f ns a (layer, head, token) and press at %d ratios", contexts,
    out.ledger.bits, out.ledger.ns, #RATIOS)
end

-- Cells of the paper's grid on a model of 32 layers and 8 KV heads: tokens of all contexts, agnostic and aware (1.33
-- tokens a word, 110 of the prompt, 14 a listed question).
local function grid_cells()
  local tokens, contexts = 0, 0
  for _, task in ipairs(paper.tasks) do
    local own = 1.33 * task.words + 110
    tokens, contexts = tokens + task.passages * (2 * own + 14 * task.questions), contexts + 2 * task.passages
  end
  return tokens, tokens * 32 * 8 * #PRESSES, contexts
end

-- ---- what follows ----

-- Value at `x` of the straight line through the last two points over log2 of the size; flat where it falls.
local function at(rows, field, size, x)
  local a, b = rows[#rows - 1] or rows[#rows], rows[#rows]
  local step = math.log(b[size] / a[size])
  local slope = step > 0 and math.max(0, (b[field] - a[field]) / step) or 0
  return b[field] + slope * math.log(x / b[size])
end

local function report()
  local each, last = opt.total / opt.tasks, out.merge[#out.merge]
  local us, cpu = at(out.merge, "merge_us", "answers", opt.total), at(out.merge, "merge_cpu_us", "answers", opt.total)
  local tokens, cells, contexts = grid_cells()
  local rows = { { "", "measured", ("%d tasks, %.0e answers"):format(opt.tasks, opt.total) },
    { "writing, in each task", ("%.1f us (CPU %.1f) an answer"):format(out.write.us, out.write.cpu_us),
      ("%.0f s (%.0f) of its %.0e answers"):format(each * out.write.us / 1e6, each * out.write.cpu_us / 1e6, each) },
    { "store", ("%.0f bytes an answer"):format(last.bytes_an_answer),
      ("%.2f GB a shard, %.0f GB merged"):format(each * last.bytes_an_answer / 1e9,
        opt.total * last.bytes_an_answer / 1e9) } }
  for _, m in ipairs(out.merge) do
    rows[#rows + 1] = { ("merge, %d shards, %d answers"):format(m.shards, m.answers),
      ("%.2f us (CPU %.2f) an answer"):format(m.merge_us, m.merge_cpu_us), "" }
  end
  rows[#rows + 1] = { "merge, one process", "the last two, continued over the logarithm",
    ("%.1f us: %.1f h (CPU %.1f h)"):format(us, opt.total * us / 3.6e9, opt.total * cpu / 3.6e9) }
  rows[#rows + 1] = { "files", ("%d a running shard"):format(out.files.running),
    ("%d, and %d when it is merged"):format(opt.tasks * out.files.running, out.files.merged) }
  for _, w in ipairs(out.watch) do
    rows[#rows + 1] = { ("runs watch, %d tasks"):format(w.tasks), ("%.3f s a look"):format(w.seconds), "" }
  end
  for _, s in ipairs(out.slurm) do
    rows[#rows + 1] = { ("squeue, array of %d"):format(s.tasks), ("%.3f s; slurmctld %.1f ms of CPU"):format(
      s.poll_seconds, 1e3 * s.poll_cpu), ("every 10 s: %.2f %% of a core"):format(1e3 * s.poll_cpu / 10 / 10) }
  end
  if out.slurm.task then
    rows[#rows + 1] = { "slurmctld, a task from queue to end", ("%.1f ms of CPU"):format(1e3 * out.slurm.task.ctl_cpu),
      ("%.1f s a round"):format(opt.tasks * out.slurm.task.ctl_cpu) }
  end
  if out.ledger.bits then
    rows[#rows + 1] = { "ledger", ("%.2f bits, %.1f ns a (layer, head, token) and press at %d ratios"):format(
      out.ledger.bits, out.ledger.ns, #RATIOS), "" }
    rows[#rows + 1] = { "ledger of the paper's grid, 8B", ("%.1fM tokens of contexts x 256 x %d"):format(tokens / 1e6,
      #PRESSES), ("%.2f GB; %.2f if all 10 levels were equally likely"):format(cells * out.ledger.bits / 8e9,
      cells * math.log(10) / math.log(2) / 8e9) }
    local planned = opt.total / bench.answers_a_passage -- contexts
    rows[#rows + 1] = { "ledger of the run, contexts like those", ("%.1e contexts"):format(planned),
      ("%.0f GB"):format(planned / contexts * cells * out.ledger.bits / 8e9) }
  end
  print(text.columns(rows))
end

local ok, err = pcall(function()
  simulate_write()
  simulate_merge()
  simulate_watch()
  count_files()
  out.slurm = dofile(paths.at "scripts/simulate_slurm.lua")(base .. "/slurm", opt.slurm, say)
  sample_ledger()
end)
remove(base)
if not ok then error(err, 0) end
if opt.json then print(json.encode(out)) else report() end
