-- SPDX-License-Identifier: Apache-2.0
-- Slips of people who write scripts: each is one line that names the call and what was given, never a position inside
-- kvbench, never silence, never a crash.
local t = require "kvbench.testing"
local kv = require "kvbench"
local paths = require "kvbench.paths"

-- slips(title, { {function, pattern}, ... })
local function slips(title, list)
  t.case(title, function()
    for i, slip in ipairs(list) do
      local ok, raised = pcall(slip[1])
      local where = ("slip %d (%s): "):format(i, slip[2])
      t.ok(not ok, where .. "nothing was said")
      local line = tostring(raised):gsub("\n%s*%->", " ->")
      t.ok(line:find(slip[2]), where .. line)
      t.ok(#line < 320 and not line:find "\n" and not line:find "%.lua:%d", where .. "not for a user: " .. line)
    end
  end)
end

local function open(name) return kv.model.load(paths.at("tests/golden/models/" .. name), { device = "cpu" }) end
local model = open "llama"
local ids = {}
for i = 1, 40 do ids[i] = i end
local ctx = model:prefill(ids)
local keep = kv.press("knorm"):keep(ctx, 0.5)

slips("models", {
  { function() kv.model.load() end, "by name or path, got nil %->" },
  { function() kv.model.load("smollm2", "cpu") end, "model.load: options are a table, got 'cpu' %->.*device" },
  { function() kv.model.load("smollm2", { dvice = "cpu" }) end, "no option 'dvice' %-> did you mean 'device'" },
  { function() kv.model.load("smollm2", { threads = "two" }) end, "threads is 'two' %-> a whole number" },
  { function() return kv.modle end, "no module 'modle' %-> did you mean 'model'" },
  { function() model:lens() end, "model:lens: hidden is nil %-> a tensor %[n, 64%]" },
})

slips("prefill", {
  { function() model:prefill() end, "model:prefill: no text was given %->" },
  { function() model:prefill(5) end, "expected a text or an array of token ids, got 5" },
  { function() model:prefill { "a", "b" } end, "token 1 of 2 is 'a' %-> token ids are whole numbers" },
  { function() model:prefill { 1, 1.5 } end, "token 2 of 2 is 1.5" },
  { function() model:prefill { 0 / 0 } end, "token 1 of 1 is %-?nan" },
  { function() model:prefill { 2 ^ 40 } end, "token 1 of 1 is 1099511627776" },
  { function() model:prefill(ids, "queries") end, "what to observe is a table, got 'queries' %-> {queries = true}" },
  { function() model:prefill(ids, { "queries" }) end, "cannot observe 'queries' %->.*{queries = true}" },
  { function() model:prefill(ids, { window_queries = true }) end, "window_queries.* is true %-> a whole number" },
  { function() model:prefill(ids, { window_queries = -3 }) end, "window_queries.* is %-3" },
  { function() model:prefill_many "text" end, "a list of passages, got 'text' %-> model:prefill%(text%)" },
  { function() model:prefill_many({ ids }, {}, { from = "x" }) end, "from is 'x' %-> a context" },
})

slips("asking a context", {
  { function() ctx:generate { 1, "b" } end, "token 2 of 2 is 'b'" },
  { function() ctx:generate({ 1 }, keep) end, "ctx:generate: options are a table, got a KeepSet %-> {keep = keep}" },
  { function() ctx:generate({ 1 }, 24) end, "ctx:generate: options are a table, got 24" },
  { function() ctx:generate({ 1 }, { max_tokens = 3 }) end, "no option 'max_tokens' %->.*max_new_tokens" },
  { function() ctx:generate({ 1 }, { max_new_tokens = 1.5 }) end, "max_new_tokens is 1.5 %-> a whole number" },
  { function() ctx:generate({ 1 }, { max_new_tokens = "ten" }) end, "max_new_tokens is 'ten'" },
  { function() ctx:generate({ 1 }, { position = "end" }) end, "position is 'end' %->" },
  { function() ctx:generate({ 1 }, { keep = 0.9 }) end, "keep is a number, expected a KeepSet %->" },
  { function() ctx:logits({ 1 }, { keeps = keep }) end, "ctx:logits: no option 'keeps' %-> did you mean 'keep'" },
  { function() ctx:logprob { 1 } end, "gold is nil %-> a text or an array of token ids" },
  { function() ctx:hidden_of({ 1 }, { layer = 1 }) end, "no option 'layer' %-> did you mean 'layers'" },
})

slips("parts of a context", {
  { function() ctx:head() end, "ctx:head: no layer nil, KV head nil in a model of 2 and 2" },
  { function() ctx:head(0.5, 0) end, "no layer 0.5" },
  { function() ctx:select "a" end, "ctx:select%('a', nil%): the context has tokens 0 to 40" },
  { function() ctx:select(1.5, 3) end, "ctx:select%(1.5, 3%)" },
  { function() ctx:variant() end, "ctx:variant: nothing was given %-> {keys = tensor" },
  { function() ctx:variant { keys = { 1, 2 } } end, "ctx:variant: keys is a table %-> a tensor" },
  { function() ctx:variant { key = ctx.keys } end, "no option 'key' %-> did you mean 'keys'" },
  { function() ctx:read_on "abc" end, "ctx:read_on: expected an array of token ids, got 'abc'" },
  { function() keep:count() end, "keep:count: layer nil, head nil is outside 2 layers x 2 KV heads" },
  { function() keep:kept("a", 0, 0) end, "keep:kept: layer 'a'" },
  { function() keep:span_cells() end, "keep:span_cells%(nil, nil%): the context has tokens 0 to 40" },
})

local record = kv.dataset("knowledge", { size = 1 }).records[1]
local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir -p " .. folder .. "/folder.jsonl") == 0)
local function file(name, text)
  local f = assert(io.open(folder .. "/" .. name, "wb"))
  f:write(text)
  f:close()
  return folder .. "/" .. name
end
local notes, array = file("notes.txt", "hello\n"), file("array.jsonl", "[{}]\n")
local nothing = file("nothing.jsonl", "\r\n\r\n")

slips("datasets", {
  { function() kv.dataset("base", "A") end, "dataset 'base': options are a table, got 'A'" },
  { function() kv.dataset("base", { sise = 3 }) end, "dataset 'base': no option 'sise' %-> did you mean 'size'" },
  { function() kv.dataset("base", { size = "3" }) end, "size '3' %-> a whole number from 1 to 200" },
  { function() kv.dataset("base", { seed = {} }) end, "seed a table %-> letters" },
  { function() kv.dataset(5) end, "no dataset 5 %-> known: base" },
  { function() kv.dataset(notes) end, "notes.txt' is neither a file of records .* nor a task" },
  { function() kv.dataset(array) end, "array.jsonl:1: .* an array %-> one record a line" },
  { function() kv.dataset(nothing) end, "nothing.jsonl' holds no records %-> one JSON object a line" },
  { function() kv.dataset(folder .. "/folder.jsonl") end, "it is a folder" },
  { function() kv.dataset.read() end, "expected a file name, got nil" },
  { function() kv.dataset.stream() end, "expected a file name, got nil" },
  { function() kv.dataset { record }:save() end, "write: expected a file name, got nil" },
  { function() kv.dataset { record }:save(5) end, "write: expected a file name, got 5" },
  { function() kv.dataset { record }:filter() end, "takes a function, got a nil %->" },
  { function() kv.dataset.save() end, "expected a dataset, got nil %->" },
})

t.case("files from Windows: a byte order mark and CRLF change nothing", function()
  local line = kv.dataset.serialise(record)
  local ds = kv.dataset(file("windows.jsonl", "\239\187\191" .. line .. "\r\n"))
  t.eq(kv.dataset.serialise(ds.records[1]), line)
end)

slips("prompts", {
  { function() kv.prompt.render "paper" end, "expected a record with a passage .*, got nil %->" },
  { function() kv.prompt.render("paper", "text") end, "a record with a passage .*, got 'text'" },
  { function() kv.prompt.render("paper", { passage = 5 }) end, "one whose passage is 5" },
  { function() kv.prompt.render("paper", { passage = "x" }, { regime = "aware" }) end, "it has none %-> questions" },
  { function() kv.prompt.render("paper", record, "aware") end, "prompt.render: options are a table, got 'aware'" },
  { function() kv.prompt.render("paper", record, { regimes = "aware" }) end, "no option 'regimes' %->.*'regime'" },
  { function() kv.prompt.render("paper", record).suffix() end, "expected a question, got nil %-> a text" },
  { function() kv.prompt.render("paper", record).suffix {} end, "expected a question, got a table" },
  { function() kv.prompt.other_questions() end, "there is no record nil in nil" },
  { function() kv.prompt.other_questions({ record }, 9) end, "no record 9 in a list of 1" },
})

slips("the rest", {
  { function() kv.json.decode() end, "json.decode: expected a text, got a nil" },
  { function() kv.json.load() end, "json.load: expected a file name, got nil" },
  { function() kv.json.save() end, "json.save: expected a file name, got nil" },
  { function() kv.args "x" end, "kv.args: expected a table of defaults, got a string %->" },
  { function() kv.plot.heatmap({ { 1, 2 }, { 3, 4 } }):save() end, "figure:save: expected a file name, got nil" },
  { function() require("kvbench.tokenizer").from_json() end, "expected the file's bytes, got nil" },
})

t.case("what was closed says so, and can still be printed", function()
  local other, closed = open "qwen3", model:prefill(ids)
  closed:close()
  other:close()
  t.eq(tostring(closed), "context (closed)")
  t.ok(tostring(other):find ", closed$", tostring(other))
  t.fails(function() closed:generate { 1 } end, "this context was closed %-> prefill the passage again")
end)

ctx:close()
model:close()
os.execute("rm -rf " .. folder)
