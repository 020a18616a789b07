-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs list: the runs below a folder, one line each.
local runs = require "kvbench.runs"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench runs list [FOLDER] [--json]
Runs below FOLDER (default: out, else the current folder), each with model, data set, presses, work units done, answers
and
size. --json: one object a line.]==]

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end" or 0
  if file then file:close() end
  return size
end

local function summary(folder)
  return runs.with(folder, function(db)
    local m, presses = runs.manifest(db), {}
    for i, press in ipairs(m.presses) do presses[i] = press.label end
    local done, units = db:row "SELECT SUM(state = 'done'), COUNT(*) FROM units"
    return { folder = folder, model = m.model, dataset = m.dataset, seed = m.dataset_seed, passages = m.passages,
      presses = presses, ratios = #m.ratios, units_done = done or 0, units = units,
      answers = db:row "SELECT COUNT(*) FROM answers", bytes = size_of(folder .. "/run.sqlite"),
      created = db:row "SELECT created FROM runs", version = m.version, revision = m.revision }
  end)
end

return function(rest)
  local names, opt = words.split(rest, { json = false }, USAGE)
  if #names > 1 then words.misused("kvbench runs list takes one folder, got %d", #names) end
  local C = require("kvbench.ffi").C
  local root = names[1] or (C.kvb_path_kind "out" == 2 and "out" or ".")
  local rows = { { "run", "model", "data", "presses", "ratios", "units done", "answers", "size" } }
  for _, folder in ipairs(runs.find(root)) do
    local ok, s = pcall(summary, folder)
    if opt.json then
      print(require("kvbench.json").encode(ok and s or { folder = folder, error = tostring(s) }))
    elseif not ok then
      rows[#rows + 1] = { folder, tostring(s):gsub("\n", " "), "", "", "", "", "", "" }
    else
      rows[#rows + 1] = { folder, s.model, ("%s/%s"):format(s.dataset, s.seed), table.concat(s.presses, " "),
        tostring(s.ratios), ("%d of %d"):format(s.units_done, s.units), tostring(s.answers),
        ("%.1f MiB"):format(s.bytes / 2 ^ 20) }
    end
  end
  if opt.json then return 0 end
  if #rows == 1 then
    print(("no runs below '%s' -> kv.sweep{out = \"out/name\"} makes one"):format(root))
  else
    print(text.columns(rows))
  end
  return 0
end
