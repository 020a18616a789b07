-- SPDX-License-Identifier: Apache-2.0
-- Broken files, impossible requests, objects used after their end: one clear line on stderr, exit status 1, no crash,
-- nothing half-written. Parsers under arbitrary bytes are the fuzz targets' matter; here it is what a user can run
-- into.
local C = require("kvbench.ffi").C
local ffi = require "ffi"
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "tests/e2e"
local paths = require "kvbench.paths"
local process = dofile(here .. "/process.lua")
local registry = require "kvbench.registry"
local t = require "kvbench.testing"

local function refused(pattern, ...)
  local r = process.run(...)
  t.ok(r.err:find(pattern), "expected " .. pattern .. ", got: " .. r.err)
  t.ok(r.err:find "^kvbench: [^\n]+\n$", "one line, got: " .. r.err)
  t.ok(r.status == 1 or r.status == 2, "status " .. tostring(r.status))
  t.eq(r.out, "")
end

local function u32(n) return ffi.string(ffi.new("uint32_t[1]", n), 4) end
local function u64(n) return ffi.string(ffi.new("uint64_t[1]", n), 8) end
local function text(s) return u64(#s) .. s end
local function gguf(tensors, keys, body) return "GGUF" .. u32(3) .. u64(tensors) .. u64(keys) .. body end
local function architecture(name) return text "general.architecture" .. u32(8) .. text(name) end

t.case("files that are no models", function()
  refused("is empty", "model", "info", process.write("empty.gguf", ""))
  refused("'thes', expected 'GGUF'", "model", "info", process.write("notes.gguf", "these are my notes\n"))
  refused("version 9", "model", "info", process.write("v9.gguf", "GGUF" .. u32(9) .. u64(0) .. u64(0)))
  refused("without config.json", "model", "info", process.folder)
  refused("no model 'smollm3'.*did you mean 'smollm2'", "model", "info", "smollm3")
  refused("no model '/nowhere/x.gguf'", "model", "info", "/nowhere/x.gguf")
  refused("usage: kvbench model info MODEL", "model", "info")
  refused("did you mean 'info'", "model", "inof", "x")
end)

t.case("benchmarks and workers of impossible numbers", function()
  refused("--rows is 0, expected a whole number from 1", "bench", "decode", "--rows", "0")
  refused("--new is 1.5", "bench", "sweep", "--new", "1.5")
  refused("--trunk is 15 of %-%-question%-tokens 15", "bench", "sweep", "--trunk", "15")
  refused("--seconds is 0", "bench", "prefill", "--seconds", "0")
  refused("c[pu][ud][xa]", "--gpus", "cpux", "bench", "sweep")
  refused("press 'nope' is unknown", "bench", "press", "--presses", "nope")
  refused("'a' is not a number of tokens", "bench", "press", "--lengths", "a,b")
  refused("'smollm2' has its own %-> %-%-model random:", "bench", "paper-grid", "--tokenizer", process.folder)
  refused("--device is an option of kvbench itself %-> put it before", "bench", "peak", "--device", "cuda")
  refused("--passages is %-3, expected a whole number", paths.at "experiments/safety_cliff.lua", "--passages", "-3")
end)

t.case("hostile GGUF headers: counts and sizes are checked before they are used", function()
  local huge = 2 ^ 62
  refused("claims", "model", "info", process.write("tensors.gguf", gguf(huge, 0, ("\0"):rep(64))))
  refused("claims", "model", "info", process.write("keys.gguf", gguf(0, huge, ("\0"):rep(64))))
  local tensor = text "token_embd.weight" .. u32(2) .. u64(2 ^ 31) .. u64(2 ^ 31) .. u32(0) .. u64(0)
  refused("'token_embd.weight'", "model", "info", process.write("elements.gguf",
    gguf(1, 1, architecture "llama" .. tensor .. ("\0"):rep(64))))
  refused("gguf", "model", "info", process.write("string.gguf", gguf(0, 1, u64(huge) .. ("x"):rep(64))))
end)

t.case("Hugging Face folders: config.json that is not one", function()
  local function folder(name, config)
    process.shell("mkdir -p " .. name)
    process.write(name .. "/config.json", config)
    return process.folder .. "/" .. name
  end
  refused("config.json", "model", "info", folder("cut", '{"model_type": "llama", '))
  refused("config.json", "model", "info", folder("array", "[1, 2]"))
  refused("mamba", "model", "info", folder("mamba", '{"model_type": "mamba"}'))
  refused("num_hidden_layers is 33333332, at most 10000", "model", "info", folder("deep", '{"model_type": "gemma3_text", '
    .. '"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 33333332, "intermediate_size": 48, '
    .. '"vocab_size": 40, "max_position_embeddings": 512, "rms_norm_eps": 1e-6}'))
  refused("hidden_size", "model", "info", folder("hole", '{"model_type": "llama", "num_hidden_layers": 2}'))
end)

t.case("unknown presses, datasets, styles: the nearest name", function()
  refused("press.*snpakv.*'snapkv'", "-e", "require('kvbench').press('snpakv')")
  refused("adakv%(ea%).*kv.press.\"adakv\", {.*of = \"ea\"", "-e", "kv.press('adakv(ea)')")
  refused("window_size", "-e", "require('kvbench').press('snapkv', {windowsize = 3})")
  refused("dataset 'bsae'.*'base'", "-e", "require('kvbench').dataset('bsae', {size = 1})")
end)

t.case("a press whose observation is missing reads the context again and says so", function()
  local r = process.run("-e", [[local kv = require "kvbench"
    local model = kv.model.load(require("kvbench.paths").at "tests/golden/models/llama")
    local keep = kv.press("snapkv"):keep(model:prefill { 1, 2, 3, 4, 5, 6, 7, 8 }, 0.5)
    print(keep:count(0, 0))]])
  t.eq(r.status, 0)
  t.eq(r.out, "4\n")
  t.ok(r.err:find "snapkv.*read again.*queries[^\n]*\n$", r.err)
end)

local model_file = paths.cache() .. "/" .. registry.models.smollm2.file
if C.kvb_path_kind(model_file) ~= 1 then
  t.skip("bad requests to a model", "the default model is not in the cache (make setup)")
  process.done()
  return
end

t.case("a truncated model is refused before its weights are read", function()
  process.shell("head -c 50000000 '" .. model_file .. "' > cut.gguf")
  refused("cut.gguf", "model", "info", process.folder .. "/cut.gguf")
  refused("cut.gguf", "-e", "require('kvbench').model.load('" .. process.folder .. "/cut.gguf')")
end)

-- The model and a short context, then the line that must fail; one process for all of them, since loading takes a
-- while.
local cases = {
  { "an empty prompt", "model:prefill('')", "empty" },
  { "a prompt longer than the model's positions", "model:prefill(('word '):rep(9000))", "8192" },
  { "a question that is empty", "ctx:generate('')", "the question has no tokens" },
  { "a ratio of 1", "kv.press('knorm'):keep(ctx, 1)", "ratio.* 1 is outside %[0, 1%)" },
  { "a negative ratio", "kv.press('knorm'):keep(ctx, -0.1)", "%-0.1 is outside %[0, 1%)" },
  { "a ratio that is no number", "kv.press('knorm'):keep(ctx, 0/0)", "ratio" },
  { "a press of a wrong shape", "mine(function(s, c) return c.keys end):keep(ctx, 0.5)", "shape %[%d+, 3, %d+, 64%]" },
  { "a press with NaN", "mine(function(s, c) return c.keys:norm(-1):fill_(0/0) end):keep(ctx, 0.5)", "NaN" },
  { "a press that returns nothing", "mine(function() end):keep(ctx, 0.5)", "press 'mine'" },
  { "a press that fails", "mine(function() error('no score today', 0) end):keep(ctx, 0.5)", "no score today" },
  { "something that was not observed", "return ctx.queries", "queries" },
  { "a keep-set of another context", "model:prefill('x'):generate('x', {keep = kv.press('knorm'):keep(ctx, 0.5)})",
    "token" },
  { "a context after close", "local c = model:prefill('gone soon') c:close() c:generate('x')", "closed" },
  { "a model after close", "model:close() model:prefill('x')", "closed" },
}
local lines = { [[
local kv = require "kvbench"
local model = kv.model.load("smollm2")
local ctx = model:prefill("The Salt Gate bridge was designed by Nyla Soren and opened in 1931.")
local function mine(score) return kv.press { name = "mine", score = score } end
local function try(name, fn)
  local ok, e = require("kvbench.errors").call(fn)
  print(name .. "\t" .. (ok and "NOTHING WAS RAISED" or (e.text:gsub("\n", "\\n"))))
end]] }
for _, case in ipairs(cases) do lines[#lines + 1] = ("try(%q, function() %s end)"):format(case[1], case[2]) end
local run = process.run(process.write("requests.lua", table.concat(lines, "\n")))
local answers = {}
for line in run.out:gmatch "[^\n]+" do
  local name, answer = line:match "^(.-)\t(.*)$"
  if name then answers[name] = answer end
end
for _, case in ipairs(cases) do
  t.case(case[1], function()
    local answer = answers[case[1]] or "the process ended before: " .. run.err
    t.ok(answer:find(case[3]), "expected " .. case[3] .. ", got: " .. answer)
    t.ok(answer ~= "NOTHING WAS RAISED" and not answer:find "\\n", answer)
    t.ok(not answer:find "^[^ ]*%.lua:%d+:", "reads like a mistake of ours: " .. answer)
  end)
end

process.done()
