-- SPDX-License-Identifier: Apache-2.0
-- The results store below the sweep: values and rows come back as they went in, keep-sets too, foreign, newer and
-- damaged
-- files are refused with one line, merging is idempotent.
local t = require "kvbench.testing"
local answers = require "kvbench.store.answers"
local database = require "kvbench.store.db"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local library = require "kvbench.ffi"
local merge = require "kvbench.store.merge"
local rng = require "kvbench.rng"
local schema = require "kvbench.store.schema"
local work = require "kvbench.store.units"
local C, check = library.C, library.check

local root = os.tmpname()
os.remove(root)
check(C.kvb_dir_make(root))
local made = 0
local function new_path()
  made = made + 1
  return ("%s/%d.sqlite"):format(root, made)
end

local manifest = { presses = { { label = "a" }, { label = "b" } }, ratios = { 0, .5, .9 }, regimes = { "agnostic" } }
local records = { { id = "p1" }, { id = "p2" }, { id = "p3" } }

local function new_store(path)
  local db = database.open(path or new_path(), "write")
  schema.migrate(db)
  local rows = answers.new(db)
  work.prepare(db, rows, records, manifest)
  db:exec("INSERT INTO runs (id, manifest, created) VALUES (1, ?, '')", require("kvbench.json").encode(manifest))
  return db, rows
end

local function row_of(passage, q, press, ratio, more)
  local row = { key = ("%s|%d|%s|%s|agnostic"):format(passage, q, press, ratio), passage_id = passage, question = q,
    press = press, ratio = ratio, regime = "agnostic", variant = "" }
  for name, value in pairs(more or {}) do row[name] = value end
  return row
end

t.case("values come back as they were bound", function()
  local db = database.open(new_path(), "write")
  db:run "CREATE TABLE v (id INTEGER PRIMARY KEY, x)"
  local values = { 0, 1, -1, 1.5, 1 / 3, 1e300, 2 ^ 53, -2 ^ 53 + 1, 1e-320, "", "text", "nul\0inside", "Ω\n",
    true, false }
  for i, value in ipairs(values) do db:exec("INSERT INTO v VALUES (?, ?)", i, value) end
  db:exec("INSERT INTO v VALUES (?, ?)", #values + 1, nil)
  for i, value in ipairs(values) do
    if value == true then value = 1 elseif value == false then value = 0 end
    t.eq((db:row("SELECT x FROM v WHERE id = ?", i)), value)
  end
  t.eq((db:row("SELECT x FROM v WHERE id = ?", #values + 1)), nil)
  t.fails(function() db:exec("INSERT INTO v VALUES (?, ?)", 99, {}) end, "a table cannot be stored")
  t.fails(function() db:exec("INSERT INTO v VALUES (1, 1)") end, "UNIQUE constraint failed: v%.id")
  t.fails(function() db:row "SELECT missing FROM v" end, "no such column: missing")
  db:close()
  t.fails(function() db:row "SELECT 1" end, "was closed")
end)

t.case("a transaction that fails leaves nothing", function()
  local db = database.open(new_path(), "write")
  db:run "CREATE TABLE v (x)"
  t.fails(function()
    db:transaction(function()
      db:exec("INSERT INTO v VALUES (?)", 1)
      error("mine", 0)
    end)
  end, "mine")
  t.eq((db:row "SELECT COUNT(*) FROM v"), 0)
  db:transaction(function() db:exec("INSERT INTO v VALUES (?)", 1) end)
  t.eq((db:row "SELECT COUNT(*) FROM v"), 1)
  db:close()
end)

t.case("rows come back unchanged, whatever columns they have", function()
  local path = new_path()
  local db, store = new_store(path)
  local given = {
    row_of("p1", 1, "a", .5, { f1 = 1 / 3, hallucination = 1, truncated = true, class = "correct", gold = "x",
      direction = "forward", answer = 'tricky "text", ü\n' }),
    row_of("p1", 2, "a", .5, { f1 = 0, truncated = false, gold = "1914" }),
    row_of("p1", 1, "full", 0, { own_metric = -2.5, gold = "x", direction = "forward" }),
    row_of("p1", 1, "a", .9, { gold = "x", direction = "forward" }),
  }
  given[4].variant, given[4].key = "forced", given[4].key .. "|forced"
  db:transaction(function() for _, row in ipairs(given) do store:add(row) end end)
  db:close()
  db = database.open(path, "read")
  local got = answers.new(db):rows "p1"
  table.sort(given, function(a, b) return a.key < b.key end)
  t.eq(got, given)
  t.eq(answers.new(db):known "p1", { [given[1].key] = true, [given[2].key] = true, [given[3].key] = true,
    [given[4].key] = true })
  t.eq({ db:row "SELECT key, gold, own_metric FROM rows WHERE press = 'full'" }, { "p1|1|full|0|agnostic", "x", -2.5 })
  db:close()
end)

t.case("what a column cannot hold is refused, and nothing of the row is stored", function()
  local db, store = new_store()
  db:transaction(function() store:add(row_of("p1", 1, "a", .5, { f1 = .5 })) end)
  local function refused(more, pattern)
    t.fails(function() db:transaction(function() store:add(row_of("p1", 2, "a", .5, more)) end) end, pattern)
  end
  refused({ f1 = "half" }, "column 'f1' is a string, in other rows a number")
  refused({ f1 = 0 / 0 }, "column 'f1' is nan %-> nil where it is not defined")
  refused({ own = 1 / 0 }, "column 'own' is inf")
  refused({ own = {} }, "column 'own' is a table")
  refused({ ["a-b"] = 1 }, "column 'a%-b' cannot be stored %-> letters")
  refused({ F1 = 1 }, "columns 'f1' and 'F1' differ in case only")
  t.eq((db:row "SELECT COUNT(*) FROM answers"), 1)
  t.fails(function() store:add(row_of("p9", 1, "a", .5)) end, "has no passage 'p9'")
  db:close()
end)

t.case("foreign, newer and damaged files are refused", function()
  local path = new_path()
  local db = new_store(path)
  db:run(("PRAGMA user_version = %d"):format(schema.VERSION + 1))
  t.fails(function() schema.migrate(db) end, ("written by a newer kvbench %%(store version %d, this one reads up to "
    .. "%d%%)"):format(schema.VERSION + 1, schema.VERSION))
  db:close()
  path = new_path()
  db = database.open(path, "write")
  db:run "CREATE TABLE theirs (x)"
  t.fails(function() schema.migrate(db) end, "a SQLite file of another program")
  db:close()
  local file = io.open(path, "wb")
  file:write(("no database"):rep(1000))
  file:close()
  t.fails(function() database.open(path, "read") end, "file is not a database")
  t.fails(function() database.open(path, "write") end, "file is not a database")
  t.fails(function() database.open(root .. "/none.sqlite", "read") end, "no store '.*none%.sqlite'")
  t.fails(function() database.open(root .. "/none/x.sqlite", "write") end, "unable to open database file")
end)

t.case("names with %, ? and # are names", function()
  local path = root .. "/50%?mode=ro#x.sqlite"
  local db = database.open(path, "write")
  db:run "CREATE TABLE v (x)"
  db:close()
  t.eq(C.kvb_path_kind(path), 1)
end)

-- ---- merging ----

local function fill(db, store, passage, press)
  db:transaction(function()
    for q = 1, 3 do store:add(row_of(passage, q, press, .5, { f1 = q / 7 })) end
    work.done(db, store:passage(passage), press, 3, "s", "r1")
  end)
end

t.case("a row that memory runs out for leaves a store that goes on", function()
  local failures = 0
  for n = 1, 400 do
    local path = new_path()
    local db, store = new_store(path)
    db:begin()
    C.kvb_memory_fail_nth(n)
    local ok = pcall(store.add, store, row_of("p1", 1, "a", .5, { f1 = .25, own = true }))
    C.kvb_memory_fail_nth(0)
    db:commit() -- as a sweep does with what it has when it fails
    db:close()
    db = require("kvbench.store.db").open(path, "write")
    store = answers.new(db)
    db:transaction(function() store:add(row_of("p1", 1, "a", .5, { f1 = .25, own = true })) end)
    local rows = store:rows "p1"
    t.eq({ #rows, rows[1].f1, rows[1].own, db:row "SELECT f1 FROM rows" }, { 1, .25, true, .25 }, "allocation " .. n)
    db:close()
    failures = failures + (ok and 0 or 1)
    if ok then break end
  end
  t.ok(failures > 3, failures .. " failures")
end)

t.case("merging twice, in any order, is merging once", function()
  local one, two = new_path(), new_path()
  local db, store = new_store(one)
  fill(db, store, "p1", "a")
  fill(db, store, "p2", "a")
  db:close()
  db, store = new_store(two)
  fill(db, store, "p2", "a") -- both have it
  fill(db, store, "p3", "b")
  db:transaction(function() -- a condition and a column that the other does not have
    local row = row_of("p3", 1, "b", .9, { own = true })
    row.variant, row.key = "forced", row.key .. "|forced"
    store:add(row)
  end)
  db:close()
  local function merged(list)
    local target = new_store()
    local new = 0
    for _, path in ipairs(list) do new = new + merge.take(target, path) end
    local all, rows = answers.new(target), {}
    for i, name in ipairs { "p1", "p2", "p3" } do rows[i] = all:rows(name) end
    local left = work.left(target)
    target:close()
    return rows, new, left
  end
  local rows, new, left = merged { one, two }
  t.eq(new, 10)
  t.eq(left, 3 * 3 - 3)
  t.eq(#rows[3], 4)
  local forced = {}
  for _, row in ipairs(rows[3]) do forced[row.variant] = row.own or false end
  t.eq(forced, { [""] = false, forced = true })
  for _, list in ipairs { { two, one }, { one, two, one, two } } do
    local again, n, l = merged(list)
    t.eq({ again, n, l }, { rows, new, left })
  end
end)

t.case("stores of different runs do not merge", function()
  local path = new_path()
  local db = new_store(path)
  db:exec("UPDATE runs SET manifest = ?", '{"presses":[],"ratios":[0],"regimes":[]}')
  db:close()
  db = new_store()
  t.fails(function() merge.take(db, path) end, "holds another run: presses was")
  t.fails(function() merge.take(db, root .. "/none/x") end, "unable to open")
  db:close()
end)

-- ---- keep-sets ----

-- Random sets by falling number kept; nested when asked for.
local function random_sets(r, layers, heads, tokens, n, nested)
  local list = {}
  for k = 1, n do
    local keep = k > 1 and nested and list[k - 1]:copy() or keepset.all(layers, heads, tokens)
    for l = 0, layers - 1 do
      for h = 0, heads - 1 do
        for token = 0, tokens - 1 do
          if r:uniform() < .4 then keep:set(l, h, token, token + 1, false) end
        end
      end
    end
    list[k] = keep
  end
  return list
end

local function pack(list)
  local handles, data, bytes = ffi.new("const kvb_keep *[?]", #list), ffi.new "const void *[1]", ffi.new "int64_t[1]"
  for i, keep in ipairs(list) do handles[i - 1] = keep.handle end
  check(C.kvb_ledger_pack(handles, #list, data, bytes))
  return ffi.string(data[0], bytes[0])
end

local function unpack_set(blob, i)
  local out = ffi.new "kvb_keep *[1]"
  check(C.kvb_ledger_unpack(blob, #blob, i, out))
  return keepset.wrap(out[0])
end

t.case("keep-sets come back bit for bit", function()
  local r = rng.new "ledger"
  for _, shape in ipairs { { 1, 1, 1, 1 }, { 2, 3, 64, 3 }, { 3, 2, 65, 9 }, { 1, 4, 127, 2 }, { 2, 2, 200, 20 } } do
    for _, nested in ipairs { true, false } do
      local list = random_sets(r, shape[1], shape[2], shape[3], shape[4], nested)
      local blob = pack(list)
      t.eq(blob:byte(5), (nested or #list == 1) and 1 or 2)
      for i, keep in ipairs(list) do t.eq(unpack_set(blob, i - 1):hash(), keep:hash()) end
      t.fails(function() unpack_set(blob, #list) end, "set %d+ of %d+")
    end
  end
end)

t.case("damaged ledger entries are refused", function()
  local blob = pack(random_sets(rng.new "damage", 2, 2, 100, 4, true))
  t.fails(function() unpack_set("", 0) end, "do not begin as a ledger entry")
  t.fails(function() unpack_set("KVL9" .. blob:sub(5), 0) end, "do not begin as")
  t.fails(function() unpack_set(blob:sub(1, #blob - 5), 0) end, "damaged data")
  for at = 5, 24 do -- every byte of the header, but the lowest of the number of sets: more of them are possible
    if at == 21 then at = 22 end
    local bad = blob:sub(1, at - 1) .. string.char((blob:byte(at) + 77) % 256) .. blob:sub(at + 1)
    t.fails(function() unpack_set(bad, 0) end, "ledger: ")
  end
  local list = random_sets(rng.new "shapes", 1, 2, 10, 1, true)
  list[2] = keepset.all(1, 2, 11)
  t.fails(function() pack(list) end, "set 2 is %[1, 2, 11%], the first %[1, 2, 10%]")
end)

-- ---- the lock ----

t.case("one holder at a time", function()
  local locks = require "kvbench.sweep.lock"
  local first = locks.take(root)
  local second, holder = locks.try(root)
  t.eq(second, nil)
  t.eq(holder, tonumber(C.kvb_process_id()))
  t.fails(function() locks.take(root) end, "this process already works on the run")
  locks.release(first)
  t.eq(C.kvb_path_kind(locks.path(root)), 0)
  locks.release(locks.take(root))
  t.fails(function() locks.take "/proc" end, "cannot lock '/proc/run%.lock'")
end)

os.execute(("rm -rf '%s'"):format(root))
