-- SPDX-License-Identifier: Apache-2.0
-- Taking one store of a run into another: what is there already stays, so that merging twice changes nothing, and a
-- merge that is interrupted leaves the store as it was. A store that is made for a merge grows under a temporary name
-- without a write-ahead journal, which would write everything twice, and gets its own name when it is on the disk.
local answers = require "kvbench.store.answers"
local database = require "kvbench.store.db"
local json = require "kvbench.json"
local manifests = require "kvbench.sweep.manifest"
local schema = require "kvbench.store.schema"
local work = require "kvbench.store.units"
local C = require("kvbench.ffi").C

local M = {}

-- Columns the source has and the target lacks, after which every column of the source is one of the target.
local function add_columns(db, target)
  for row in db:rows "SELECT name, kind FROM part.metrics ORDER BY name" do
    local known = target.kinds[row[1]]
    if known and known ~= row[2] then
      error(("column '%s' is a %s in the one and a %s in the other"):format(row[1], known, row[2]), 0)
    end
    if not known then target:add_column(row[1], row[2]) end
  end
end

-- Are the passages and conditions of both numbered alike? Those of one run are; conditions made on the way need not be.
local function same_numbers(db, target)
  if db:row("SELECT 1 FROM part.passages s LEFT JOIN main.passages p ON p.id = s.id AND p.name = s.name "
    .. "WHERE p.id IS NULL") then
    error("their passages differ although their manifests agree", 0)
  end
  local same = true
  local new = {}
  for row in db:rows "SELECT id, key, press, ratio, regime, variant FROM part.conditions ORDER BY id" do
    new[#new + 1] = row
  end
  for _, row in ipairs(new) do
    same = target:condition(row[2], row[3], row[4], row[5], row[6]) == row[1] and same
  end
  return same
end

-- Returns how many were new.
local function copy_answers(db, same)
  local names, given = {}, {}
  for row in db:rows "SELECT name FROM part.metrics ORDER BY name" do
    names[#names + 1], given[#given + 1] = ", " .. database.quote(row[1]), ", a." .. database.quote(row[1])
  end
  local condition = same and "a.condition" or "c.id"
  db:run(("INSERT OR IGNORE INTO main.answers (passage, condition, question%s) SELECT a.passage, %s, a.question%s "
    .. "FROM part.answers a%s"):format(table.concat(names), condition, table.concat(given), same and "" or
    " JOIN part.conditions s ON s.id = a.condition JOIN main.conditions c ON c.key = s.key"))
  return (db:row "SELECT changes()") -- counting the table would read all of it
end

local function copy_rest(db)
  for _, name in ipairs { "questions", "contexts", "ledger", "sessions" } do
    db:run(("INSERT OR IGNORE INTO main.%s SELECT * FROM part.%s"):format(name, name))
  end
  db:run [[
    UPDATE main.passages SET record = COALESCE(record, (SELECT s.record FROM part.passages s WHERE s.id = passages.id)),
      revision = COALESCE(revision, (SELECT s.revision FROM part.passages s WHERE s.id = passages.id))
      WHERE id IN (SELECT passage FROM part.units WHERE state = 'done') AND (record IS NULL OR revision IS NULL);
    INSERT OR REPLACE INTO main.units SELECT s.* FROM part.units s
      LEFT JOIN main.units u ON u.passage = s.passage AND u.block = s.block
      WHERE s.state = 'done' AND (u.state IS NULL OR u.state <> 'done');
  ]]
end

local UNFINISHED = "run.sqlite.merging"

local function remove(path)
  for _, more in ipairs { "", "-journal", "-wal", "-shm" } do os.remove(path .. more) end
end

--- Does a folder hold no store, or one that a process has begun and, killed at once, put nothing into?
function M.blank(folder)
  local path = folder .. "/run.sqlite"
  if C.kvb_path_kind(path) ~= 1 then return true end
  local db = database.open(path, "read")
  local ok, blank = pcall(function() return schema.version(db) == 0 or not db:row "SELECT 1 FROM runs" end)
  db:close()
  if not ok then error(blank, 0) end
  return blank
end

--- Removes a store of begin() that was not published.
function M.abandon(db)
  db:close()
  remove(db.path)
end

--- A new store in `folder` for the run that the store in the folder `part` is of; open for writing. It is lost unless
--- publish() follows, and any error means that it has to be abandoned. safe: under its own name and with a journal from
--- the start, for those who remove what has been taken.
function M.begin(folder, part, safe)
  local manifest, records
  local source = database.open(part .. "/run.sqlite", "read")
  local ok, err = pcall(function()
    schema.present(source)
    manifest, records = json.decode(source:row "SELECT manifest FROM runs", part), {}
    for row in source:rows "SELECT name FROM passages ORDER BY id" do records[#records + 1] = { id = row[1] } end
  end)
  source:close()
  if not ok then error(err, 0) end
  if not M.blank(folder) then error(("'%s' holds a run"):format(folder), 0) end
  for _, name in ipairs { UNFINISHED, "run.sqlite" } do remove(folder .. "/" .. name) end -- of those that were killed
  local db = database.open(folder .. (safe and "/run.sqlite" or "/" .. UNFINISHED), "write")
  ok, err = pcall(function()
    schema.migrate(db)
    if not safe then db:run "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF" end
    db:transaction(function()
      local all = answers.new(db)
      work.prepare(db, all, records, manifest)
      all:make_view()
      db:exec("INSERT INTO runs (id, manifest, created) VALUES (1, ?, ?)", json.encode(manifest),
        os.date "!%Y-%m-%dT%H:%M:%SZ")
    end)
  end)
  if not ok then
    M.abandon(db)
    error(err, 0)
  end
  if safe then json.save(folder .. "/run.json", manifest) end
  return db
end

--- Gives a store of begin() its name once every byte is on the disk; returns it, open for writing.
function M.publish(db, folder)
  local manifest = json.decode(db:row "SELECT manifest FROM runs", db.path)
  db:forget()
  -- a transaction that is flushed takes what was written before it along
  db:run(("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; PRAGMA user_version = %d; COMMIT")
    :format(schema.VERSION))
  db:close()
  local made, why = os.rename(folder .. "/" .. UNFINISHED, folder .. "/run.sqlite")
  if not made then error(("cannot name the merged store: %s"):format(why), 0) end
  json.save(folder .. "/run.json", manifest)
  db = database.open(folder .. "/run.sqlite", "write")
  schema.migrate(db)
  return db
end

--- Takes the store at `path` into the open store `db` of the same run. Returns the number of answers that were new.
function M.take(db, path)
  local source = database.open(path, "write") -- also finishes what a killed writer left in the journal
  local stored
  local ok, err = pcall(function()
    schema.migrate(source)
    stored = source:row "SELECT manifest FROM runs"
    if stored then manifests.require_same(stored, json.decode(db:row "SELECT manifest FROM runs", db.path), path) end
  end)
  source:close()
  if not ok then error(err, 0) end
  if not stored then return 0 end -- its process was killed before it began
  db:exec("ATTACH ? AS part", path)
  local new
  ok, err = pcall(db.transaction, db, function()
    local target = answers.new(db)
    local same = same_numbers(db, target)
    add_columns(db, target)
    new = copy_answers(db, same)
    copy_rest(db)
  end)
  db:forget()
  db:run "DETACH part"
  if not ok then error(("'%s' was not merged into '%s': %s"):format(path, db.path, tostring(err)), 0) end
  return new
end

return M
