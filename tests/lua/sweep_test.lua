-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep on a tiny stored model: every condition once, the same rows whatever the packing and whatever interrupted
-- them, and one clear line for what cannot be run. The model's answers mean nothing.
local t = require "kvbench.testing"
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local json = require "kvbench.json"
local paths = require "kvbench.paths"

local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
local read, model = tiny.read, tiny.model()
local new_folder, root = tiny.folders()

-- Three passages, four questions each: enough to mix, few enough to run fifty sweeps.
local data, QUESTIONS = tiny.data(3, 4), 12

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- ---- sweeps ----

local function settings(more)
  local o = { model = model, dataset = data, presses = { "knorm", { press = "snapkv", window_size = 16 } },
    ratios = { 0, .5, .9 },
    max_new_tokens = 3, quiet = true }
  for name, value in pairs(more or {}) do o[name] = value end
  return o
end

local function sweep(more) return kv.sweep(settings(more)) end

local function csv_of(more)
  local out = new_folder()
  more = more or {}
  more.out = out
  sweep(more)
  return read(out .. "/rows.csv")
end

local whole = sweep()

t.case("every condition of every question once, with unique keys", function()
  t.eq(#whole.rows, QUESTIONS * 5) -- full, and two presses at two ratios
  local seen, count = {}, {}
  for i, row in ipairs(whole.rows) do
    t.ok(not seen[row.key], "twice: " .. row.key)
    seen[row.key] = true
    local condition = row.press .. " " .. row.ratio
    count[condition] = (count[condition] or 0) + 1
    t.ok(i == 1 or whole.rows[i - 1].key < row.key, "not in the order of the keys")
    t.eq(row.regime, "agnostic")
    t.ok(row.tokens >= 1 and row.tokens <= 3)
    t.ok(row.class ~= nil and row.margin >= 0)
  end
  t.eq(count, { ["full 0"] = QUESTIONS, ["knorm 0.5"] = QUESTIONS, ["knorm 0.9"] = QUESTIONS,
    ["snapkv(window_size=16) 0.5"] = QUESTIONS, ["snapkv(window_size=16) 0.9"] = QUESTIONS })
end)

t.case("a row is what the condition gives when it is run alone", function()
  local record = data.records[2]
  local prompt = kv.prompt.render("fewshot", record, { regime = "agnostic", idk_example = true, model = model })
  local ctx = model:prefill(prompt.context)
  local first, last
  for i, span in ipairs(ctx.spans) do
    if span[1] < prompt.passage_span[2] and span[2] > prompt.passage_span[1] then first, last = first or i - 1, i end
  end
  local keep = kv.press("knorm"):keep(ctx, .9, { evictable = { first, last } })
  local batch = model:batch { stop_ids = { 10, unpack(model.stop_ids) } }
  batch:add { ctx = ctx, ids = model:ids(prompt.suffix(record.questions[4])), keep = keep, max_new_tokens = 3 }
  local result = batch:run()[1]
  batch:close()
  local key, found = ("%s|4|knorm|0.9|agnostic"):format(record.id), nil
  for _, row in ipairs(whole.rows) do if row.key == key then found = row end end
  local margin = math.huge
  for _, m in ipairs(result.margins) do margin = math.min(margin, m) end
  t.eq(found.tokens, #result.ids)
  t.eq(found.margin, margin)
  t.eq(found.context_tokens, ctx.tokens)
  ctx:close()
end)

local expected = csv_of {}

t.case("the same rows whatever is prefilled together", function()
  for _, group in ipairs { 1, 2, 8 } do t.ok(csv_of { group = group } == expected, "group = " .. group) end
end)

t.case("rows of a stored run can be read with some of their columns", function()
  local out = new_folder()
  sweep { out = out }
  local all, few = kv.runs.open(out), kv.runs.open(out):load { "f1", "no_such_column" }
  t.ok(#all.rows > 0 and #all.rows == #few.rows)
  for i, row in ipairs(all.rows) do
    local slim = few.rows[i]
    t.eq({ slim.passage_id, slim.question, slim.press, slim.ratio, slim.f1, slim.no_such_column },
      { row.passage_id, row.question, row.press, row.ratio, row.f1, nil })
  end
  t.fails(function() return few.rows[1].correct end, "column 'correct' was left out of these rows %-> run:load")
  few.rows[1].correct = 2 -- what a script adds is its own
  t.eq(few.rows[1].correct, 2)
  t.eq(#few:press_rows(few.presses[1]), #all:press_rows(all.presses[1]))
  t.ok(all:load { "f1" }.rows[1].correct ~= nil, "what is in memory stays whole")
end)

t.case("an interrupted run goes on and ends with the same bytes", function()
  for _, stop_at in ipairs { 1, 2, 4 } do
    local out, steps = new_folder(), 0
    local text = t.fails(function()
      tiny.watching(model, "step", function()
        steps = steps + 1
        if steps == stop_at then C.kvb_cancel() end
      end, function() sweep { out = out, group = 1 } end)
    end, "interrupted: %d of 3 passages are done and stored in")
    t.ok(text:find("run the same command to go on", 1, true))
    t.eq(read(out .. "/rows.csv"), nil)
    sweep { out = out, group = 2 } -- the packing may differ
    t.ok(read(out .. "/rows.csv") == expected, "rows.csv differs after an interruption at step " .. stop_at)
    local before = read(out .. "/rows.jsonl")
    local again = sweep { out = out } -- nothing left to do
    t.eq(#again.rows, #whole.rows)
    t.ok(read(out .. "/rows.jsonl") == before and read(out .. "/rows.csv") == expected)
  end
end)

t.case("rows of a version without a store are taken over; of a torn last line only that passage is run again",
  function()
  local out = new_folder()
  sweep { out = out }
  local lines = {}
  for line in read(out .. "/rows.jsonl"):gmatch "[^\n]+" do lines[#lines + 1] = line end
  t.eq(#lines, 3)
  for _, cut in ipairs { 1, 200, #lines[3] } do
    write(out .. "/rows.jsonl", lines[1] .. "\n" .. lines[2] .. "\n" .. lines[3]:sub(1, cut))
    os.remove(out .. "/rows.csv")
    os.remove(out .. "/run.sqlite")
    local prefilled = 0
    local prefill = getmetatable(model).__index(model, "prefill_many")
    model.prefill_many = function(self, texts, needs)
      prefilled = prefilled + #texts
      return prefill(self, texts, needs)
    end
    local ok, err = pcall(sweep, { out = out })
    model.prefill_many = nil
    if not ok then error(err, 0) end
    t.eq(prefilled, 1, "cut after " .. cut)
    t.ok(read(out .. "/rows.csv") == expected, "cut after " .. cut)
  end
  for line in read(out .. "/rows.jsonl"):gmatch "[^\n]+" do json.decode(line) end
end)

t.case("a folder of another run is not mixed with", function()
  local out = new_folder()
  sweep { out = out }
  for field, more in pairs { seed = { seed = 2 }, ratios = { ratios = { 0, .5 } },
    evictable = { evictable = "context" },
    presses = { presses = { "knorm" } }, style = { style = "paper" }, max_new_tokens = { max_new_tokens = 4 },
    idk_example = { idk_example = false }, regimes = { regimes = { "aware" } } } do
    more.out = out
    local text = t.fails(function() sweep(more) end, "holds another run: " .. field .. " was ")
    t.ok(text:find("-> choose another out = folder", 1, true))
  end
  local other = kv.model.load(paths.at "tests/golden/models/qwen2", { dtype = "f32" })
  other.tokenizer = tiny.tokenizer
  t.fails(function() sweep { out = out, model = other } end, "holds another run: model")
  other:close()
  t.fails(function() sweep { out = out, dataset = tiny.data(3, 4, "B") } end, "holds another run: dataset_")
  t.ok(read(out .. "/rows.csv") == expected, "a refused run changed the rows")
  write(out .. "/run.sqlite", ("{"):rep(4096))
  t.fails(function() sweep { out = out } end, "run%.sqlite': file is not a database")
  os.remove(out .. "/run.sqlite")
  write(out .. "/run.json", "{")
  t.fails(function() sweep { out = out } end, "run%.json")
end)

t.case("places that cannot be written", function()
  t.fails(function() sweep { out = "/proc/kvbench/none" } end, "cannot make the folder '/proc/kvbench'")
  t.fails(function() sweep { out = "/dev/null" } end, "'/dev/null' exists and is not a folder")
end)

t.case("presses that fail are named and what is done is kept", function()
  local function bad(name, score)
    local calls = 0
    return { name = name, score = function(self, ctx)
      calls = calls + 1
      if calls <= 2 then return -ctx.keys:norm(-1) end
      return score(self, ctx)
    end }
  end
  local cases = {
    { bad("raises", function() error "this is mine" end), "this is mine" },
    { bad("nan", function(_, ctx) return ctx.keys:norm(-1) * (0 / 0) end),
      "press 'nan' .*score is NaN at layer 0, head 0, token 0" },
    { bad("shape", function(_, ctx) return ctx.keys end), "press 'shape' .*score has shape %[2, 2, %d+, 16%], expected" },
    { bad("nothing", function() end), "press 'nothing' .*score returned nothing" },
  }
  for _, case in ipairs(cases) do
    local out = new_folder()
    t.fails(function() sweep { out = out, presses = { kv.press(case[1]) }, group = 1, max_new_tokens = 1 } end, case[2])
    local stored = kv.runs.open(out).rows
    t.ok(#stored > 0, case[1].name .. ": nothing of the first passages was kept")
    t.ok(stored[1].passage_id == data.records[1].id)
    t.eq(read(out .. "/rows.csv"), nil)
  end
  t.eq(#sweep().rows, #whole.rows) -- and the model still works
end)

t.case("what cannot be asked for", function()
  t.fails(function() sweep { ratios = { 1 } } end, "ratio: 1 is outside %[0, 1%)")
  t.fails(function() sweep { ratios = { -.1 } } end, "ratio: %-0%.1 is outside")
  t.fails(function() sweep { ratios = {} } end, "the list is empty")
  t.fails(function() sweep { presses = { "knrm" } } end, "knorm")
  t.fails(function() sweep { presses = { "knorm", "knorm" } } end, "press 'knorm' is listed twice")
  t.fails(function() sweep { regimes = { "awre" } } end, "unknown regime 'awre'")
  t.fails(function() sweep { style = "prose" } end, "unknown style 'prose'")
  t.fails(function() sweep { evictable = "all" } end, "evictable is 'all' %-> \"passage\" or \"context\"")
  t.fails(function() sweep { ratio = { .5 } } end, "no option 'ratio'")
  t.fails(function() sweep { max_new_tokens = 0 } end, "max_new_tokens is 0")
  t.fails(function() kv.sweep { dataset = data } end, "model is missing")
  t.fails(function() kv.sweep { model = model } end, "dataset is missing")
  model.tokenizer = nil
  t.fails(function() sweep() end, "has no tokenizer")
  model.tokenizer = tiny.tokenizer
end)

t.case("equal conditions run once and are written for each", function()
  local function adds(presses, ratios)
    local n, run = 0, nil
    tiny.watching(model, "add", function() n = n + 1 end, function() run = sweep { presses = presses,
      ratios = ratios or { 0, .5 } } end)
    return n, run
  end
  local twin = kv.press { name = "twin", score = function(_, ctx) return -ctx.keys:norm(-1) end }
  local alone = adds { "knorm" }
  local both, run = adds { "knorm", twin }
  t.eq(alone, 2 * QUESTIONS)
  t.eq(both, alone)
  t.eq(#run.rows, 3 * QUESTIONS)
  local margin = {}
  for _, row in ipairs(run.rows) do
    local at = row.passage_id .. row.question
    if row.press == "knorm" then margin[at] = row.margin end
  end
  for _, row in ipairs(run.rows) do
    if row.press == "twin" then t.eq(row.margin, margin[row.passage_id .. row.question]) end
  end
end)

t.case("what may be evicted", function()
  for _, evictable in ipairs { "passage", "context" } do
    local outside, sets = 0, 0
    tiny.watching(model, "add", function(_, request)
      local keep, passage = request.keep, request.tag.asked.unit.index.passage
      if not keep then return end
      sets = sets + 1
      for l = 0, keep.layers - 1 do
        for h = 0, keep.kv_heads - 1 do
          outside = outside + passage[1] - keep:count(l, h, 0, passage[1]) + (keep.tokens - passage[2]) - keep:count(l,
            h, passage[2], keep.tokens)
          local n = evictable == "passage" and passage[2] - passage[1] or keep.tokens
          local kept = evictable == "passage" and keep:count(l, h, passage[1], passage[2]) or keep:count(l, h)
          t.eq(kept, kv.ratios.n_kept(n, .5))
        end
      end
    end, function() sweep { presses = { "knorm" }, ratios = { .5 }, evictable = evictable } end)
    t.eq(sets, QUESTIONS)
    t.ok(evictable == "passage" and outside == 0 or evictable == "context" and outside > 0)
  end
end)

t.case("questions before the passage, or after it", function()
  local run = sweep { regimes = { "agnostic", "aware", "aware_one" }, presses = { "knorm" }, ratios = { 0, .9 } }
  t.eq(#run.rows, QUESTIONS * 2 * 3)
  local tokens, seen = { agnostic = {}, aware = {}, aware_one = {} }, {}
  for _, row in ipairs(run.rows) do
    t.ok(not seen[row.key])
    seen[row.key] = true
    tokens[row.regime][row.passage_id .. "|" .. row.question] = row.context_tokens
  end
  for at, n in pairs(tokens.agnostic) do
    t.ok(tokens.aware[at] > tokens.aware_one[at] and tokens.aware_one[at] > n)
  end
  local alone = sweep { regimes = { "aware_one" }, presses = { "knorm" }, ratios = { 0, .9 } }
  local margin = {}
  for _, row in ipairs(run.rows) do margin[row.key] = row.margin end
  for _, row in ipairs(alone.rows) do t.eq(row.margin, margin[row.key], row.key) end
end)

t.case("presses that know the question are asked anew for every question", function()
  local seen = {}
  local function columns(view) -- the share of (layer, head, token) of the answer that is kept, and what the set is
    if not view.keep then return {} end
    local kept, n = 0, 0
    for _, id in ipairs(view.question.fact_ids or {}) do
      for _, mention in ipairs(view.index.facts[id] or {}) do
        if mention.value then
          for l = 0, view.keep.layers - 1 do
            for h = 0, view.keep.kv_heads - 1 do
              kept = kept + view.keep:count(l, h, mention.value[1], mention.value[2])
              n = n + mention.value[2] - mention.value[1]
            end
          end
        end
      end
    end
    return { answer_kept = n > 0 and kept / n or nil, set = view.keep:hash() }
  end
  local run = kv.sweep { model = model, dataset = data, presses = { "knorm", "oracle",
    { press = "rescue", of = "knorm" },
    { press = "ablation", of = "knorm" } }, ratios = { 0, 0.7 }, quiet = true,
    metrics = { { name = "answers", columns = columns } } }
  t.eq(#run.rows, QUESTIONS * (1 + 4))
  local rescued = 0
  for _, row in ipairs(run.rows) do
    if row.press:find "rescue" and row.answer_kept then
      t.eq(row.answer_kept, 1, row.key)
      rescued = rescued + 1
    end
    if row.press:find "ablation" and row.answer_kept then t.eq(row.answer_kept, 0, row.key) end
    if row.press == "oracle" then
      seen[row.passage_id] = seen[row.passage_id] or {}
      seen[row.passage_id][row.set] = true
    end
    if row.ratio > 0 then t.near(row.effective_ratio, 0.7, 0.02, row.key) end
  end
  t.ok(rescued > 0, "some questions have an answer in the text")
  for _, sets in pairs(seen) do
    local n = 0
    for _ in pairs(sets) do n = n + 1 end
    t.ok(n > 1, "the oracle keeps other tokens for other questions")
  end
end)

t.case("rows of decoding presses say what was left after the last cut", function()
  local run = kv.sweep { model = model, dataset = data, presses = { { press = "decoding", of = "knorm",
    compression_interval = 4 }, "knorm" }, ratios = { 0.7 }, quiet = true, max_new_tokens = 12, ignore_stop = true }
  for _, row in ipairs(run.rows) do
    if row.press == "knorm" then
      t.eq(row.decode_cuts, nil)
    else
      t.ok(row.decode_cuts >= 2 and row.decode_kept > 0 and row.decode_context_kept < 1, row.key)
      t.ok(row.notes:find "before the question", row.key)
    end
  end
end)

t.case("what a record's contexts begin with is prefilled once, and changes no row", function()
  local presses = { "knorm", "expected_attention", { press = "snapkv", window_size = 16 }, "observed_attention" }
  local function rows(prefix_cache)
    local run = sweep { regimes = { "aware_one" }, presses = presses, ratios = { 0, .5, .9 },
      prefix_cache = prefix_cache }
    local by_key = {}
    for _, row in ipairs(run.rows) do by_key[row.key] = json.encode(row) end
    return by_key, run.shared_tokens, #run.rows
  end
  local plain, none, n = rows(false)
  local cached, shared, m = rows(true)
  t.eq(none, 0)
  t.ok(shared > 3 * 3 * 30, shared .. " tokens were copied") -- 3 records, 3 of 4 contexts each
  t.eq(m, n)
  for key, row in pairs(plain) do t.eq(cached[key], row) end
end)

t.case("the bytes of a sweep are given back", function()
  local function live()
    for _ = 1, 4 do collectgarbage() end
    return tonumber(C.kvb_memory_bytes(C.KVB_MEM_CACHE)), tonumber(C.kvb_memory_bytes(C.KVB_MEM_TENSOR)),
      tonumber(C.kvb_memory_bytes(C.KVB_MEM_SCRATCH))
  end
  sweep()
  local cache, tensors, scratch = live()
  sweep()
  local a, b, c = live()
  t.ok(a <= cache and b <= tensors and c <= scratch, ("%d %d %d, before %d %d %d"):format(a, b, c, cache, tensors,
    scratch))
end)

model:close()
os.execute(("rm -rf '%s'"):format(root))
