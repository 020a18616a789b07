-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset ...: what a user types, what comes back, with which status.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local t = require "kvbench.testing"
local run = process.run

local function refused(status, pattern, ...)
  local r = run("dataset", ...)
  t.eq(r.status, status, r.err)
  t.ok(r.err:find(pattern), "expected " .. pattern .. ", got: " .. r.err)
  t.ok(r.err:find("^kvbench: [^\n]+\n$"), "one line, got: " .. r.err)
end

t.case("list, --help, and words that are not understood", function()
  local r = run("dataset", "list")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("\nbase +200 +150%-200 +5%-6 "), r.out)
  r = run("dataset", "--help")
  t.ok(r.status == 0 and r.out:find("kvbench dataset check TASK|FILE", 1, true), r.out)
  r = run("dataset", "check", "--help")
  t.ok(r.status == 0 and r.out:find("--task NAME", 1, true), r.out)
  refused(2, "wants a verb")
  refused(2, "no command 'dataset chek' %-> did you mean 'check'%?", "chek")
  refused(1, "no task or file 'bse' %-> did you mean 'base'%?", "check", "bse")
  refused(2, "unknown parameter '%-%-sed' %-> did you mean '%-%-seed'%?", "check", "base", "--sed", "B")
  refused(2, "wants one task or file", "check")
  refused(2, "whole number", "show", "base", "x")
  refused(1, "task 'base' has 200 records, not 201", "show", "base", "201")
end)

t.case("make, then check: nothing is rejected, a broken line is, with its number", function()
  local r = run("dataset", "make", "knowledge", "--n", "20", "--seed", "B", "--out", process.folder .. "/k.jsonl.zst")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("k.jsonl.zst: 20 records, 260 questions, sha256 %x+\n"), r.out)
  r = run("dataset", "check", "k.jsonl.zst")
  t.eq({ r.status, r.out }, { 0, "k.jsonl.zst: 20 records (260 questions) pass: 20 knowledge; 0 rejected\n" })
  r = process.shell("$K dataset make base --n 3 --out b.jsonl >/dev/null && head -c 1000 b.jsonl > cut.jsonl && "
    .. "echo >> cut.jsonl && cat b.jsonl >> cut.jsonl && sed -i '2s/\"direction\":\"[a-z]*\"/\"direction\":\"up\"/' "
    .. "cut.jsonl && $K dataset check cut.jsonl")
  t.eq(r.status, 1, r.err)
  local first, second, last = r.out:match("^([^\n]+)\n([^\n]+)\n([^\n]+)\n$")
  t.ok(first and first:find("^cut.jsonl:1: line: not valid JSON at column %d+"), r.out)
  t.ok(second:find("^cut.jsonl:2: questions%[1%].direction: direction 'up' %-> forward or reverse"), r.out)
  t.ok(last:find("2 records %(12 questions%) pass: 2 base; 2 rejected: 1 line, 1 questions.direction$"), r.out)
  r = process.shell("$K dataset check cut.jsonl --show 1")
  t.ok(r.out:find("\n... and 1 more\n", 1, true), r.out)
  r = process.shell("head -c 2000 k.jsonl.zst > c.zst; $K dataset check c.zst")
  t.eq(r.status, 1)
  t.ok(r.err:find("^kvbench: 'c.zst': the zstd data ends early, after 2000 bytes"), r.err)
  t.ok(r.out:find("^c.zst: %d+ records"), r.out)
end)

t.case("show: evidence marked, questions with their tags, the prompt and where it is compressed", function()
  local r = run("dataset", "show", "knowledge", "2", "--question", "1")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("^knowledge%-A%-0002 %(knowledge%): %d+ words, 6 facts, 13 questions\n"), r.out)
  t.ok(r.out:find("was born on [[", 1, true) and r.out:find("|f2]]", 1, true), r.out)
  t.ok(not r.out:find("|f3]]", 1, true), "only the asked question's evidence")
  t.ok(r.out:find("Date/Time +standard"), r.out)
  t.ok(r.out:find("\n-------- the cache is compressed here --------\n\nWhen was "), r.out)
  r = process.shell("NO_COLOR=1 $K dataset show base 1 --style fewshot | grep -c 'Brindle Quay'")
  t.ok(tonumber(r.out) > 0)
end)

t.case("tags: scores where there are labels, counts where there are none, rules of one's own", function()
  local r = run("dataset", "tags", "knowledge", "--n", "20", "--seed", "B")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("macro F1 %d%.%d+, accuracy %d%.%d+ over 260 questions"), r.out)
  process.write("mine.jsonl", '{"passage": "Ann sails.", "questions": [{"q": "Who sails?", "a": "Ann"}]}\n')
  t.ok(run("dataset", "tags", "mine.jsonl").out:find("no labels to compare with): Person 1, Thing 0", 1, true))
  process.write("rules.lua", "return { answer_type = { { tag = 'Event', when = function() return true end } } }")
  r = run("dataset", "tags", "base", "--n", "5", "--rules", "rules.lua", "--errors", "1")
  t.ok(r.out:find("not Event (rule: unnamed): ", 1, true), r.out)
  refused(1, "do not load", "tags", "base", "--rules", "nowhere.lua")
end)

t.case("prompt show and list: the split in bytes, what is checked and what is not", function()
  local r = run("prompt", "show", "knowledge", "3", "--template", "llama-3.2", "--question", "2")
  t.eq(r.status, 0, r.err)
  t.ok(r.out:find("Today Date: 26 Jul 2024\n\n<|eot_id|>", 1, true), r.out)
  local context, suffix = r.out:match("\n(<|begin_of_text|>.*)<%- the cache is compressed here %->(.-)\n\n  before the passage")
  t.ok(suffix and suffix:find("^\nIn which year was .-%?<|eot_id|>"), r.out)
  local marked = context:gsub("%[%[(.-)|f%d+%]%]", "%1") -- the marks are not part of the prompt
  t.ok(r.out:find(("context in the cache +%d bytes"):format(#marked)), r.out)
  t.ok(r.out:find(("question +%d bytes"):format(#suffix)), r.out)
  local from, to = r.out:match("evictable; bytes (%d+) to (%d+)")
  t.ok(marked:sub(from + 1, to):find("^%u%l+ %u%l+ was born on .*%.$"), marked:sub(from + 1, to))
  r = run("prompt", "list")
  t.ok(r.out:find("llama%-3 +checked against Meta%-Llama%-3") and r.out:find("mistral%-v1 +unchecked: "), r.out)
  r = run("prompt", "show", "base", "--template", "lama-3")
  t.ok(r.status == 1 and r.err:find("unknown chat template 'lama%-3' %-> did you mean 'llama%-3"), r.err)
  t.eq(run("prompt", "shwo").err, "kvbench: no command 'prompt shwo' -> did you mean 'show'?\n")
end)

-- A file that is many times bigger than what may be held at once.
t.case("memory does not grow with the file", function()
  -- freed memory that the sanitizer keeps back is not what is asked about
  local r = process.shell("export ASAN_OPTIONS=$ASAN_OPTIONS:quarantine_size_mb=1; $K dataset make base --n 200 --out one.jsonl >/dev/null; "
    .. "for i in 1 2 3 4 5 6 7 8; do sed 's/\"id\":\"base-A-/\"id\":\"x'$i'-/' one.jsonl; done > many.jsonl; "
    .. "for f in one many; do $K -e 'local d = require \"kvbench\".dataset for r in d.stream(\"'$f'.jsonl\") do "
    .. "assert(r) end print(require(\"kvbench.ffi\").C.kvb_process_peak_bytes())'; done; wc -c < one.jsonl")
  local one, many, bytes = r.out:match("(%d+)[UL]*\n(%d+)[UL]*\n(%d+)")
  t.ok(one, r.out .. r.err)
  t.ok(tonumber(many) - tonumber(one) < 2 * tonumber(bytes), ("%s grew to %s"):format(one, many)) -- of 7 more
end)

process.done()
