-- SPDX-License-Identifier: Apache-2.0
-- What experiments found, without figures and rows: one line of JSON for each OUT/*/result.json, with where its numbers
-- come from (hashes of model and data, presses, seed, revision). docs/reproduction/ holds such files. Folders of the
-- machine it ran on are left out.
--
--   kvbench scripts/collect_results.lua --out out > results.jsonl
local kv = require "kvbench"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local report = require "kvbench.experiment.report"
local ffi = require "ffi"

local opt = kv.args({ out = "out" }, { out = "folder of experiments' results" })
local names, found = ffi.new "const char *[1]", 0
library.check(library.C.kvb_dir_list(opt.out, names))
for name in ffi.string(names[0]):gmatch "([^\n]+)/\n?" do
  local result = report.read(opt.out .. "/" .. name)
  if result then
    local line = { experiment = result.experiment, provenance = result.provenance, options = {}, verdicts = {},
      tables = {}, sweeps = {}, notes = result.notes }
    for option, value in pairs(result.options) do
      if option ~= "out" and option ~= "sweeps" then line.options[option] = value end
    end
    for i, v in ipairs(result.verdicts) do line.verdicts[i] = ("%s: %s"):format(v.status, v.text) end
    for i, t in ipairs(result.tables) do
      line.tables[i] = { name = t.name, caption = t.caption, columns = t.columns, cells = { unpack(t.cells, 2) } }
    end
    for i, s in ipairs(result.sweeps) do
      line.sweeps[i] = { dataset = s.dataset, dataset_hash = s.dataset_hash, passages = s.passages, regimes = s.regimes,
        rows = s.rows }
    end
    io.write(json.encode(line), "\n")
    found = found + 1
  end
end
if found == 0 then
  error(("no result.json under '%s' -> run an experiment with --out %s/NAME"):format(opt.out, opt.out), 0)
end
