-- SPDX-License-Identifier: Apache-2.0
-- Runs of versions that kept rows in rows.jsonl alone: whole passages, one line each, are taken into the store.
local json = require "kvbench.json"
local manifests = require "kvbench.sweep.manifest"

local M = {}

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read "*a"
  file:close()
  return content
end

-- A line that was cut off ends the file; a passage is there with all of its rows or not at all.
local function take(run, text)
  local counts = {}
  for line in text:gmatch "([^\n]*)\n" do
    local ok, block = pcall(json.decode, line)
    if ok and type(block) == "table" and block.rows then
      run.db:begin()
      local blocks = {}
      for _, row in ipairs(block.rows) do
        for name, value in pairs(row) do
          if value == json.null then row[name] = nil end
        end
        row.variant = row.variant or ""
        run.answers:add(row)
        blocks[row.press] = (blocks[row.press] or 0) + 1
      end
      for _, name in ipairs(run.blocks) do run:done({ id = block.passage_id }, name, blocks[name] or 0) end
      run.db:exec("UPDATE passages SET revision = ? WHERE name = ?", block.revision, block.passage_id)
      counts[#counts + 1] = block.passage_id
    end
  end
  run:flush()
  return #counts
end

--- In a folder without a store: nil when it holds no run, else a function(run) that takes its rows over. An error when
--- it is another run's.
function M.find(folder, manifest)
  local stored = read_file(folder .. "/run.json")
  if not stored then return nil end
  manifests.require_same(stored, manifest, folder)
  local rows = read_file(folder .. "/rows.jsonl")
  return rows and function(run) return take(run, rows) end
end

return M
