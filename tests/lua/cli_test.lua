-- SPDX-License-Identifier: Apache-2.0
-- The parts of the front end that need no process of their own: error texts, the prompt, completion, help, progress,
-- paths.
local complete = require "kvbench.complete"
local errors = require "kvbench.errors"
local help = require "kvbench.help"
local paths = require "kvbench.paths"
local progress = require "kvbench.progress"
local repl = require "kvbench.repl"
local show = require "kvbench.show"
local t = require "kvbench.testing"

-- A stand-in for a file handle that keeps what is written.
local function sink()
  local s = { text = "" }
  function s:write(...)
    for i = 1, select("#", ...) do self.text = self.text .. tostring((select(i, ...))) end
  end
  return s
end

t.case("a user error has no trace, a mistake in code has its calls", function()
  local ok, e = errors.call(function() error("ratio 1.5 is outside [0, 1)", 0) end)
  t.eq(ok, false)
  t.eq(e.text, "ratio 1.5 is outside [0, 1)")
  t.eq(e.trace, "")
  local function inner() local nothing return nothing.field end
  ok, e = errors.call(function() local x = inner() return x end)
  t.eq(ok, false)
  t.ok(e.text:find("cli_test.lua:%d+: attempt to index"), e.text)
  t.ok(e.trace:find("in 'inner'"), e.trace)
end)

t.case("the hint of a library error joins its line", function()
  local _, e = errors.call(function() error("what failed\n-> what to try", 0) end)
  t.eq(e.text, "what failed -> what to try")
end)

t.case("error objects keep their exit status; wordless ones are named as such", function()
  local _, e = errors.call(function() error(require("kvbench.args").finish(2, "no such option"), 0) end)
  t.eq(e.exit, 2)
  t.eq(e.text, "no such option")
  _, e = errors.call(function() error({}) end)
  t.eq(e.exit, 1)
  t.ok(e.text:find("without a text"), e.text)
  _, e = errors.call(function() error(nil) end)
  t.eq(e.text, "nil")
end)

t.case("input: expressions, statements, unfinished and broken ones", function()
  t.eq(select("#", repl.compile("1, 2")()), 2)
  t.eq(repl.compile("= 3")(), 3)
  t.eq(repl.compile("4 -- a comment")(), 4)
  t.eq(select("#", repl.compile("local x = 1")()), 0)
  for _, open in ipairs { "for i = 1, 3 do", "f(", "x = {", "x = [[", "if a then b()", "1 +" } do
    t.eq(select(2, repl.compile(open)), "more", open)
  end
  local fn, problem = repl.compile("x = = 2")
  t.eq(fn, nil)
  t.ok(problem:find("^input:1: "), problem)
end)

t.case("evaluating prints values, keeps the first in _, and survives errors", function()
  local out, err = sink(), sink()
  t.eq(repl.evaluate(repl.compile("6 * 7, 'two'"), out, err), true)
  t.eq(out.text, '42\n"two"\n')
  t.eq(_G._, 42)
  t.eq(repl.evaluate(repl.compile("error('no luck')"), out, err), false)
  t.eq(err.text, "input:1: no luck\n")
  t.eq(_G._, 42)
end)

t.case("the loop joins lines and reports what failed", function()
  local lines, index, kept = { "x_of_test = 1 +", "2", "", "x_of_test", ":quit", "never()" }, 0, {}
  local saved = io.stdout
  local out = sink()
  function out.flush() end
  io.stdout = out
  local ok, status = pcall(repl.loop, function() index = index + 1 return lines[index] end,
    function(entry) kept[#kept + 1] = entry end, false)
  io.stdout = saved
  t.ok(ok, tostring(status))
  t.eq(status, 0)
  t.eq(out.text, "3\n")
  t.eq(kept, { "x_of_test = 1 +\n2", "x_of_test" })
  t.eq(index, 5)
  _G.x_of_test = nil
end)

t.case("shown values are bounded and ordered", function()
  t.eq(show.value({ 3, 1, b = true, a = "x\n" }), '{ 3, 1, a = "x\\n", b = true }')
  t.eq(show.value({}), "{}")
  t.eq(show.value(1 / 3), "0.3333333")
  t.eq(show.value(1e15), "1e+15")
  t.eq(show.value(-7), "-7")
  t.eq(show.value(0 / 0):lower():match("nan"), "nan")
  local endless = {}
  endless.self = endless
  t.eq(show.value(endless), "{ self = { self = { self = {...} } } }")
  local many = {}
  for i = 1, 1000 do many[i] = i end
  t.ok(show.value(many):find("%.%.%. 976 more"), show.value(many))
  t.ok(#show.value(("y"):rep(5000)) < 450)
  t.eq(show.value(setmetatable({}, { __tostring = function() return "tensor [2, 3]" end })), "tensor [2, 3]")
  t.ok(show.value(setmetatable({}, { __tostring = function() error("bad") end })):find("__tostring failed"))
  t.eq(show.value(print), "function (built in)")
end)

t.case("completion looks along paths and through __index, and calls nothing", function()
  _G.zz_object = setmetatable({ apple = 1, apply = 2 }, { __index = { banana = function() error("called") end } })
  t.eq({ complete.line("print(zz_obj") }, { "print(zz_object", {} })
  local line, choices = complete.line("zz_object.a")
  t.eq(line, "zz_object.appl")
  t.eq(choices, { "apple", "apply" })
  t.eq((complete.line("x = zz_object:b")), "x = zz_object:banana")
  t.eq({ complete.line("zz_object.nothing.here") }, { "zz_object.nothing.here", {} })
  t.eq({ complete.line("1 + ") }, { "1 + ", {} })
  _G.zz_object = nil
end)

t.case("help: modules, functions, unknown names", function()
  t.ok(help.of("args"):find("an experiment's parameters"), "module by name")
  t.ok(help.of(require "kvbench.args"):find("an experiment's parameters"), "module by value")
  t.ok(help.of(show.value):find("A __tostring is trusted"), help.of(show.value))
  t.eq(help.of({ name = "knorm", doc = "Keeps small keys.", paper = "arXiv:1" }), "knorm: Keeps small keys.\narXiv:1")
  local found, problem = help.of("kvb_prefil")
  t.eq(found, nil)
  t.ok(problem:find("did you mean 'kvb_prefill'"), problem)
  t.eq(select(2, help.of("../../etc/passwd")):match("^no documentation"), "no documentation")
end)

local function clocked(width)
  local out, now = sink(), { 0 }
  local p = progress.new { label = "run", total = 200, unit = "questions", width = width,
    clock = function() return now[1] end, write = function(s) out.text = out.text .. s end }
  return p, out, now
end

t.case("progress in a file: plain lines, at most one in 10 s, rate and time left", function()
  local p, out, now = clocked(0)
  for i = 1, 100 do
    now[1] = i
    p:update(i)
  end
  t.eq(select(2, out.text:gsub("\n", "\n")), 5) -- 20, 40, 60, 80, 100 of 200: each 10 % and more than 10 s apart
  t.ok(out.text:find("run: 20/200 questions, 1 questions/s, 3 min 00 s left\n", 1, true), out.text)
  p:finish()
  p:finish()
  t.eq(select(2, out.text:gsub("\n", "\n")), 6)
  t.ok(out.text:find("run: 100 questions in 1 min 40 s, 1 questions/s\n$"), out.text)
end)

t.case("progress on a terminal: one line redrawn, never wider than the terminal", function()
  local p, out, now = clocked(60)
  for i = 1, 50 do
    now[1] = i / 2
    p:update(i)
  end
  t.eq(out.text:find("\n", 1, true), nil)
  for line in out.text:gmatch("\r([^\r]*)\27") do t.ok(#line < 60, line) end
  p:finish()
  t.eq(out.text:sub(-1), "\n")
end)

t.case("what an earlier run had done does not count towards the rate", function()
  local out, now = sink(), 0
  local p = progress.new { label = "r", total = 100, done = 90, width = 80, clock = function() return now end,
    write = function(s) out.text = out.text .. s end }
  now = 10
  p:update(95)
  t.ok(out.text:find("95/100, 0.5/s, 10.0 s left", 1, true), out.text)
end)

t.case("paths: home holds lua/kvbench, folders by name, the cache where the environment says", function()
  t.ok(io.open(paths.home .. "/lua/kvbench/paths.lua"))
  t.eq(paths.datasets, paths.home .. "/datasets")
  t.eq(paths.at("x/y"), paths.home .. "/x/y")
  t.eq(paths.no_such_folder, nil)
  local function env(name) return os.getenv(name) ~= "" and os.getenv(name) or nil end -- empty counts as not set
  t.eq(paths.cache(), env "KVBENCH_CACHE" or (env "XDG_CACHE_HOME" or os.getenv "HOME" .. "/.cache") .. "/kvbench")
end)
