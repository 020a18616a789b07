-- SPDX-License-Identifier: Apache-2.0
-- A dataset in memory: records and where they came from. `records` is the list itself and, called, an iterator over it:
-- #ds.records and ds:records() both work. Counts and the hash are computed when first asked for.
local rng = require "kvbench.rng"
local sha256 = require "kvbench.dataset.sha256"
local encode = require("kvbench.json_encode").encode

local M = {}

-- Key order of the serialised form; the hash depends on it.
M.key_order = {
  "id", "task", "domain", "subject", "passage", "facts", "questions", "q", "a", "aliases", "fact_ids", "cue_ids",
  "bridge_ids", "direction", "answer_type", "question_type", "hop", "depth", "answerable", "relation", "type",
  "value", "mentions", "sentence", "binding", "template",
}

--- One record as a line of JSON, without the newline.
function M.serialise(record) return encode(record, M.key_order) end

local Set = {}

local lazy = {}

--- SHA-256 of the records as JSON lines.
function lazy.hash(ds)
  local hash = sha256.new()
  for _, record in ipairs(ds.records) do hash:update(M.serialise(record)):update("\n") end
  return hash:hex()
end

function lazy.questions(ds)
  local n = 0
  for _, record in ipairs(ds.records) do n = n + #record.questions end
  return n
end

local meta = {}
function meta.__index(ds, key)
  if lazy[key] then
    local value = lazy[key](ds)
    rawset(ds, key, value)
    return value
  end
  return Set[key]
end
function meta.__tostring(ds)
  return ("dataset %s%s: %d records, %d questions"):format(ds.task, ds.seed and ", seed " .. ds.seed or "", ds:len(),
    ds.questions)
end

local iterable = { __call = function(list)
  local i = 0
  return function()
    i = i + 1
    if list[i] then return list[i], i end
  end
end }

--- A dataset of a list of records. `about`: task, seed, generator_hash, from (what it is a part of), rejects.
function M.new(records, about)
  local ds = { records = setmetatable(records, iterable), size = #records }
  for key, value in pairs(about or {}) do ds[key] = value end
  ds.task = ds.task or records[1] and records[1].task or "empty"
  return setmetatable(ds, meta)
end

-- A part knows how it was made, so that a result can say so.
local function part(ds, records, how)
  return M.new(records, { task = ds.task, seed = ds.seed, generator_hash = ds.generator_hash,
    from = (ds.from and ds.from .. ", " or "") .. how })
end

--- Number of records.
function Set:len() return #self.records end

--- The records for which keep(record, index) is true, as a dataset of their own; the records are shared, not copied.
function Set:filter(keep)
  if type(keep) ~= "function" then
    error(("dataset:filter takes a function, got a %s -> ds:filter(function(record, i) return i <= 10 end)"):format(
      type(keep)), 0)
  end
  local out = {}
  for i, record in ipairs(self.records) do if keep(record, i) then out[#out + 1] = record end end
  return part(self, out, ("filtered from %d"):format(#self.records))
end

--- The records with evidence for questions that came without (dataset/align.lua), and {given, aligned, excluded} = how
--- many answerable questions had facts, got them, and are left without.
function Set:align()
  local records, counts = require("kvbench.dataset.align").records(self.records)
  return part(self, records, ("%d questions aligned, %d excluded"):format(counts.aligned, counts.excluded)), counts
end

--- n records drawn without replacement, in drawn order: a smaller sample of the same seed is the beginning of a bigger.
function Set:sample(n, seed)
  local total = #self.records
  if type(n) ~= "number" or n ~= math.floor(n) or n < 1 or n > total then
    error(("sample of %s records -> a whole number from 1 to %d"):format(tostring(n), total), 0)
  end
  local order = {}
  for i = 1, total do order[i] = i end
  rng.new("kvbench/sample/" .. tostring(seed or "A")):shuffle(order)
  local out = {}
  for i = 1, n do out[i] = self.records[order[i]] end
  return part(self, out, ("sample of %d from %d, seed %s"):format(n, total, tostring(seed or "A")))
end

--- Writes the records as JSON lines (compressed when path ends in ".zst") and, beside them, path.manifest.json with
-- counts, seed and hashes. Each appears whole or not at all.
function Set:save(path)
  local stream = require "kvbench.stream"
  local hash, questions = sha256.new(), 0
  stream.write(path, function(put)
    for _, record in ipairs(self.records) do
      local line = M.serialise(record) .. "\n"
      hash:update(line)
      questions = questions + #record.questions
      put(line)
    end
  end)
  local manifest = { task = self.task, seed = self.seed, passages = #self.records, questions = questions,
    hash = hash:hex(), generator_hash = self.generator_hash, from = self.from }
  stream.write(path .. ".manifest.json", function(put)
    put(encode(manifest, { "task", "seed", "passages", "questions", "hash" }) .. "\n")
  end)
end

return M
