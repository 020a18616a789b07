-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset make TASK: writes a dataset as JSON lines with a manifest.
local dataset = require "kvbench.dataset"
local open = require "kvbench.dataset.command.open"
local generate = require "kvbench.dataset.command.generate"
local words = require "kvbench.words"

local USAGE = [==[
kvbench dataset make TASK [--out FILE] [--seed TEXT] [--n N] [--length N] [--set NAME=VALUE,...]
Makes N records (default: all; 20 of a ruler/ task) and writes them and FILE.manifest.json. FILE.zst is compressed.
  --length N              words of a ruler/ task's passages (default 1000)
  --set NAME=VALUE,...    its other parameters: keys, values, hops, haystack, ... (docs/dataset.md)

]==] .. generate.usage

return function(rest)
  local defaults = { out = "", seed = "A", n = 0, length = 0, set = { "" } }
  for key, value in pairs(generate.defaults) do defaults[key] = value end
  local names, opt = words.split(rest, defaults, USAGE)
  if #names ~= 1 then words.misused("kvbench dataset make wants one task -> kvbench dataset make --help") end
  local name = names[1]
  if opt.with ~= "" then return generate.main(name, opt) end
  local parameters = { seed = opt.seed, size = opt.n > 0 and opt.n or nil }
  if open.kind(name) == "suite" then
    parameters = open.parameters { seed = opt.seed, size = parameters.size, length = opt.length,
      set = opt.set[1] ~= "" and opt.set or nil }
  elseif open.kind(name) == "file" then
    words.misused("kvbench dataset make wants a task, '%s' is a file", name)
  end
  local base = name:match("[^/]+$"):gsub("%.lua$", "")
  local out = opt.out ~= "" and opt.out or ("%s-%s.jsonl.zst"):format(base, opt.seed)
  local ds = dataset(name, parameters)
  ds:save(out)
  print(("%s: %d records, %d questions, sha256 %s"):format(out, ds:len(), ds.questions, ds.hash))
end
