-- SPDX-License-Identifier: Apache-2.0
-- --sandbox: a foreign press gives the same scores as without, and cannot do anything else. What the process may not
-- do is tried by tests/unit/test_sandbox.c with system calls; here it is what Lua code would try.
local fake = require "kvbench.fake_context"
local find = require "kvbench.press_find"
local kv = require "kvbench"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local t = require "kvbench.testing"

if os.getenv "KVB_SANITIZED" == "1" then
  t.skip("presses in the sandbox", "a sanitizer's runtime makes system calls that the sandbox forbids")
  return
end

local ctx = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 60, head_dim = 8 }
local count = 0

-- The press of a file with this text, in the sandbox.
local function foreign(text, params)
  count = count + 1
  local path = process.write(("foreign%d.lua"):format(count), text)
  options.sandbox = true
  local ok, press = pcall(kv.press, path, params)
  options.sandbox = false
  if not ok then error(press, 0) end
  return press
end

-- A rule whose score runs `body` first.
local function rule(body)
  return ('local tensor = require "kvbench.tensor"\nreturn { name = "x", score = function(self, ctx)\ndo %s end\n'
    .. "return -ctx.keys:norm(-1) end }"):format(body)
end

local function refused(body, pattern)
  return t.fails(function() foreign(rule(body)):keep(ctx, .5) end, pattern)
end

t.case("the same rule, the same scores", function()
  local text = [[
    local tensor = require "kvbench.tensor"
    return { name = "recent_norm", doc = "Norms, and the last tokens.", needs = { queries = true },
      params = { window = { default = 8, min = 0, integer = true }, power = 2 },
      score = function(self, ctx)
        local window = self:at_most("window", math.floor(ctx.tokens / 2))
        local score = ctx.values:norm(-1, self.power) * 2 - ctx.keys[1]:norm(-1):unsqueeze(1)
        score = score + ctx.queries:mean(-1):group_mean(ctx.group_size)
        score[1] = score[1] + 0.5
        local recent = tensor.arange(ctx.tokens):ge(ctx.tokens - window)
        return tensor.where(recent, math.huge, score)
      end }]]
  local inside = foreign(text)
  local outside = kv.press(process.write("outside.lua", text), { window = 40 })
  t.eq(inside.doc, "Norms, and the last tokens.")
  local a, b = nil, outside
  options.sandbox = true
  a = kv.press(inside.file, { window = 40 })
  options.sandbox = false
  local keep = a:keep(ctx, .5)
  t.eq(a:score(ctx):tolua(), b:score(ctx):tolua())
  t.eq(keep:hash(), b:keep(ctx, .5):hash())
  t.ok(keep.notes[1]:find "window 40 %-> 30", keep.notes[1])
  t.eq(kv.press("chunk", { of = a, chunk_length = 20 }):keep(ctx, .5):hash(),
    kv.press("chunk", { of = b, chunk_length = 20 }):keep(ctx, .5):hash())
end)

-- A foreign wrapper: the scores of another press, of the whole context and of pieces of it.
local WRAPPER = [[
  local parts, tensor = require "kvbench.press_parts", require "kvbench.tensor"
  return { name = "halves", params = { of = { kind = "press" }, weight = 0.5 },
    score = function(self, ctx, ratio)
      local pieces = {}
      for i = 0, 1 do
        local n = math.floor(ctx.tokens / 2)
        local part = ctx:select(i * n, i == 0 and n or ctx.tokens)
        pieces[i + 1] = parts.score(self.of, part, ratio)
      end
      return tensor.cat(pieces, 3) * self.weight + parts.score(self.of, ctx, ratio)
    end }]]

t.case("a foreign wrapper around ours, around a foreign one, and inside ours", function()
  local outside = process.write("halves_outside.lua", WRAPPER)
  local inside = foreign(WRAPPER, { of = "knorm" }).file
  local mine = foreign(rule "").file
  local function pair(build)
    options.sandbox = true
    local ok, a = pcall(build, inside)
    options.sandbox = false
    if not ok then error(a, 0) end
    local b = build(outside)
    t.eq(a:label(), (b:label()))
    for _, ratio in ipairs { .3, .8 } do t.eq(a:keep(ctx, ratio):hash(), b:keep(ctx, ratio):hash()) end
    return a
  end
  local a = pair(function(path) return kv.press(path, { of = { press = "snapkv", window_size = 16 } }) end)
  t.ok(a.needs.window_queries) -- those of the press inside
  pair(function(path) return kv.press(path, { of = "knorm", weight = -2 }) end)
  pair(function(path) return kv.press("adakv", { of = { press = path, of = "tova" } }) end)
  pair(function(path) return kv.press("chunk", { of = { press = path, of = "keydiff" }, chunk_length = 20 }) end)
  options.sandbox = true
  local both = kv.press(inside, { of = mine }) -- two processes
  options.sandbox = false
  t.eq(both:keep(ctx, .5):hash(), kv.press(outside, { of = "knorm" }):keep(ctx, .5):hash())
end)

t.case("what a foreign wrapper may not ask for", function()
  local function asks(body, pattern)
    local text = ('return { name = "w", params = { of = { kind = "press" } }, score = function(self, ctx, ratio)\n%s '
      .. "return self.of:score(ctx) end }"):format(body)
    local press = foreign(text, { of = "knorm" })
    t.fails(function() press:keep(ctx, .5) end, pattern)
  end
  asks("self.of:score({})", "of:score wants the context")
  asks("self.of.score(self.of, ctx.keys)", "of:score wants the context")
  asks("self.of:score(ctx, 7)", "at a ratio outside %[0, 1%)")
  asks("self.of:keep(ctx, .5)", "attempt to call method 'keep'")
  asks("self.of.rule.score()", "attempt to index field 'rule'")
  asks("self.params.of.score = nil self.of.params.x = 1", "attempt to index field 'params'")
  local sandbox = require "kvbench.sandbox"
  local patience = sandbox.seconds
  sandbox.seconds = function() return 1 end
  asks("while true do self.of:score(ctx) end", "asks for the scores of others for more than 1 seconds")
  sandbox.seconds = patience
end)

t.case("the words of an attacker are not there", function()
  for _, name in ipairs { "io", "os", "ffi", "debug", "package", "jit", "load", "loadstring", "loadfile", "dofile",
    "setfenv", "getfenv", "newproxy", "module", "collectgarbage", "arg", "string.dump", "coroutine.isyieldable",
    "math.randomseed" } do
    refused(('error(type(%s) == "nil" and "absent" or "present")'):format(name), "absent")
  end
  for _, name in ipairs { "ffi", "io", "kvbench.ffi", "kvbench.sandbox", "jit.util", "os" } do
    refused(("require '%s'"):format(name), "the sandbox has kvbench.tensor and")
  end
end)

t.case("known ways out of a Lua environment", function()
  local attempts = {
    -- the metatable that all strings share
    'getmetatable("").__index.rep = error', 'error(getmetatable("") == nil and "held" or "open")',
    -- functions of the host behind strings and tensors
    'error((("").dump == nil and ("").format ~= nil) and "held" or "open")',
    'error(getmetatable(ctx.keys) == nil and "held" or "open")', "setmetatable(ctx.keys, {})",
    "rawset(ctx.keys, 'x', 1)", "local k, v = next(ctx.keys)",
    -- fields of the struct behind a tensor: addresses
    "error(tostring(ctx.keys.data))", "ctx.keys.data = 0", "ctx.keys.storage = nil", "ctx.keys['stride'] = 1",
    "ctx.keys:pointer()", "ctx.keys:close()", "local m = ctx.keys.pointer",
    -- indices and shapes far outside
    "local x = ctx.keys[1e15]", "ctx.keys:narrow(1, -5, 1e9)", "ctx.keys:select(3, 2^53)", "tensor.zeros(2^40, 2^40)",
    "tensor.zeros(-1)", "ctx.keys:gather(1, tensor.full({1, 1, 1, 1}, 1e6))", "ctx.keys:view(1e9)",
    "ctx.keys:index(tensor.full({3}, -99))",
    -- methods called with other things than tensors
    "ctx.keys.norm(12345)", "ctx.keys.norm({})", "ctx.keys.norm(print)", "ctx.keys.norm(coroutine.create(print))",
    "ctx.keys:add(function() end)", "ctx.keys.norm(setmetatable({}, {__index = function() return 1 end}))",
    -- error objects and handlers that carry something across
    "error(setmetatable({}, {__tostring = function() return {} end}))", "error(ctx.keys)", "error(nil)", "error(print)",
    "xpcall(error, function(...) error('held') end) error('held')",
    "error(coroutine.wrap(function() return pcall(error, ctx) end)() and 'open' or 'held')",
    "coroutine.wrap(function() coroutine.wrap(function() error('held') end)() end)()",
    -- what the rule itself declares
    "for k in pairs(_G) do _G[k] = nil end error('held')", "string.rep = nil math.floor = nil error('held')",
    "ctx:weight('o', 0)", "ctx:generate('x')",
  }
  for _, attempt in ipairs(attempts) do
    local message = refused(attempt, "^press 'x' in the sandbox: ")
    t.ok(not message:find "\n.*\n" and #message < 700, attempt .. ": " .. message)
    t.ok(not message:find "open", attempt .. ": " .. message)
  end
  t.eq(("x"):rep(3), "xxx") -- nothing of it reached this process
  t.eq(foreign(rule ""):keep(ctx, .5):hash(), kv.press("knorm"):keep(ctx, .5):hash())
end)

t.case("bytecode and broken files", function()
  local bytecode = string.dump(function() return { name = "x", score = print } end)
  t.fails(function() foreign(bytecode) end, "bytecode")
  t.fails(function() foreign("\255\254 return {}") end, "'=' expected near 'return'")
  t.fails(function() foreign("return {") end, "unexpected symbol")
  t.fails(function() foreign("return 1") end, "returns no table")
  t.fails(function() foreign("return { name = 'x' }") end, "score is no function")
  t.fails(function() foreign("error({})") end, "failed without a text")
  t.fails(function() foreign("return { name = 'x', score = print, cut = print }") end, "'cut' does not run")
  t.fails(function() foreign("return { name = 'x', score = print, needs = print }") end, "data only")
  t.fails(function() foreign("local a = {} a.a = a return { name = 'x', score = print, params = a }") end, "too deep")
  t.fails(function() foreign("return { name = {}, score = print }") end, "no name")
  t.fails(function()
    foreign("return { name = 'a\\nb\\27[2J', score = function() error('\\27[2Jx\\ny') end }"):keep(ctx, .5)
  end,
    "^press 'a b %[2J' in the sandbox: [^%c]*$")
  for _, score in ipairs { "1", "nil", "{}", "ctx", "ctx.keys", "ctx.keys:norm(-1):narrow(3, 1, 5)",
    "tensor.zeros(1, 2, 60)" } do
    t.fails(function()
      foreign(('local tensor = require "kvbench.tensor" return { name = "x", score = function(_, ctx) return %s end }')
        :format(score)):keep(ctx, .5)
    end, "in the sandbox: score ")
  end
end)

t.case("loops and bombs end, and the next score works", function()
  local bombs = {
    "while true do end", "local s = 'x' while true do s = s .. s end", "return ('x'):rep(1e10)",
    "local t = {} for i = 1, 1e12 do t[i] = {} end", "local function f() return f() + 1 end return f()",
    "string.find(('a'):rep(1e5), ('a*'):rep(40) .. 'b')",
    "local co = coroutine.wrap(function() while true do end end) co()",
    "while true do pcall(error) end", "local x = {} for i = 1, 1e9 do x[i] = tensor.zeros(1e6) end",
  }
  local seconds = os.getenv "KVB_SANDBOX_SECONDS"
  local sandbox = require "kvbench.sandbox"
  local patience = sandbox.seconds
  sandbox.seconds = function() return 1.5 end
  for _, bomb in ipairs(bombs) do
    local from = library.C.kvb_time()
    refused(bomb, "^press 'x' in the sandbox: ")
    t.ok(library.C.kvb_time() - from < 30, bomb)
  end
  local moody = foreign [[
    return { name = "moody", score = function(_, ctx)
      while ctx.tokens == 60 do end
      return -ctx.keys:norm(-1)
    end }]]
  t.fails(function() moody:keep(ctx, .5) end, "no answer within 1.5 seconds")
  sandbox.seconds = patience
  local other = fake.new { layers = 2, heads = 4, kv_heads = 2, tokens = 50, head_dim = 8 }
  t.eq(moody:keep(other, .5):hash(), kv.press("knorm"):keep(other, .5):hash())
  t.eq(seconds, os.getenv "KVB_SANDBOX_SECONDS")
end)

t.case("no child is left behind, no byte lost", function()
  collectgarbage() collectgarbage()
  local before = tonumber(library.C.kvb_memory_bytes(library.C.KVB_MEM_ALL))
  local press = foreign(rule "")
  press:keep(ctx, .5)
  press = nil -- luacheck: ignore
  find.forget()
  for _ = 1, 3 do collectgarbage() end
  local after = tonumber(library.C.kvb_memory_bytes(library.C.KVB_MEM_ALL))
  t.ok(after <= before, ("%d bytes before, %d after"):format(before, after))
end)

t.case("from the command line, without the environment's secrets", function()
  process.shell "mkdir -p press"
  process.write("press/spy.lua", rule "")
  local r = process.shell("OPENAI_API_KEY=secret timeout 100 $K --sandbox -e 'local kv = require \"kvbench\" "
    .. 'print(kv.press("spy"):keep(require("kvbench.fake_context").new {}, .5):total())\' </dev/null')
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find "^%d+\n$", r.out)
  process.write("press/thief.lua", "return io.open('/etc/passwd'):read('*a')")
  r = process.shell("timeout 100 $K --sandbox -e 'require(\"kvbench\").press \"thief\"' </dev/null")
  t.eq(r.status, 1)
  t.ok(r.err:find "^kvbench: press 'press/thief.lua' in the sandbox: [^\n]*io[^\n]*\n$", r.err)
end)

t.case("scripts are not run by --sandbox unless they are one's own", function()
  local script = process.write("mine.lua", "print('ran')")
  local r = process.run("--sandbox", script)
  t.eq({ r.status, r.out }, { 2, "" })
  t.ok(r.err:find "^kvbench: %-%-sandbox runs press files of others, not scripts: [^\n]+ %-> kvbench %-%-sandbox press "
    and not r.err:find "\n.", r.err)
  r = process.run("--sandbox", "--trust", script)
  t.eq({ r.status, r.out }, { 0, "ran\n" }, r.err)
  r = process.run("--sandbox")
  t.ok(r.err:find "^kvbench: %-%-sandbox holds press files; what is typed here can do whatever you can\n", r.err)
  r = process.run("--trust", script)
  t.eq({ r.status, r.out, r.err }, { 2, "", "kvbench: --trust goes with --sandbox\n" })
  t.eq(process.run("--sandbox", "experiments/safety_cliff.lua", "--help").status, 0) -- one of ours
  process.shell "mkdir -p experiments"
  process.write("experiments/mine.lua", "print('ran')") -- not ours, whatever its folder is called
  t.eq(process.run("--sandbox", "experiments/mine.lua").status, 2)
  local home = paths.home
  for _, start in ipairs { "", "./", home .. "/" } do -- ours by any path
    t.eq(process.shell(("cd '%s' && $K --sandbox %sexperiments/safety_cliff.lua --help"):format(home, start)).status, 0)
  end
  t.eq(process.shell(("cd '%s/experiments' && $K --sandbox safety_cliff.lua --help"):format(home)).status, 0)
  for _, path in ipairs { home .. "/experiments/../../mine.lua", "experiments/../mine.lua", "/mine.lua" } do
    t.ok(require("kvbench.sandbox").foreign_script(path), path)
  end
end)

t.case("kvbench submit refuses what its tasks would refuse", function()
  local script = process.write("own.lua", "print('ran')")
  local r = process.run("--sandbox", "submit", script, "--tasks", "2", "--dry-run")
  t.eq({ r.status, r.out }, { 2, "" })
  t.ok(r.err:find "^kvbench: %-%-sandbox runs press files of others, not scripts: '[^']*own.lua'", r.err)
  r = process.run("--sandbox", "--trust", "submit", script, "--tasks", "2", "--dry-run")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("--sandbox --trust " .. script, 1, true), r.out)
  t.eq(process.run("--sandbox", "submit", "experiments/safety_cliff.lua", "--tasks", "2", "--dry-run").status, 0)
end)

process.done()
