-- SPDX-License-Identifier: Apache-2.0
-- Datasets at full size as files: made on first use into the user's cache, compressed, with a checksum that is looked
-- at each time. The name holds the generator's hash, so that another version of the sentences is another file. Meant
-- for other programs: kv.dataset makes the same records itself (docs/decisions.md has the times).
local folder = require "kvbench.dataset.folder"
local json_encode = require "kvbench.json_encode"
local paths = require "kvbench.paths"
local set = require "kvbench.dataset.set"
local sha256 = require "kvbench.dataset.sha256"

local M = {}

--- Where files lie: "datasets" in the cache folder ($KVBENCH_CACHE, or kvbench under $XDG_CACHE_HOME or ~/.cache).
function M.folder() return paths.cache() .. "/datasets" end

local function bytes_hash(path) return sha256.hex(folder.read(path)) end

-- Whether the file is there and has the checksum that its manifest gives.
local function intact(path)
  local known, manifest = pcall(function()
    return require("kvbench.json").decode(folder.read(path .. ".manifest.json"))
  end)
  if not known or type(manifest) ~= "table" or type(manifest.file_hash) ~= "string" then return false end
  local there, hash = pcall(bytes_hash, path)
  return there and hash == manifest.file_hash, manifest
end

--- Path of the file (JSON lines, zstd) that holds a task at full size, and its manifest: {task, seed, passages,
-- questions, hash = SHA-256 of the lines, file_hash = of the compressed bytes, generator_hash}. Made when it is missing
-- or damaged, one record at a time; appears whole or not at all.
--   each            iterator of the records: function(name, opt)
--   generator_hash  of the task
function M.file(name, seed, each, generator_hash)
  local path = ("%s/%s-%s-%s.jsonl.zst"):format(M.folder(), name, seed, generator_hash:sub(1, 12))
  local whole, manifest = intact(path)
  if whole then return path, manifest end
  local library, stream = require "kvbench.ffi", require "kvbench.stream"
  library.check(library.C.kvb_dir_make(M.folder()))
  manifest = { task = name, seed = seed, passages = 0, questions = 0, generator_hash = generator_hash }
  local hash = sha256.new()
  stream.write(path, function(put)
    for record in each(name, { seed = seed }) do
      local line = set.serialise(record) .. "\n"
      hash:update(line)
      put(line)
      manifest.passages, manifest.questions = manifest.passages + 1, manifest.questions + #record.questions
    end
  end)
  manifest.hash, manifest.file_hash = hash:hex(), bytes_hash(path)
  local order = { "task", "seed", "passages", "questions", "hash", "file_hash", "generator_hash" }
  folder.write(path .. ".manifest.json", { json_encode.encode(manifest, order), "\n" })
  return path, manifest
end

return M
