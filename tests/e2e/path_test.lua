-- SPDX-License-Identifier: Apache-2.0
-- Names inside runs, and paths that runs are read from and written to: nothing inside a file becomes a path, links are
-- replaced or removed and never followed on the way out, names may hold anything.
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/e2e"
local process = dofile(here .. "/process.lua")
local t = require "kvbench.testing"

local root = require("kvbench.paths").at "tests/lua/stores/version-1"
process.shell(("cp -r %s a && mkdir outside && echo mine > outside/run.sqlite && echo mine > outside/rows.csv")
  :format(root))

local function good(line)
  local r = process.shell(line .. " </dev/null")
  t.eq(r.status, 0, line .. ": " .. r.err .. r.out)
  return r.out
end
local function refused(line, pattern)
  local r = process.shell(line .. " </dev/null")
  t.ok(r.status ~= 0, line)
  t.ok(r.err:find("^kvbench: [^\n]+\n$") and r.err:find(pattern), line .. ": " .. r.err)
end
local function read(name) return process.shell("cat " .. name).out end

t.case("exports go where they were sent: absolute, above, through a folder that is a link", function()
  good(("$K runs export a --to %s/abs.csv"):format(process.folder))
  good "mkdir -p deep/er && cd deep/er && $K runs export ../../a --to ../up.csv"
  good "ln -s outside way && $K runs export a --to way/here.csv"
  for _, name in ipairs { "abs.csv", "deep/up.csv", "outside/here.csv" } do
    t.ok(read(name) == read "a/rows.csv", name)
  end
end)

t.case("a link in the place of a file is replaced, what it points to stays", function()
  good "ln -s outside/rows.csv link.csv && $K runs export a --to link.csv"
  t.eq(read "outside/rows.csv", "mine\n")
  t.eq(good "test -L link.csv && echo link || echo file", "file\n")
  good "cp -r a b && rm b/rows.csv b/rows.jsonl"
  good "ln -s ../outside/rows.csv b/rows.csv && ln -s /nowhere/x b/rows.jsonl"
  process.shell [[$K -e 'require("kvbench").runs.with("b", function(db) db:run "DELETE FROM notes" end, "write")']]
  good "$K runs merge b" -- writes the exports anew
  t.eq(read "outside/rows.csv", "mine\n")
  t.ok(read "b/rows.csv" == read "a/rows.csv")
end)

t.case("prune removes links to shards, not what they point to", function()
  good "cp -r a c && ln -s ../outside c/shard-0-of-2 && mkdir c/shard-1-of-2 && cp a/run.sqlite c/shard-1-of-2"
  good "$K runs prune c --all"
  t.eq(read "outside/run.sqlite", "mine\n")
  t.eq(process.shell("ls c").status, 2)
end)

t.case("names with newlines, quotes, spaces, % and ..", function()
  for i, name in ipairs { "new\nline", "it's \"x\"", "50%s", "..", "-", "a;b", "é\127" } do
    local folder = process.folder .. "/odd" .. i .. "/" .. (name == ".." and "x/.." or name)
    local quoted = "'" .. folder:gsub("'", "'\\''") .. "'"
    good(("mkdir -p %s && cp a/run.sqlite a/run.json %s/"):format(quoted, quoted))
    t.ok(good(("$K runs show %s"):format(quoted)):find "28 answers" or good(("$K runs show %s --json"):format(quoted))
      :find '"answers":28')
    good(("$K runs export %s --to %s/out.csv"):format(quoted, quoted))
    t.ok(process.shell(("cmp %s/out.csv a/rows.csv"):format(quoted)).status == 0, name)
    good(("$K runs merge %s-merged %s"):format(quoted, quoted))
  end
  refused("$K runs show \"$(printf 'no\\033[2Jsuch')\"", "no run in 'no%?%[2Jsuch'")
  refused("$K runs export a --to \"$(printf '/dev/null/x\\n\\033y.csv')\"", "/dev/null/x%?%?y.csv")
  refused("mkdir -p \"$(printf 'two\nlines')\" && $K runs show \"$(printf 'two\nlines')\"", "no run in 'two%?lines'")
  refused("$K \"$(printf 'no\nscript.lua')\"", "no script 'no%?script.lua'")
  refused("$K bench store --folder \"$(printf 'odd1/new\nline')\"", "'odd1/new%?line' is there already")
end)

t.case("an entry of a folder is one name, whatever it is called", function()
  good "mkdir -p d && cp a/run.sqlite d/ && mkdir \"$(printf 'd/x\\nshard-0-of-1')\""
  good "$K runs merge d" -- no shard of that name is looked for
  t.ok(good "$K runs list d":find "d +llama")
end)

t.case("passages, presses and variants with names of paths stay names", function()
  local db = require("kvbench.store.db").open(process.folder .. "/a/run.sqlite", "write")
  local evil = "../../outside/x\n" .. process.folder .. "/made"
  db:exec("UPDATE passages SET name = ? WHERE id = 1", evil)
  db:exec("UPDATE conditions SET press = ? WHERE press = 'knorm'", evil)
  db:exec("UPDATE conditions SET variant = ? WHERE variant <> ''", evil)
  db:settle()
  db:close()
  local before = process.shell("find . -name '.*' -prune -o -print | sort").out
  for _, verb in ipairs { "show a", "list .", "export a", "export a --format jsonl", "verify a", "diff a b",
    "watch a --once" } do
    local r = process.shell("$K runs " .. verb .. " </dev/null")
    t.ok(r.status == 0 or r.status == 1 and not r.err:find "%.lua:%d", verb .. ": " .. r.err)
  end
  t.eq(process.shell("find . -name '.*' -prune -o -print | sort").out, before)
end)

process.done()
