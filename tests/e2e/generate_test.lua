-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset make --with URL against a real local server (llm_server.py) that is slow, fails, limits, talks
-- nonsense, hangs: bounded, audited, resumable, and the key is nowhere.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local json = require "kvbench.json"
local t = require "kvbench.testing"

local function reason_to_skip()
  if require("kvbench.ffi").C.kvb_http_available() == 0 then return "libcurl is not on this machine" end
  if process.shell("python3 --version").status ~= 0 then return "python3 is not on this machine" end
end
local reason = reason_to_skip()
if reason then
  t.skip("generation against a local server", reason)
  process.done()
  return
end

local script = process.shell("readlink -f '" .. (here:sub(1, 1) == "/" and here or os.getenv "PWD" .. "/" .. here)
  .. "/llm_server.py'").out:match("[^\n]+")
local started = process.shell("python3 '" .. script .. "' >port 2>/dev/null </dev/null & echo $!; "
  .. "for i in $(seq 100); do [ -s port ] && break; sleep 0.1; done; cat port")
local pid, port = started.out:match("^(%d+)\n(%d+)")
assert(port, "the server did not start: " .. started.out .. started.err)

local function make(mode, more, environment)
  return process.shell(("%s timeout 60 $K dataset make base --with http://127.0.0.1:%s/%s/v1 --out %s.jsonl --pause 0.02 "
    .. "%s"):format(environment or "", port, mode, mode, more or ""))
end

local function audit(mode)
  local list = {}
  for line in io.lines(process.folder .. "/" .. mode .. ".jsonl.audit.jsonl") do
    local ok, value = pcall(json.decode, line)
    list[#list + 1] = ok and value or { cut = true }
  end
  return list
end

t.case("good: records that pass the validator, names invented, everything in the audit", function()
  local r = make("good", "--n 3 --seed X")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("good.jsonl: 3 of 3 records accepted, 0 given up; 3 calls (100 % of them", 1, true), r.out)
  t.ok(process.shell("$K dataset check good.jsonl").out:find("3 records (18 questions) pass: 3 base; 0 rejected", 1,
    true))
  local passages = 0
  for passage in process.shell("cat good.jsonl").out:gmatch('"passage":"(.-)"') do
    passages = passages + 1
    t.ok(not passage:find("_1", 1, true) and not passage:find("[[", 1, true), "a placeholder or mark is left")
  end
  t.eq(passages, 3)
  local lines = audit "good"
  t.eq({ #lines, lines[1].run.task, lines[1].run.seed }, { 4, "base", "X" })
  local call = lines[2]
  t.eq({ call.kind, call.verdict, call.record, call.try, call.tokens_in }, { "call", "accepted", 1, 1, 700 })
  t.ok(call.prompt[2].content:find("150 to 200 words") and call.raw:find("[[f1:PLACE_1]]", 1, true))
  t.ok(#call.replaced.NAME_1 > 3 and call.stored.subject == call.replaced.NAME_1)
end)

t.case("repair: the reason goes back, the second answer is taken; stubborn: given up after the tries", function()
  local r = make("repair", "--n 2")
  t.eq(r.status, 0, r.err)
  t.ok(r.err:find('record 1, try 1: rejected: fact "f3".mentions: the fact is mentioned nowhere', 1, true), r.err)
  local lines = audit "repair"
  t.eq(lines[3].prompt[3].content, lines[2].raw)
  t.ok(lines[3].prompt[4].content:find("That was rejected: fact \"f3\".mentions", 1, true))
  r = make("stubborn", "--n 2 --tries 2")
  t.eq(r.status, 1)
  t.ok(r.out:find("0 of 2 records accepted, 2 given up; 4 calls (0 % of them", 1, true), r.out)
  t.ok(r.out:find("\n  4  fact mentions: the fact is mentioned nowhere", 1, true), r.out)
  t.ok(not io.open(process.folder .. "/stubborn.jsonl"))
end)

t.case("real names in values are replaced everywhere", function()
  local r = make("real", "--n 1")
  t.eq(r.status, 0, r.err)
  t.ok(not process.shell("cat real.jsonl").out:find("Hamburg", 1, true))
  t.ok(audit("real")[2].replaced.Hamburg)
end)

t.case("slow, failing, limiting, nonsense: asked again, in bounds", function()
  local r = make("slow", "--n 2")
  t.eq(r.status, 0, r.err)
  t.ok(audit("slow")[2].tokens_in > 300, "tokens are estimated where the endpoint does not count")
  r = make("fail", "--n 1")
  t.eq(r.status, 0, r.err)
  t.ok(r.err:find("HTTP 500: the engine is on fire; next try in 0.02 s\n  HTTP 500: [^\n]+ in 0.04 s"), r.err)
  r = make("limit", "--n 1")
  t.eq(r.status, 0, r.err)
  t.ok(r.err:find("HTTP 429: [^\n]+; next try in 1 s"), r.err) -- Retry-After, not our own pause
  r = make("noise", "--n 1")
  t.eq(r.status, 0, r.err)
  t.eq(select(2, r.err:gsub("holds no choices%[1%]", "")), 3)
end)

t.case("hang, huge, a redirect, nobody there: one clear line, what is done is kept", function()
  local r = make("hang", "--n 1 --timeout 0.2")
  t.eq(r.status, 1)
  t.ok(r.err:find("kvbench: stopped after 0 of 1 records: 5 failures in a row, the last: '[^\n]*' did not answer within 0.2 s"),
    r.err)
  r = make("huge", "--n 1")
  t.ok(r.status == 1 and r.err:find("answers with more than 16777216 bytes"), r.err)
  r = make("redirect", "--n 1")
  t.ok(r.status == 1 and r.err:find("stopped after 0 of 1 records: HTTP 302"), r.err)
  r = process.shell "$K dataset make base --with http://127.0.0.1:1/v1 --n 1 --pause 0.01 --out gone.jsonl"
  t.ok(r.status == 1 and r.err:find("cannot reach 'http://127.0.0.1:1/v1/chat/completions'"), r.err)
end)

t.case("the key: from the environment, needed, and in no file or message even when the server repeats it", function()
  local r = make("auth", "--n 1", "OPENAI_API_KEY=wr0ng-k3y-value")
  t.eq(r.status, 1)
  t.ok(r.err:find("HTTP 401: your headers: .*is the key in $OPENAI_API_KEY right"), r.err)
  t.ok(r.err:find("Bearer ****", 1, true), r.err)
  t.ok(not r.err:find("wr0ng", 1, true))
  r = make("auth", "--n 1 --fresh --key-variable MY_KEY", "MY_KEY=k-3y-of-the-test")
  t.eq(r.status, 0, r.err)
  t.eq(process.shell("grep -rlaE 'wr0ng|k-3y-of' . | grep -v '^./.err$' | wc -l").out, "0\n")
  r = process.shell "$K dataset make base --with http://user:pw@127.0.0.1:1/v1 --n 1"
  t.ok(r.status == 1 and r.err:find("an address with a key in it"), r.err)
end)

t.case("budgets hold, and the same command goes on from where it stopped", function()
  local r = make("good", "--n 5 --seed budget --out b.jsonl --max-calls 2")
  t.eq(r.status, 1)
  t.ok(r.err:find("stopped after 2 of 5 records: the budget is used up (2 calls) -> the same command goes on", 1, true),
    r.err)
  t.ok(process.shell("$K dataset check b.jsonl").out:find("^b.jsonl: 2 records"))
  r = make("good", "--n 5 --seed budget --out b.jsonl --max-tokens 4000") -- 2 calls of 1,200 are behind us
  t.ok(r.err:find("stopped after 4 of 5 records: the budget is used up (4800 tokens)", 1, true), r.err)
  r = make("good", "--n 5 --seed budget --out b.jsonl")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("5 of 5 records accepted, 0 given up; 5 calls", 1, true), r.out)
  t.ok(not r.err:find("record 4", 1, true), "only what was missing is asked for")
  local whole = process.shell("cat b.jsonl").out
  make("good", "--n 5 --seed budget --out c.jsonl")
  t.ok(process.shell("cat c.jsonl").out == whole, "interrupted or not: the same records")
  r = make("good", "--n 5 --seed other --out b.jsonl")
  t.ok(r.status == 1 and r.err:find("is the audit of another run %(seed: 'budget', now 'other'%) %-> another %-%-out"),
    r.err)
end)

t.case("killed in the middle of a line, and Ctrl-C: nothing is lost that was finished", function()
  make("good", "--n 2 --seed k --out k.jsonl")
  process.shell "head -c -700 k.jsonl.audit.jsonl > x && mv x k.jsonl.audit.jsonl"
  local r = make("good", "--n 2 --seed k --out k.jsonl")
  t.eq(r.status, 0, r.err)
  t.ok(r.err:find("record 2, try 1: accepted", 1, true) and not r.err:find("record 1,", 1, true), r.err)
  t.eq(process.shell("$K dataset check k.jsonl").status, 0)
  r = process.shell(("$K dataset make base --with http://127.0.0.1:%s/hang/v1 --n 1 --out i.jsonl & P=$!; sleep 0.8; "
    .. "kill -INT $P; wait $P"):format(port))
  t.eq(r.status, 130)
  t.ok(r.err:find("kvbench: interrupted: 0 of 1 records are done -> the same command goes on", 1, true), r.err)
end)

t.case("what cannot be generated", function()
  local r = process.shell "$K dataset make knowledge --with http://127.0.0.1:1/v1"
  t.ok(r.status == 1 and r.err:find("task 'knowledge' is not written by a model %-> one of: base"), r.err)
  r = process.shell "KVB_LIBCURL=/nowhere $K dataset make base --with http://127.0.0.1:1/v1 --n 1 --out l.jsonl"
  t.ok(r.status == 1 and r.err:find("libcurl %(libcurl.so.4%) is not on this machine %-> install it"), r.err)
end)

process.shell("kill " .. pid)
process.done()
