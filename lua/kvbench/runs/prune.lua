-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs prune: makes a run smaller, or removes it.
local library = require "kvbench.ffi"
local locks = require "kvbench.sweep.lock"
local runs = require "kvbench.runs"
local shards = require "kvbench.sweep.shards"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench runs prune RUN [--ledger] [--exports] [--shards] [--all]
  --ledger    removes the eviction ledger (what follows from keep-sets can no longer be computed again)
  --exports   removes rows.csv and rows.jsonl (kvbench runs export writes them anew)
  --shards    removes shard folders whose answers RUN has, and that nobody works on
  --all       removes the run: the files that kvbench wrote there, and the folder when nothing else is in it
Says how many bytes that freed.]==]

local FILES = { "rows.csv", "rows.jsonl", "run.json", "run.sqlite", "run.sqlite-wal", "run.sqlite-shm",
  "progress.json" }

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end" or 0
  if file then file:close() end
  return size
end

local function total(folder)
  local bytes = 0
  for _, name in ipairs(FILES) do bytes = bytes + size_of(folder .. "/" .. name) end
  for _, shard in ipairs(shards.folders(folder)) do bytes = bytes + total(shard) end
  return bytes
end

-- Answers of a shard that the run does not have.
local function unmerged(db, shard)
  if library.C.kvb_path_kind(shard .. "/run.sqlite") ~= 1 then return 0 end
  return runs.with(shard, function(part)
    local n = 0
    for row in part:rows("SELECT p.name, c.key, a.question FROM answers a JOIN passages p ON p.id = a.passage "
      .. "JOIN conditions c ON c.id = a.condition") do
      if not db:row("SELECT 1 FROM answers a JOIN passages p ON p.id = a.passage "
        .. "JOIN conditions c ON c.id = a.condition WHERE p.name = ? AND c.key = ? "
        .. "AND a.question = ?", row[1], row[2], row[3]) then n = n + 1 end
    end
    return n
  end)
end

local function prune_shards(folder, db)
  for _, shard in ipairs(shards.folders(folder)) do
    local lock = locks.try(shard)
    local left = lock and unmerged(db, shard)
    locks.release(lock)
    if left == 0 then
      shards.remove(shard)
    else
      print(("%s stays: %s"):format(shard, left and left .. " of its answers are not merged -> kvbench runs merge"
        or "somebody works on it"))
    end
  end
end

local function remove_all(folder)
  for _, shard in ipairs(shards.folders(folder)) do shards.remove(shard) end
  for _, name in ipairs(FILES) do os.remove(folder .. "/" .. name) end
end

return function(rest)
  local names, opt = words.split(rest, { ledger = false, exports = false, shards = false, all = false }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs prune wants one run's folder -> kvbench runs list") end
  if not (opt.ledger or opt.exports or opt.shards or opt.all) then
    words.misused("kvbench runs prune: nothing to remove was named -> --ledger, --exports, --shards or --all")
  end
  local folder = names[1]:gsub("(.)/+$", "%1")
  runs.with(folder, runs.manifest) -- an error unless this is a run
  local lock = locks.take(folder)
  local before = total(folder)
  local ok, err = pcall(function()
    if opt.all then return remove_all(folder) end
    runs.with(folder, function(db)
      if opt.shards then prune_shards(folder, db) end
      if opt.exports then
        db:run "DELETE FROM notes WHERE name = 'exported'"
        os.remove(folder .. "/rows.csv")
        os.remove(folder .. "/rows.jsonl")
      end
      if opt.ledger then db:run "DELETE FROM ledger; DELETE FROM contexts" end
      db:run "VACUUM"
    end, "write")
  end)
  locks.release(lock)
  if not ok then error(err, 0) end
  local after = total(folder)
  if opt.all then os.remove(folder) end -- stays when there is something else in it
  print(("%s: %s freed, %s left"):format(folder, text.bytes(before - after), text.bytes(after)))
  return 0
end
