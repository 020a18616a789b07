-- SPDX-License-Identifier: Apache-2.0
-- A sweep small enough to run fifty times: a stored tiny model, a tokenizer of words and single bytes folded into its
-- 128 ids, and a few questions of the knowledge task. The model's answers mean nothing.
local kv = require "kvbench"
local C = require("kvbench.ffi").C
local options = require "kvbench.options"
local paths = require "kvbench.paths"

local M = {}

--- Words and single bytes; a line's end is id 10.
M.tokenizer = { size = 128, stop_ids = {}, add_bos = false }

function M.tokenizer:encode(text)
  local ids, spans, at = {}, {}, 1
  while at <= #text do
    local last = select(2, text:find("^ ?%w+", at)) or at
    local word, sum = text:sub(at, last), 7
    for i = 1, #word do sum = (sum * 31 + word:byte(i)) % 100003 end
    ids[#ids + 1], spans[#spans + 1] = word == "\n" and 10 or 11 + sum % 117, { at - 1, last }
    at = last + 1
  end
  return ids, spans
end

function M.tokenizer:decode(ids)
  local parts = {}
  for i, id in ipairs(ids) do parts[i] = id == 10 and "\n" or " w" .. id end
  return table.concat(parts)
end

function M.tokenizer:is_special() return false end

--- The stored tiny model of a family on a device (default: the command line's) with that tokenizer.
function M.model(family, opt)
  local o = { dtype = "f32", device = options.device }
  for name, value in pairs(opt or {}) do o[name] = value end
  local model = kv.model.load(paths.at("tests/golden/models/" .. (family or "llama")), o)
  model.tokenizer = M.tokenizer
  return model
end

--- `passages` records of the knowledge task with `questions` questions each.
function M.data(passages, questions, seed)
  local dataset = kv.dataset("knowledge", { size = passages, seed = seed or "A" })
  local records = {}
  for i, record in ipairs(dataset.records) do
    records[i] = setmetatable({ questions = { unpack(record.questions, 1, questions) } }, { __index = record })
  end
  return { task = dataset.task, seed = dataset.seed, size = passages, hash = dataset.hash,
    generator_hash = dataset.generator_hash, records = records }
end

--- Rows by key.
function M.by_key(run)
  local out = {}
  for _, row in ipairs(run.rows) do
    assert(not out[row.key], "two rows have the key " .. row.key)
    out[row.key] = row
  end
  return out
end

--- Calls fn while the model's batches call watch(...) before their method `name`.
function M.watching(model, name, watch, fn)
  local make = getmetatable(model).__index(model, "batch")
  model.batch = function(self, opts)
    local batch = make(self, opts)
    local inner = batch[name]
    rawset(batch, name, function(...)
      watch(...)
      return inner(...)
    end)
    return batch
  end
  local ok, err = pcall(fn)
  model.batch = nil
  C.kvb_cancel_reset()
  if not ok then error(err, 0) end
end

--- Folders of one test: new() names one more; nothing is made.
function M.folders()
  local root, made = os.tmpname(), 0
  os.remove(root)
  return function()
    made = made + 1
    return root .. "/" .. made
  end, root
end

--- A file's bytes, or nil where there is none.
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

return M
