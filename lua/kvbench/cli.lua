-- SPDX-License-Identifier: Apache-2.0
-- The command line: kvbench [options] [script [arguments]]. What stands before the script is ours, what follows is the
-- script's. Returns the exit status: 0 done, 1 failed, 2 not understood, 130 interrupted.
local words, home, header, ops = ...
package.preload["kvbench.cdef"] = function() return { header = header, ops = ops } end
local paths = require "kvbench.paths"
paths.home = home
local errors = require "kvbench.errors"
local options = require "kvbench.options"
local signal = require "kvbench.signal"
local text = require "kvbench.text"

local PATIENCE = 2 -- seconds a sweep gets after Ctrl-C to finish its step and write what it has

local USAGE = [==[
kvbench [options] [script.lua [arguments]]   run a script; without one: the prompt
kvbench model info MODEL                     what a model file or folder is
kvbench press list|new NAME|check FILE       eviction rules: the registry, a skeleton, tests and a small safety cliff
kvbench bench sweep|decode|press|store ..    speed and memory on this machine; kvbench bench names them all
kvbench dataset list|show|check|tags|make .. datasets: look, validate, tag, write; kvbench dataset --help
kvbench runs list|show|diff|export|merge ..  stored runs; kvbench runs --help
kvbench submit SCRIPT --tasks 64 [-- ..]      its sweeps as a Slurm job array; kvbench submit --help
kvbench prompt show TASK|FILE [N] | list     a record's prompt, and where the cache is compressed

  -e CODE          run CODE (before the script, if there is one); kv and help are there, as at the prompt
  -i               the prompt after the script or CODE
  --device NAME    auto, cuda or cuda:N, cpu, ref (the scalar reference)
  --gpus LIST      a sweep or benchmark on several GPUs: all, or numbers such as 0,1
  --dtype NAME     auto, f32, bf16: weights and cache
  --threads N      1 .. CPUs this process may use; 0 = all
  --seed TEXT      default of the scripts' own seed
  --sandbox        run press files that are not kvbench's own in processes that can do nothing else
  --trust          with --sandbox: the script is yours, run it as ever
  --strict         an operation that a backend lacks is an error, not a slower reference
  --api            print the C interface with its documentation
  --version
  --help           this text; after the script's name: the script's parameters

Ctrl-C stops a script and keeps what is finished; a second one ends it at once.
KVBENCH_CACHE: where models are kept. KVB_TRACE=1: full tracebacks.]==]

local function fail(status, message, ...)
  io.stdout:flush()
  local line = select("#", ...) > 0 and message:format(...) or message
  io.stderr:write("kvbench: ", (line:gsub("[%z\1-\8\11-\31\127]", "?")), "\n") -- names come from files
  return status
end

-- What the command line asked for cannot be understood: exit status 2.
local function misused(message, ...)
  error(require("kvbench.args").finish(2, select("#", ...) > 0 and message:format(...) or message), 0)
end

local function one_of(list)
  return function(word, option)
    for _, name in ipairs(list) do if word == name then return word end end
    misused("%s '%s' is unknown %s", option, word, text.suggest(word, list))
  end
end

local function device(word, option)
  if word:find("^cuda:%d+$") then return word end
  return one_of { "auto", "cpu", "ref", "cuda" }(word, option)
end

local function threads(word, option)
  local n = tonumber(word)
  if not n or n ~= math.floor(n) then misused("%s wants a whole number, got '%s'", option, word) end
  local library = require "kvbench.ffi"
  library.check(library.C.kvb_threads_set(math.max(-1, math.min(n, 1e6))))
  return n
end

-- Options with a value: a function from the word to what is stored.
local valued = {
  ["--device"] = device, ["--dtype"] = one_of { "auto", "f32", "bf16", "f16" }, ["--threads"] = threads,
  ["--gpus"] = function(word) return word end, ["--seed"] = function(word) return word end,
  ["-e"] = function(word) return word end,
}
local flags = { "-i", "-h", "--help", "--version", "--api", "--strict", "--sandbox", "--trust" }

local function all_options()
  local names = { unpack(flags) }
  for name in pairs(valued) do names[#names + 1] = name end
  return names
end

-- Splits the command line into {code =, interactive =, action =} and the index of the first word that is not ours.
local function parse()
  local plan, i = {}, 1
  while words[i] and words[i]:sub(1, 1) == "-" and words[i] ~= "-" do
    local word, value = words[i], nil
    if word:find("^%-%-[^=]+=") then word, value = word:match("^(.-)=(.*)$") end
    if word == "--" then i = i + 1 break end
    if valued[word] then
      if not value then
        i = i + 1
        value = words[i]
        if not value then misused("%s wants a value; see kvbench --help", word) end
      end
      local converted = valued[word](value, word)
      if word == "-e" then plan.code = converted else options[word:sub(3)] = converted end
    elseif value then
      misused("unknown option '%s' with a value; see kvbench --help", word)
    elseif word == "-i" then plan.interactive = true
    elseif word == "-h" or word == "--help" then plan.action = "help"
    elseif word == "--version" or word == "--api" then plan.action = word:sub(3)
    elseif word == "--sandbox" then options.sandbox = true
    elseif word == "--trust" then options.trust = true
    elseif word == "--strict" then
      options.strict = true
      require("kvbench.ffi").C.kvb_strict_set(1)
    else
      misused("unknown option '%s' %s", word, text.suggest(word, all_options(), 16))
    end
    i = i + 1
  end
  return plan, i
end

local function version()
  local ffi, C = require "ffi", require("kvbench.ffi").C
  print(("kvbench %s (%s), %s, %s, %d threads"):format(ffi.string(C.kvb_version()), ffi.string(C.kvb_git_revision()),
    jit.version, ffi.string(C.kvb_cpu_tier()), C.kvb_threads()))
end

-- Subcommands get the words after their name; they return an exit status or nothing.
local commands = {
  bench = function(rest) return require("kvbench.bench").main(rest) end,
  press = function(rest) return require("kvbench.press_command").main(rest) end,
  prompt = function(rest) return require("kvbench.prompt.command").main(rest) end,
  runs = function(rest) return require("kvbench.runs").main(rest) end,
  submit = function(rest) return require("kvbench.submit").main(rest) end,
  dataset = function(rest) return require("kvbench.dataset.command").main(rest) end,
  model = function(rest)
    local verb, usage = rest[1], "usage: kvbench model info MODEL (a registry name, a file or a folder)"
    if verb and verb ~= "info" then
      misused("no command 'model %s' %s; %s", verb, text.suggest(verb, { "info" }), usage)
    end
    if #rest ~= 2 then misused(usage) end
    print(require("kvbench.model.info").of(rest[2]))
  end,
}

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- A script by its path, or by its path inside home (so that a bundle's experiments run from anywhere).
local function find_script(name)
  if name == "-" then return nil end
  for _, path in ipairs { name, paths.at(name) } do if exists(path) then return path end end
  if not name:find("[/.]") then
    local names = {}
    for command in pairs(commands) do names[#names + 1] = command end
    misused("no command or script '%s' %s", name, text.suggest(name, names))
  end
  local library, ffi = require "kvbench.ffi", require "ffi"
  local folder, base = name:match("^(.*)/([^/]*)$")
  local list, hint = ffi.new("const char *[1]"), ""
  for _, place in ipairs { folder or ".", paths.at(folder or "") } do
    if hint == "" and library.C.kvb_path_kind(place) == 2 and library.C.kvb_dir_list(place, list) == 0 then
      local scripts = {}
      for entry in ffi.string(list[0]):gmatch("[^\n]+") do scripts[#scripts + 1] = entry:match("^.+%.lua$") end
      local near = text.nearest(base or name, scripts)
      if near then hint = " -> did you mean '" .. (folder and folder .. "/" or "") .. near .. "'?" end
    end
  end
  error(("no script '%s'%s"):format(name, hint), 0)
end

-- arg[0] becomes the path found, so that a script can find the files beside it.
local function load_script(name)
  local path = find_script(name)
  local chunk, problem = loadfile(path)
  if not chunk then error(problem, 0) end
  arg[0] = path or name
  return chunk
end

local function check_trust(plan, name)
  if options.trust and not options.sandbox then misused("--trust goes with --sandbox") end
  if name then return require("kvbench.sandbox").check_script(find_script(name) or name, name) end
  if options.sandbox and not options.trust and not plan.code then
    io.stderr:write("kvbench: --sandbox holds press files; what is typed here can do whatever you can\n")
  end
end

-- A test file that was run by itself closes with the line that the runner would print.
local function finish_tests()
  local testing = package.loaded["kvbench.testing"]
  if testing and not testing.finish() then return 1 end
  return 0
end

local function run(plan, first)
  options.words = words
  if os.getenv "KVBENCH_SHARD_DEVICE" then options.device = os.getenv "KVBENCH_SHARD_DEVICE" end
  if plan.action == "help" then print(USAGE) return 0 end
  if plan.action == "version" then version() return 0 end
  if plan.action == "api" then io.stdout:write(header) return 0 end
  local name = words[first]
  arg = { [0] = name, unpack(words, first + 1) }
  if not commands[name] or plan.code then check_trust(plan, name) end
  if plan.code then
    local chunk, problem = loadstring(plan.code, "=-e")
    if not chunk then error(problem, 0) end
    require("kvbench.repl").globals()
    chunk(unpack(arg))
  end
  if commands[name] and not plan.code then return commands[name](arg) or 0 end
  local status = 0
  if name then
    load_script(name)(unpack(arg))
    status = finish_tests()
  end
  if plan.interactive or not (name or plan.code) then return require("kvbench.repl").main() end
  return status
end

if words[1] == "--sandbox-child" then return require("kvbench.sandbox_child").main() end -- see sandbox.lua
signal.patience(PATIENCE)
local plan
local ok, result = errors.call(function()
  local first
  plan, first = parse()
  return run(plan, first)
end)
if signal.cancelled() then
  local told = not ok and result.text:find "^interrupted: " -- by a sweep: how much is done, and how to go on
  return fail(130, "%s", ok and "interrupted; what was finished is kept" or told and result.text or "interrupted")
end
if ok then return result end
if result.exit == 0 then
  print(result.text)
  return 0
end
return fail(result.exit, "%s%s", result.text, result.trace)
