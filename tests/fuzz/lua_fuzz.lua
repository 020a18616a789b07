-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/fuzz/lua_fuzz.lua TARGET [--seconds N] [--seed N] [--only K] [--dump FILE] FILE...: mutated inputs for
-- what
-- is read in Lua. Each is taken or refused with one line that is meant for the user: an error with a place in our code
-- is
-- a fault of ours, as is a changed byte counter. Mutation K of a file depends on the file, the seed and K alone.
local ffi = require "ffi"
local json = require "kvbench.json"
local kv = require "kvbench"
local library = require "kvbench.ffi"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"
local C = library.C

local base = os.tmpname()
os.remove(base)
local function write(path, text) library.check(C.kvb_file_write(path, text, #text)) end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- ---- targets: what is done with an input; `files` are made first and removed last ----

local targets, files = {}, nil

local function model_folder()
  if not files then
    files = dofile(paths.at "tests/lua/model_files.lua")
    files.hf(base, {})
  end
  return base
end

--- config.json of a model folder, up to the description that the engine gets.
function targets.config(text)
  local folder = model_folder()
  write(folder .. "/config.json", text)
  local source = kv.model.source(folder)
  local ok, why = pcall(function()
    local model = kv.model.load(folder, { device = "cpu", dtype = "f32" })
    model:close()
  end)
  source.weights:close()
  if not ok then error(why, 0) end
end

--- JSON lines: own records, SQuAD, LongBench.
function targets.jsonl(text)
  local path, n = base .. ".jsonl", 0
  write(path, text)
  for record, reject in kv.dataset.stream(path) do
    n = n + 1
    if not record and (type(reject.reason) ~= "string" or reject.reason:find "%.lua:%d") then
      error(("a reject without a reason for users: %s (x.lua:1)"):format(tostring(reject.reason)), 0)
    end
    if record then kv.prompt.render("fewshot", record, {}) end
    if n > 200 then break end
  end
end

--- tokenizer_config.json and generation_config.json (one text for both) beside a good tokenizer.json.
local vocabulary
function targets.tokenizer_config(text)
  vocabulary = vocabulary or read(paths.at "tests/golden/tokenizer/qwen2_small/tokenizer.json")
  local config = json.decode(text, "tokenizer_config.json")
  local it = require("kvbench.tokenizer").from_json(vocabulary, "fuzz", config, config)
  it:encode("a b", { special = true })
  local name = require("kvbench.prompt.chat").detect { name = "x", tokenizer = it }
  if name then require("kvbench.prompt.chat").turn(name) end
  it:close()
end

--- A prompt: the input is the passage, the question, a system text and the name of a style or template.
function targets.template(text)
  local chat, escape = require "kvbench.prompt.chat", require "kvbench.prompt.escape"
  local clean = escape.text(text)
  for _, name in ipairs(chat.names()) do
    local whole = chat.render(name, { { role = "user", content = clean } })
    local bare = chat.render(name, { { role = "user", content = "" } })
    for mark in bare:gmatch "<|[%w_]+|>" do -- no more turns than without the text
      local _, with = whole:gsub(mark:gsub("%p", "%%%0"), "")
      local _, without = bare:gsub(mark:gsub("%p", "%%%0"), "")
      if with ~= without then error(("%s: the text opened a turn with %s (x.lua:1)"):format(name, mark), 0) end
    end
  end
  pcall(chat.template, text)
  local record = { id = "1", task = "base", passage = text, facts = {}, questions = { { q = text, a = text,
    aliases = {}, fact_ids = {}, direction = "forward" } } }
  for _, style in ipairs { "fewshot", "paper" } do
    local p = kv.prompt.render(style, record, { regime = "aware", question = record.questions[1] })
    local from, to = p.passage_span[1], p.passage_span[2]
    if from < 0 or to > #p.context or from > to then error("the passage's span is outside the prompt (x.lua:1)", 0) end
    p.suffix(text)
  end
end

--- A press as JSON, as run files hold it.
function targets.press_spec(text)
  local spec = json.decode(text, "spec")
  if type(spec) ~= "table" then return end
  local press, why = kv.press.from_spec(spec)
  if not press then error(why, 0) end
  press:label()
end

-- ---- mutating ----

local words = { "0", "-1", "1e309", "9223372036854775808", "0.5", "null", "true", "[]", "{}", '""', "[[[[", "}",
  "\\u0000", "\\ud800", "\255", "\192\128", "\0", "\n", "<|im_start|>", "[INST]", '"a":', ",", "%d", "\27" }

local edits = {
  function(r, s) -- a bit
    if s == "" then return s end
    local at = r:int(1, #s)
    return s:sub(1, at - 1) .. string.char(bit.bxor(s:byte(at), 2 ^ r:int(0, 7))) .. s:sub(at + 1)
  end,
  function(r, s) local at = r:int(0, #s) return s:sub(1, at) .. words[r:int(1, #words)] .. s:sub(at + 1) end,
  function(r, s) local at = r:int(0, #s) return s:sub(1, at) .. s:sub(at + 1 + r:int(0, 40)) end,
  function(r, s) local from = r:int(0, #s) local at = r:int(0, #s)
    return s:sub(1, at) .. s:sub(from, from + r:int(0, 60)) .. s:sub(at + 1) end,
  function(r, s) return r:int(1, 4) == 1 and s:sub(1, r:int(0, #s)) or s end,
  function(r, s) -- one value of JSON by another
    local at = r:int(1, math.max(#s, 1))
    return s:sub(1, at - 1) .. s:sub(at):gsub('(:%s*)([%w%."%-_]+)', function(colon)
      return colon .. words[r:int(1, 11)]
    end, 1)
  end,
}

local function mutated(text, seed, k)
  if k == 0 then return text end
  local r = rng.new(("%s/%d/%d"):format(seed, k, #text))
  for _ = 1, r:int(1, 4) do text = edits[r:int(1, #edits)](r, text) end
  return text
end

-- ---- running ----

local function problem_of(run, text)
  local ok, why = pcall(run, text)
  if ok then return nil end
  if type(why) ~= "string" then return "the error is a " .. type(why) end
  if why:gsub("press '[^']*' %b()", ""):find "%.lua:%d+" then return why end
  if select(2, why:gsub("\n", "")) > 1 then return "more than a line and a hint: " .. why end
  if #why > 4000 then return "an error of " .. #why .. " bytes" end
end

local opt = { seconds = 5, seed = 1 }
local name, inputs = arg[1], {}
for i = 2, #arg do
  local key = arg[i]:match "^%-%-(%a+)$"
  if key then opt[key] = tonumber(arg[i + 1]) or arg[i + 1]
  elseif not (arg[i - 1] or ""):find "^%-%-" then inputs[#inputs + 1] = arg[i] end
end
local run = targets[name] or error("no target " .. tostring(name), 0)
local passed, failed, begin = 0, 0, C.kvb_time()
for i, path in ipairs(inputs) do
  local content, k, before = read(path), opt.only or 0, nil
  repeat
    local text = mutated(content, opt.seed, k)
    if opt.dump then write(opt.dump, text) end
    local from = C.kvb_time()
    local problem = problem_of(run, text)
    if not problem and C.kvb_time() - from > 10 then problem = "took more than 10 s" end
    if problem then
      failed = failed + 1
      problem = problem:gsub("%c", " "):sub(1, 600)
      print(("FAIL %s: mutation %d: %s (repeat with --only %d)"):format(path, k, problem, k))
    else
      passed = passed + 1
    end
    k = k + 1
    if k % 64 == 0 then
      collectgarbage() collectgarbage()
      local now = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
      before = before or now
      if now > before + 2 ^ 20 then
        failed = failed + 1
        print(("FAIL %s: %d bytes in use after %d mutations, %d before"):format(path, now, k, before))
        break
      end
    end
  until opt.only or failed > 20 or C.kvb_time() - begin > opt.seconds * i / #inputs
end
if files then files.remove(base) end
os.remove(base .. ".jsonl")
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0 and 0 or 1)
