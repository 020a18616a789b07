-- SPDX-License-Identifier: Apache-2.0
-- What is done with an input of what is read in Lua: dofile(this)(TARGET) gives run(text), which returns nothing when
-- the text was taken, or refused with one line that is meant for the user; else what is wrong: an error with a place in
-- our code, bytes that are not given back. lua_fuzz.lua and lua_libfuzzer.c make the inputs.
local json = require "kvbench.json"
local kv = require "kvbench"
local library = require "kvbench.ffi"
local paths = require "kvbench.paths"
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

-- ---- judging ----

local function problem_of(run, text)
  local ok, why = pcall(run, text)
  if ok then return nil end
  if type(why) ~= "string" then return "the error is a " .. type(why) end
  if why:gsub("press '[^']*' %b()", ""):find "%.lua:%d+" then return why end
  if select(2, why:gsub("\n", "")) > 1 then return "more than a line and a hint: " .. why end
  if #why > 4000 then return "an error of " .. #why .. " bytes" end
end

-- Library bytes in use, after all that Lua has let go of.
local function in_use()
  collectgarbage() collectgarbage()
  return tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
end

local LOOK, MOST = 64, 2 ^ 20 -- inputs between two looks at the byte counter, and by how much it may rise

--- run(text) of a target, as above, and clean(), which removes its files.
return function(name)
  local run = targets[name] or error("no target " .. tostring(name), 0)
  local n, first = 0, nil
  return function(text)
    local problem = problem_of(run, text)
    n = n + 1
    if problem or n % LOOK > 0 then return problem end
    local now = in_use()
    first = first or now
    if now > first + MOST then return ("%d bytes in use after %d inputs, %d before"):format(now, n, first) end
  end, function()
    if files then files.remove(base) end
    os.remove(base .. ".jsonl")
  end
end
