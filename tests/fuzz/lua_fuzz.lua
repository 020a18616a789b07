-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/fuzz/lua_fuzz.lua TARGET [--seconds N] [--seed N] [--only K] [--dump FILE] FILE...: mutated inputs for
-- what is read in Lua (lua_targets.lua). Mutation K of a file depends on the file, the seed and K alone.
local library = require "kvbench.ffi"
local rng = require "kvbench.rng"
local C = library.C

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

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

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local opt = { seconds = 5, seed = 1 }
local name, inputs = arg[1], {}
for i = 2, #arg do
  local key = arg[i]:match "^%-%-(%a+)$"
  if key then opt[key] = tonumber(arg[i + 1]) or arg[i + 1]
  elseif not (arg[i - 1] or ""):find "^%-%-" then inputs[#inputs + 1] = arg[i] end
end
local run, clean = dofile(here .. "/lua_targets.lua")(name)
local passed, failed, begin = 0, 0, C.kvb_time()
for i, path in ipairs(inputs) do
  local content, k = read(path), opt.only or 0
  repeat
    local text = mutated(content, opt.seed, k)
    if opt.dump then library.check(C.kvb_file_write(opt.dump, text, #text)) end
    local from = C.kvb_time()
    local problem = run(text)
    if not problem and C.kvb_time() - from > 10 then problem = "took more than 10 s" end
    if problem then
      failed = failed + 1
      problem = problem:gsub("%c", " "):sub(1, 600)
      print(("FAIL %s: mutation %d: %s (repeat with --only %d)"):format(path, k, problem, k))
    else
      passed = passed + 1
    end
    k = k + 1
  until opt.only or failed > 20 or C.kvb_time() - begin > opt.seconds * i / #inputs
end
clean()
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0 and 0 or 1)
