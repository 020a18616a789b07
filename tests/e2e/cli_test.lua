-- SPDX-License-Identifier: Apache-2.0
-- The command line as a user meets it: what works, and that every mistake is one clear line and the right exit status.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local t = require "kvbench.testing"
local run = process.run

-- One line on stderr, nothing on stdout.
local function refused(status, pattern, ...)
  local r = run(...)
  t.eq(r.status, status, r.err)
  t.ok(r.err:find(pattern), "expected " .. pattern .. ", got: " .. r.err)
  t.ok(r.err:find("^kvbench: [^\n]+\n$"), "one line, got: " .. r.err)
  t.eq(r.out, "")
end

t.case("--version, --help and --api", function()
  local r = run("--version")
  t.eq(r.status, 0)
  t.ok(r.out:find("^kvbench %d+%.%d+%.%d+ %([^)]+%), LuaJIT [^\n]+threads\n$"), r.out)
  r = run("--help")
  t.eq(r.status, 0)
  for word in ("--device|--dtype|--threads|--seed|--strict|--api|bench|model info| -e | -i "):gmatch "[^|]+" do
    t.ok(r.out:find(word, 1, true), word .. " is not in --help")
  end
  r = run("--api")
  t.ok(r.out:find("kvb_status kvb_prefill(", 1, true))
  t.ok(r.out:find("SPDX-License-Identifier", 1, true))
end)

t.case("options that do not exist", function()
  refused(2, "unknown option '%-%-devise' %-> did you mean '%-%-device'%?", "--devise", "cpu")
  refused(2, "unknown option '%-x'", "-x")
  refused(2, "unknown option '%-%-strikt'", "--strikt=1")
end)

t.case("options with values that do not exist", function()
  refused(2, "%-%-device 'cpuu' is unknown %-> did you mean 'cpu'%?", "--device", "cpuu", "-e", "x=1")
  refused(2, "%-%-dtype 'f64' is unknown", "--dtype=f64", "-e", "x=1")
  refused(2, "%-%-threads wants a whole number, got 'two'", "--threads", "two", "-e", "x=1")
  refused(2, "%-%-threads wants a whole number, got '1.5'", "--threads", "1.5", "-e", "x=1")
  refused(1, "%-%-threads %d+: this process may run on %d+ CPU.* %-> use a number", "--threads", "99999", "-e", "")
  refused(1, "%-%-threads %-1: ", "--threads", "-1", "-e", "x=1")
  refused(2, "%-%-seed wants a value", "--seed")
end)

t.case("commands and scripts that do not exist", function()
  refused(2, "no command or script 'bnech' %-> did you mean 'bench'%?", "bnech")
  refused(1, "no script 'nowhere/x.lua'", "nowhere/x.lua")
  process.write("figure.lua", "print(1)")
  refused(1, "no script 'figur.lua' %-> did you mean 'figure.lua'%?", "figur.lua")
end)

t.case("a script gets its arguments, in `arg` and in `...`", function()
  local script = process.write("args.lua", "print(arg[0], #arg, ...)")
  local r = run("--seed", "7", script, "--device", "x", "two words")
  t.eq(r.out, script .. "\t3\t--device\tx\ttwo words\n")
  t.eq(r.status, 0)
end)

t.case("options before the script reach the modules that ask", function()
  local r = run("--device", "ref", "--dtype=f32", "--seed", "S1", "--strict", "-e",
    "local o = require 'kvbench.options' print(o.device, o.dtype, o.seed, o.strict)")
  t.eq(r.out, "ref\tf32\tS1\ttrue\n")
end)

t.case("-e, then the script; -e alone", function()
  local script = process.write("after.lua", "print(x_from_e + 1)")
  t.eq(run("-e", "x_from_e = 41", script).out, "42\n")
  t.eq(run("-e", "print(2)").out, "2\n")
end)

t.case("Lua syntax errors: file and line", function()
  refused(1, "broken.lua:2: ", process.write("broken.lua", "local a = 1\nlocal = 2\n"))
  refused(1, "unfinished.lua:%d: .*<eof>", process.write("unfinished.lua", "if true then\nprint(1)\n"))
  refused(1, "%-e:1: ", "-e", "x = = 1")
end)

t.case("run-time errors: a user's mistake in one line, a mistake in code with its calls", function()
  local user = process.write("user.lua", "error('this cannot be\\n-> try that', 0)")
  refused(1, "kvbench: this cannot be %-> try that\n", user)
  local r = run(process.write("bug.lua", "local function f(x) return x.y.z + 1 end\nlocal n = f({})\nprint(n)\n"))
  t.eq(r.status, 1)
  t.ok(r.err:find("^kvbench: [^\n]*bug.lua:1: attempt to index"), r.err)
  t.ok(r.err:find("\n  [^\n]*bug.lua:2 in the script\n"), r.err)
  t.ok(not r.err:find("cli.lua"), r.err)
  r = process.shell("KVB_TRACE=1 $K user.lua")
  t.ok(r.err:find("stack traceback"), r.err)
end)

t.case("errors that are not strings, and output before an error", function()
  refused(1, "without a text", "-e", "error({})")
  local r = run("-e", "io.write('partial ') error('stop', 0)")
  t.eq(r.out, "partial ")
  t.eq(r.err, "kvbench: stop\n")
end)

t.case("parameters of an experiment", function()
  local script = process.write("experiment.lua", "-- SPDX-License-Identifier: Apache-2.0\n-- What is asked here?\n"
    .. "local kv = require 'kvbench'\nlocal o = kv.args { passages = 60, task = 'base' }\nprint(o.passages, o.task)\n")
  t.eq(run(script, "--passages", "5").out, "5\tbase\n")
  refused(2, "unknown parameter '%-%-pasages' %-> did you mean '%-%-passages'%?", script, "--pasages", "5")
  refused(2, "%-%-passages wants a number, got 'x'", script, "--passages=x")
  local r = run(script, "--help")
  t.eq(r.status, 0)
  t.ok(r.out:find("^What is asked here%?\n"), r.out)
  t.ok(r.out:find("%-%-passages N +default 60"), r.out)
end)

t.case("the prompt on a pipe: values, errors survived, status 1 when something failed", function()
  local r = process.shell("printf '1+1\\nnothing.x\\nfor i=1,2 do\\nprint(i)\\nend\\nkv ~= nil\\n' | $K")
  t.eq(r.out, "2\n1\n2\ntrue\n")
  t.ok(r.err:find("^input:1: attempt to index global 'nothing'[^\n]+\n$"), r.err)
  t.eq(r.status, 1)
  t.eq(process.shell("printf 'x=1\\n' | $K").status, 0)
  t.eq(process.shell("printf 'y + 1\\n' | $K -i -e 'y = 2'").out, "3\n")
end)

t.case("Ctrl-C: code that polls ends by itself, code that does not is stopped, both with status 130", function()
  local polite = process.write("polite.lua", [[
    local signal = require "kvbench.signal"
    io.stdout:write("go\n") io.stdout:flush()
    while not signal.cancelled() do end
    print("kept")]])
  local interrupt = "$K %s & P=$!; sleep 0.4; kill -INT $P; wait $P"
  local r = process.shell(interrupt:format(polite))
  t.eq(r.status, 130)
  t.eq(r.out, "go\nkept\n")
  t.eq(r.err, "kvbench: interrupted; what was finished is kept\n")
  local told = process.write("told.lua", [[
    local signal = require "kvbench.signal"
    while not signal.cancelled() do end
    error("interrupted: 3 of 12 passages are done", 0)]])
  r = process.shell(interrupt:format(told))
  t.eq(r.status, 130)
  t.eq(r.err, "kvbench: interrupted: 3 of 12 passages are done\n")
  local deaf = process.write("deaf.lua", "jit.off(true, true) while true do end")
  r = process.shell(interrupt:format(deaf))
  t.eq(r.status, 130)
  t.eq(r.err, "kvbench: interrupted\n")
end)

t.case("a file that cannot be written whole leaves nothing behind", function()
  local code = [[local f = require "kvbench.ffi" local s = ("x"):rep(100000)
    f.check(f.C.kvb_file_write("big.bin", s, #s))]]
  local r = process.shell("trap '' XFSZ; ulimit -f 8; $K -e '" .. code .. "'")
  t.eq(r.status, 1)
  t.ok(r.err:find("^kvbench: cannot write 'big.bin': [^\n]+\n$"), r.err)
  t.eq(process.shell("ls | grep -c big").out, "0\n")
end)

t.case("a test file run by itself closes with its count", function()
  local head = "local t = require 'kvbench.testing'\n"
  local file = process.write("one_test.lua", head .. "t.case('a', function() t.eq(1, 1) end)\n")
  t.eq(run(file).out, "1 passed, 0 failed, 0 skipped\n")
  file = process.write("bad_test.lua", head .. "t.case('a', function() t.eq(1, 2) end)\n")
  local r = run(file)
  t.eq(r.status, 1)
  t.ok(r.out:find("0 passed, 1 failed, 0 skipped\n$"), r.out)
end)

t.case("KVBENCH_HOME that is wrong says so", function()
  local r = process.shell("KVBENCH_HOME=/nonexistent $K --version")
  t.eq(r.status, 1)
  t.ok(r.err:find("KVBENCH_HOME"), r.err)
end)

process.done()
