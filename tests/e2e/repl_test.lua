-- SPDX-License-Identifier: Apache-2.0
-- The prompt at a terminal (a pseudo-terminal) and in a pipe.
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local terminal = dofile(paths.at "tests/e2e/terminal.lua")
local t = require "kvbench.testing"

local command = ("XDG_STATE_HOME=%s %s"):format(process.folder, process.binary)

-- One session: fn gets the terminal after the first prompt; the session is left in the end.
local function session(name, fn)
  t.case(name, function()
    local tty = terminal.start(command, process.folder)
    tty:wait "kv> "
    local ok, problem = pcall(fn, tty)
    if ok then
      tty:type "\n:quit\n"
      ok, problem = pcall(tty.wait, tty, "exit status 0")
    end
    tty:close()
    if not ok then error(problem, 0) end
  end)
end

session("lines join until the statement is whole", function(tty)
  tty:type("for i = 1, 3 do\n"):wait "..> "
  tty:type("print('line ' .. i)\n"):wait "..> "
  tty:type("end\n"):wait "line 3"
  tty:wait "kv> "
  tty:type("x = {\n"):wait "..> "
  tty:type("\3"):wait "kv> " -- Ctrl-C drops what was begun
  tty:type("1 + 1\n"):wait "2"
end)

-- Types a line that runs for long and Ctrl-C behind it; what the session held is still there. Returns the seconds that
-- the line took to end.
local function interrupted(tty, line, later)
  local C = require("kvbench.ffi").C
  tty:type("print('go' .. 'ing'); " .. line .. "\n"):wait "going"
  C.kvb_sleep(later or 0)
  local pressed = C.kvb_time()
  tty:type("\3"):wait "interrupted"
  local took = C.kvb_time() - pressed
  tty:wait "kv> "
  tty:type("precious = precious + 1; print('<' .. precious .. '>')\n"):wait(">")
  tty:wait "kv> "
  return took
end

session("Ctrl-C stops every loop; the session's variables stay", function(tty)
  process.write("mine.lua", "return { forever = function() while true do end end }\n")
  process.write("spin.lua", "local n = 0 while true do n = n + 1 end\n")
  tty:type("precious = 41; package.path = './?.lua;' .. package.path\n"):wait "kv> "
  for _, line in ipairs { "while true do end", "repeat local x = math.sqrt(2) until false",
    "(function() local function f() return f() end return f() end)()", "require('mine').forever()", "dofile 'spin.lua'",
    "loadstring('while true do end')()", "pcall(function() while true do end end) while true do end",
    "while true do pcall(error) end", "while true do pcall(function() while true do end end) end",
    "local m = kv.tensor.randn({64, 64}, 1) while true do m = m:matmul(m):softmax(-1) end" } do
    interrupted(tty, line)
  end
  tty:type("print('state=' .. precious)\n"):wait "state=51"
end)

session("Ctrl-C inside one long tensor operation: it ends at once, the session's variables stay", function(tty)
  tty:type("precious = 41; big = kv.tensor.ones(9000, 9000); small = kv.tensor.randn({700, 700}, 1)\n"):wait "kv> "
  for _, line in ipairs { "big:matmul(big)", "small:svd()", "kv.tensor.rand({4e7}, 1):sort()",
    "kv.tensor.ones(1000, 1):expand(1000, 3000000):norm(2, 3)", "small:expand(500, 700, 700):softmax(1):exp():sum(1)",
    "small:expand(2000, 700, 700):matmul(small:expand(2000, 700, 700))" } do
    -- 0.01 to 0.1 s; the bound is for machines that are busy. Left alone, these run for many seconds.
    local took = interrupted(tty, line, 0.3)
    t.ok(took < 2, ("%s ended %.2f s after Ctrl-C"):format(line, took))
  end
  tty:type("print('state=' .. precious, kv.tensor.ones(2, 2):matmul(kv.tensor.ones(2, 2)):sum())\n"):wait "state=47\t8"
end)

session("help, :time and :png at a terminal", function(tty)
  tty:type("help(kv.press 'snapkv')\n"):wait "window_size"
  tty:wait "kv> "
  tty:type("help('h2o')\n"):wait "received most attention"
  tty:wait "kv> "
  tty:type("help('snapvk')\n"):wait "did you mean 'snapkv'?"
  tty:wait "kv> "
  tty:type(":time kv.tensor.ones(4):sum()\n"):wait " s, CPU "
  tty:wait "kv> "
  tty:type("picture = kv.tensor.arange(12):view(3, 4)\n"):wait "kv> "
  tty:type(":png shown picture\n"):wait "shown.png"
  tty:wait "kv> "
  local file = assert(io.open(process.folder .. "/shown.png", "rb"))
  t.eq(file:read(4):sub(2), "PNG")
  file:close()
  tty:type(":png picture shown.png\n"):wait ":png takes the file first -> :png shown.png picture"
end)

session("two hasty Ctrl-C are one", function(tty)
  tty:type("kept = 7; print('go' .. 'ing'); while true do end\n"):wait "going"
  tty:type("\3\3"):wait "kv> "
  tty:type("print('still=' .. kept)\n"):wait "still=7"
end)

session("Tab completes names, methods and the prompt's own words", function(tty)
  tty:type("tens = kv.tensor.ones(2)\n"):wait "kv> "
  tty:type("tens:logsum\t"):wait "logsumexp"
  tty:type("()\n"):wait "1.693"
  tty:wait "kv> "
  tty:type("kv.tensor.rand\t"):wait "randperm"
  tty:wait "kv> kv.tensor.rand"
  tty:type("\3"):wait "kv> "
  tty:type(":rel\t"):wait ":reload"
  tty:type("\n"):wait "nothing of your own"
end)

session("errors take a line and leave the prompt", function(tty)
  tty:type("error('no luck')\n"):wait "input:1: no luck"
  tty:wait "kv> "
  tty:type("x = 'no end\n"):wait "unfinished string" -- no line that follows could end it
  tty:wait "kv> "
  tty:type("nothing.field\n"):wait "attempt to index global 'nothing'"
  tty:wait "kv> "
  tty:type("kv.tensor.ones(2) + kv.tensor.ones(3)\n"):wait "add: shapes [2] and [3] do not fit"
end)

session("keep-sets and tensors have pictures in colour", function(tty)
  tty:type("kv.tensor.arange(40):view(2, 20)\n"):wait "tensor f32 [2, 20]"
  tty:wait "\27[38;5;53;48;5;"
  tty:wait "column 1 .. 20, row 1 .. 2"
  tty:wait "kv> "
  tty:type("require('kvbench.keep').all(3, 2, 10)\n"):wait "keep-set of 3 layers"
  tty:wait "token 0 .. 9, layer 0 .. 2"
end)

t.case("history outlives the session, multi-line entries included", function()
  local tty = terminal.start(command, process.folder)
  tty:wait "kv> "
  tty:type("for i = 1, 1 do\n"):wait "..> "
  tty:type("print('from ' .. 'history') end\n"):wait "from history"
  tty:wait "kv> "
  tty:type(":quit\n"):wait "exit status 0"
  tty:close()
  tty = terminal.start(command, process.folder)
  tty:wait "kv> "
  tty:type("\27[A\n"):wait "from history"
  tty:wait "kv> "
  tty:type(":quit\n"):wait "exit status 0"
  tty:close()
end)

t.case("in a pipe: no prompt, no colours, the same words", function()
  process.write("in.lua", [[
x = kv.tensor.from({ { 1, 2 }, { 3, 4 } })
for i = 1, 2 do
  x = x * 2
end
x
:time x:sum()
:heat x
:png picture x
help("tensor.softmax")
:reload
]])
  local r = process.shell "$K <in.lua"
  t.eq(r.status, 0, r.err)
  t.eq(r.err, "")
  for _, words in ipairs { "tensor f32 [2, 2]  4 .. 16\n", "\n40\n", " s, CPU ",
    "column 1 .. 2, row 1 .. 2 · 4  ░▒▓█ 16",
    "picture.png, picture.csv", "t:softmax(dim)\n", "nothing of your own" } do
    t.ok(r.out:find(words, 1, true), ("%q is missing in:\n%s"):format(words, r.out))
  end
  t.ok(not r.out:find "\27", "escape sequences")
  t.ok(not r.out:find "kv>", "a prompt")
  process.write("bad.lua", "x = 1\n:time error('no')\nprint(x)\n:png\n")
  r = process.shell "$K <bad.lua"
  t.eq({ r.status, r.err:match "^[^\n]+" }, { 1, "input:1: no" })
  t.ok(r.out:find "\n1\n$" and r.err:find ":png takes a file", r.out .. r.err)
end)

t.case(":reload reads changed modules again and keeps names that held them", function()
  process.write("rule.lua", "return { value = 1 }")
  process.write("in.lua", [[
package.path = "./?.lua;" .. package.path
rule = require "rule"
function put(text) local f = io.open("rule.lua", "w") f:write(text) f:close() end
put "return { value = 2 }"
:reload
print("value", rule.value, require("rule").value)
put "return = 3"
:reload rule
print("value", rule.value)
kv.tensor.zeros(0)
:reload tensor
:reload ruel
]])
  local r = process.shell "$K <in.lua"
  t.ok(r.out:find("reloaded rule\n", 1, true) and r.out:find("value\t2\t2\n", 1, true), r.out .. r.err)
  t.ok(r.out:find("value\t2\n", 1, true), r.out)
  t.ok(r.err:find "rule.lua:1: unexpected symbol" and r.err:find "tensor' is bound to C types"
    and r.err:find "no module 'ruel' is loaded %-> did you mean 'rule'", r.err)
end)

process.done()
