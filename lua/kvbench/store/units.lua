-- SPDX-License-Identifier: Apache-2.0
-- Work units in a store: one block of conditions (the full cache, or one press at all of its ratios) of one passage.
local database = require "kvbench.store.db"

local M = {}

--- Fills a new store: all passages in the order of the data set, the plain conditions, one open unit a passage and
--- block.
--- Ids are the same in every store of the same run, so that shards merge without translation.
function M.prepare(db, answers, records, manifest)
  local blocks = require("kvbench.sweep.manifest").blocks(manifest)
  if db:row "SELECT COUNT(*) FROM passages" == 0 then
    local passage = db:prepare "INSERT INTO passages (id, name) VALUES (?, ?)"
    local unit = db:prepare "INSERT INTO units (passage, block) VALUES (?, ?)"
    local seen = {}
    for id, record in ipairs(records) do
      if seen[record.id] then
        error(("sweep: two records of the data set are called '%s' -> give each an id of its own"):format(record.id), 0)
      end
      seen[record.id] = true
      database.bind(passage, 1, id)
      database.bind(passage, 2, record.id)
      database.step(passage)
      for _, block in ipairs(blocks) do
        database.bind(unit, 1, id)
        database.bind(unit, 2, block)
        database.step(unit)
      end
    end
  end
  for _, regime in ipairs(manifest.regimes) do
    for _, block in ipairs(blocks) do
      for _, ratio in ipairs(manifest.ratios) do
        if (ratio == 0) == (block == "full") then
          answers:condition(table.concat({ block, ratio, regime }, "|"), block, ratio, regime, "")
        end
      end
    end
  end
end

--- Done units: passage name -> set of blocks.
function M.load(db)
  local units = {}
  for row in db:rows "SELECT p.name, u.block FROM units u JOIN passages p ON p.id = u.passage WHERE u.state = 'done'" do
    units[row[1]] = units[row[1]] or {}
    units[row[1]][row[2]] = true
  end
  return units
end

--- Number of units that are not done.
function M.left(db) return (db:row "SELECT COUNT(*) FROM units WHERE state <> 'done'") end

--- The first `limit` of them, for people.
function M.missing(db, limit)
  local list = {}
  for row in db:rows(("SELECT p.name, u.block FROM units u JOIN passages p ON p.id = u.passage WHERE u.state <> 'done' "
    .. "ORDER BY u.passage, u.block LIMIT %d"):format(limit)) do
    list[#list + 1] = ("%s under %s"):format(row[1], row[2])
  end
  return list
end

--- Marks a unit as done.
function M.done(db, passage, block, answers, session, revision)
  db:exec("INSERT OR REPLACE INTO units (passage, block, state, answers, session) VALUES (?, ?, 'done', ?, ?)", passage,
    block, answers, session)
  db:exec("UPDATE passages SET revision = ? WHERE id = ? AND revision IS NULL", revision, passage)
end

return M
