-- SPDX-License-Identifier: Apache-2.0
-- What are the seven datasets like: how long, how varied, where do the answers stand, can they be guessed?
--
-- Measures every task at full size and writes the data sheet in datasets/README.md between its two marks, the pictures
-- beside it, and samples. Whether a question can be answered without its passage is measured by asking the default
-- model with the passage taken out (closed book), on the same questions as with it.
local kv = require "kvbench"
local folder = require "kvbench.dataset.folder"
local measure = require "kvbench.dataset.measure"
local sheets = require "kvbench.dataset.sheet"

local opt = kv.args {
  model = "smollm2", seed = "A", sample = 6, out = "out/data_sheet", readme = "", samples = 2,
  tasks = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" },
}
local model = kv.model.load(opt.model)

-- ---- measures ----

local sheet = {}
for _, name in ipairs(opt.tasks) do
  local start = os.clock()
  local made = 0
  for _ in kv.dataset.each(name, { seed = opt.seed }) do made = made + 1 end
  local seconds = os.clock() - start
  sheet[name] = measure.of(kv.dataset.each(name, { seed = opt.seed }), model.tokenizer)
  sheet[name].seconds = seconds
  print(("%s: %d passages made and validated in %.1f s of CPU"):format(name, made, seconds))
end

-- Shares of the answerable questions that were answered, and of the unanswerable ones that were declined.
local function ask(ds)
  local run = kv.sweep { model = model, dataset = ds, presses = { "knorm" }, ratios = { 0 }, style = "fewshot",
    idk_example = true, quiet = true }
  local right, asked, declined, without = 0, 0, 0, 0
  for _, row in ipairs(run.rows) do
    if row.answerable then
      asked, right = asked + 1, right + (row.class == "correct" and 1 or 0)
    else
      without, declined = without + 1, declined + (row.class == "abstain" and 1 or 0)
    end
  end
  return { n = asked, share = right / math.max(1, asked), declined = without > 0 and declined / without or nil }
end

for _, name in ipairs(opt.tasks) do
  local n = math.min(opt.sample * (sheet[name].words.mean < 300 and 3 or 1), sheet[name].records)
  local ds = kv.dataset(name, { seed = opt.seed, size = n })
  sheet[name].open, sheet[name].closed, sheet[name].asked_of = ask(ds), ask(kv.experiment.closed_book(ds)), n
  print(("%s: %d questions, with the passage %.2f, without %.2f"):format(name, sheet[name].open.n,
    sheet[name].open.share, sheet[name].closed.share))
end

-- ---- figures ----

local beside = opt.readme ~= "" and (opt.readme:match("^(.*)/[^/]*$") or ".") or nil
local function save(figure, name)
  figure:save(opt.out .. "/" .. name, { formats = { "png" }, dpi = 110 })
  local file = name .. ".png"
  if beside then folder.write(beside .. "/figures/" .. file, { folder.read(opt.out .. "/" .. file) }) end
end
local index, labels = {}, {}
for i, name in ipairs(opt.tasks) do index[i], labels[i] = i, (name:gsub("_", " ")) end
-- One value a task, with a gap after each: a range is then a bar at its task, not a band between tasks.
local gaps = {}
for i = 1, #index do gaps[2 * i - 1], gaps[2 * i] = i, i + 0.5 end
local function each(f)
  local y = {}
  for i, name in ipairs(opt.tasks) do y[2 * i - 1], y[2 * i] = f(sheet[name]), 0 / 0 end
  return y
end
local shifted = {}
for i, x in ipairs(gaps) do shifted[i] = x + 0.12 end
local by_task = { ticks = index, labels = labels, min = 0.5, max = #index + 0.5 }

save(kv.plot.lines { title = "Passage lengths", x = by_task, width = 6.5,
  y = { label = "words (log scale)", scale = "log2" }, caption = "Mean and range over all passages.",
  series = { { label = "words", style = "points", x = gaps, y = each(function(m) return m.words.mean end),
    lo = each(function(m) return m.words.min end), hi = each(function(m) return m.words.max end) },
  { label = "tokens", style = "points", x = shifted, y = each(function(m) return m.tokens.mean end),
    lo = each(function(m) return m.tokens.min end), hi = each(function(m) return m.tokens.max end) } } }, "lengths")

save(kv.plot.lines { title = "Variety", x = by_task, y = { label = "share", min = 0, max = 1 }, width = 6.5,
  series = { { label = "types per token", style = "points", x = gaps, y = each(function(m) return m.ttr end) },
    { label = "distinct 4-grams", style = "points", x = gaps, y = each(function(m) return m.distinct4 end) },
    { label = "sentences with a repeated skeleton", style = "points", x = gaps,
      y = each(function(m) return m.repeated end) } },
  caption = "Types and 4-grams over the first 20,000 words of each task; skeletons over all." }, "variety")

local tenths = { .05, .15, .25, .35, .45, .55, .65, .75, .85, .95 }
local positions = {}
for i, name in ipairs(opt.tasks) do
  if sheet[name].words.mean > 60 then
    positions[#positions + 1] = { label = labels[i], x = tenths, y = sheet[name].positions }
  end
end
save(kv.plot.lines { title = "Where answers stand", width = 6.5, series = positions,
  x = { label = "place in the passage", min = 0, max = 1 }, y = { label = "share of answers", min = 0, max = 0.3 },
  hlines = { { y = 0.1, label = "uniform" } },
  caption = "First mention of each value that is asked for, in tenths of the passage. Names, which reverse questions "
    .. "ask for, are left out, and so are the template tasks, whose facts have one order." }, "positions")

local types = { "Person", "Thing", "Organization", "Creature", "Location", "Numerals", "Date/Time", "Event" }
local kinds = { "standard", "manipulated", "part", "forward", "reverse" }
local function shares(names, of)
  local rows = {}
  for i, name in ipairs(opt.tasks) do
    rows[i] = {}
    for k, tag in ipairs(names) do rows[i][k] = (of(sheet[name])[tag] or 0) / sheet[name].questions end
  end
  return rows
end
local function heatmap(title, names, of, name)
  save(kv.plot.heatmap { title = title, matrix = shares(names, of), width = 6.5, height = 2.8, annotate = "%.2f",
    x = { labels = names }, y = { labels = labels }, color = { label = "share", min = 0 } }, name)
end
heatmap("Answer types", types, function(m) return m.answer_types end, "answer_types")
heatmap("Question types and directions", kinds, function(m)
  local both = {}
  for _, list in ipairs { m.question_types, m.directions } do for tag, n in pairs(list) do both[tag] = n end end
  return both
end, "question_types")
save(kv.plot.lines { title = "Answered with and without the passage", x = by_task, width = 6.5,
  y = { label = "share answered correctly", min = 0, max = 1 },
  series = { { label = "with", style = "points", x = gaps, y = each(function(m) return m.open.share end) },
    { label = "without (closed book)", style = "points", x = gaps, y = each(function(m) return m.closed.share end) } },
  caption = ("%s (%s), few-shot prompt, full cache, answerable questions of the first %d passages (%d of the short "
    .. "tasks)."):format(model.name, model.dtype, opt.sample, 3 * opt.sample) }, "books")

-- ---- the sheet ----

local text = sheets.text(opt.tasks, sheet, { seed = opt.seed, model = model.name, dtype = model.dtype,
  samples = opt.samples })
folder.write(opt.out .. "/sheet.md", { text })
if beside then
  folder.write(opt.readme, { sheets.insert(folder.read(opt.readme), text, opt.readme) })
  for _, name in ipairs(opt.tasks) do
    local path = ("%s/samples/%s.jsonl.zst"):format(beside, name)
    kv.dataset(name, { seed = "A", size = opt.samples }):save(path)
    os.remove(path .. ".manifest.json") -- its generator hash would be out of date with every change of the code
  end
end
print("the sheet: " .. opt.out .. "/sheet.md")
