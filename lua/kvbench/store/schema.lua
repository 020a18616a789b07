-- SPDX-License-Identifier: Apache-2.0
-- The tables of a run's store, and how a store of an older version becomes one of this version. docs/store.md explains
-- them to those who read a store from Python or R.
local M = {}

--- What this program writes. A store of a later version is refused, one of an earlier version is read as it is, and
--- migrated when it is opened for writing.
M.VERSION = 2
M.APPLICATION = 0x6b766231 -- "kvb1": what file(1) and SQLite see

-- step[n]: from version n - 1 to n.
local steps = {
  [1] = [[
    CREATE TABLE runs (id INTEGER PRIMARY KEY, manifest TEXT NOT NULL, created TEXT NOT NULL);
    CREATE TABLE sessions (id TEXT PRIMARY KEY, started TEXT, host TEXT, pid INTEGER, shard TEXT, version TEXT,
      revision TEXT, device TEXT, tier TEXT, dtype TEXT, threads INTEGER, pins TEXT, seconds REAL,
      store_seconds REAL, continuations INTEGER, model_rows INTEGER, fallbacks INTEGER, outcome TEXT) WITHOUT ROWID;
    CREATE TABLE passages (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT, revision TEXT);
    CREATE TABLE conditions (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, press TEXT NOT NULL, ratio REAL NOT NULL,
      regime TEXT NOT NULL, variant TEXT);
    CREATE TABLE questions (passage INTEGER, question INTEGER, text TEXT, gold TEXT, direction TEXT, answer_type TEXT,
      question_type TEXT, PRIMARY KEY (passage, question)) WITHOUT ROWID;
    CREATE TABLE units (passage INTEGER, block TEXT, state TEXT NOT NULL DEFAULT 'open', answers INTEGER,
      session TEXT, PRIMARY KEY (passage, block)) WITHOUT ROWID;
    CREATE TABLE metrics (name TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE answers (passage INTEGER, condition INTEGER, question INTEGER,
      PRIMARY KEY (passage, condition, question)) WITHOUT ROWID;
    CREATE TABLE contexts (passage INTEGER, regime TEXT, question INTEGER, tokens INTEGER, base INTEGER, sinks INTEGER,
      spans BLOB, PRIMARY KEY (passage, regime, question)) WITHOUT ROWID;
    CREATE TABLE ledger (passage INTEGER, regime TEXT, question INTEGER, press TEXT, variant TEXT, ratios TEXT,
      keeps BLOB, PRIMARY KEY (passage, regime, question, press, variant)) WITHOUT ROWID;
    CREATE TABLE notes (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  ]],
  [2] = [[
    ALTER TABLE ledger ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger ADD COLUMN layers TEXT;
  ]],
}

-- view[n]: what makes a store of version n - 1 read as one of version n, when it may or should not be written to.
local views = {
  [2] = "CREATE TEMP VIEW ledger AS SELECT *, 0 AS base, NULL AS layers FROM main.ledger",
}

local function application(db) return db:row "PRAGMA application_id" end

--- The version of an open store; 0 for a new file. An error for another program's file or a later version.
function M.version(db)
  local version = db:row "PRAGMA user_version"
  local tables = db:row "SELECT COUNT(*) FROM sqlite_schema"
  if tables > 0 and application(db) ~= M.APPLICATION then
    error(("'%s' is a SQLite file of another program, no kvbench store -> choose another out = folder"):format(db.path),
      0)
  end
  if version > M.VERSION then
    error(("'%s' was written by a newer kvbench (store version %d, this one reads up to %d) -> update kvbench"):format(
      db.path, version, M.VERSION), 0)
  end
  return version
end

--- Brings a store that is open for writing to this version, all steps or none.
function M.migrate(db)
  local version = M.version(db)
  db:run "PRAGMA journal_mode = WAL" -- readers beside the writer, and no file of a version that is not ours is changed
  if version == M.VERSION then return end
  db:transaction(function()
    for n = version + 1, M.VERSION do db:run(steps[n]) end
    db:run(("PRAGMA application_id = %d; PRAGMA user_version = %d"):format(M.APPLICATION, M.VERSION))
  end)
end

--- Makes a store that is open for reading look like one of this version, whatever version it has; the file stays.
function M.present(db)
  local version = M.version(db)
  if version == 0 then error(("'%s' is empty"):format(db.path), 0) end
  for n = version + 1, M.VERSION do db:run(views[n]) end
end

return M
