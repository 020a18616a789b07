-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset make TASK: writes a dataset as JSON lines with a manifest.
local dataset = require "kvbench.dataset"
local folder = require "kvbench.dataset.folder"
local words = require "kvbench.words"

local USAGE = [==[
kvbench dataset make TASK [--out FILE] [--seed TEXT] [--n N]
Makes N records (default: all) of a task and writes them and FILE.manifest.json. FILE ending in .zst is compressed.]==]

return function(rest)
  local names, opt = words.split(rest, { out = "", seed = "A", n = 0 }, USAGE)
  if #names ~= 1 then words.misused("kvbench dataset make wants one task -> kvbench dataset make --help") end
  if not folder.find(names[1]) then dataset.task(names[1]) end -- its error names the near ones
  local out = opt.out ~= "" and opt.out or ("%s-%s.jsonl.zst"):format(names[1]:match("[^/]+$"):gsub("%.lua$", ""),
    opt.seed)
  local ds = dataset(names[1], { seed = opt.seed, size = opt.n > 0 and opt.n or nil })
  ds:save(out)
  print(("%s: %d records, %d questions, sha256 %s"):format(out, ds:len(), ds.questions, ds.hash))
end
