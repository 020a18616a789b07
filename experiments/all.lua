-- SPDX-License-Identifier: Apache-2.0
-- Every experiment, one after the other, and one report of them all: out/report.html, a single file to read in a
-- browser.
--
-- Runs each script of this folder that leaves a result.json, in an order that lets later ones read the rows of
-- earlier ones. What is stored already is not computed again: an interrupted run goes on. An experiment that fails is
-- reported as failed and the others go on. On a larger model: --model FILE --passages 100.
local kv = require "kvbench"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local report = require "kvbench.experiment.report"
local ffi = require "ffi"

local opt = kv.args({ model = "smollm2", seed = "", passages = 0, style = "", evictable = "", gate = 0,
  only = { "all" }, skip = { "none" }, out = "out", report = "" }, {
  model = "registry name, .gguf file or folder", passages = "per task (0: each script's default)",
    seed = "of all (default: each script's own)",
  gate = "passages behind the gate of causal scripts (0: their default)",
  style = "of the prompt (default: each script's own)", evictable = "passage or context (default: each script's own)",
  only = "scripts by name", skip = "scripts by name", out = "folder of the results",
  report = "path of the HTML file (default OUT/report.html)",
})

local order = { "base_scores", "tasks", "directions", "hops", "answer_types", "question_types",
  "abstention", "eviction_rates",
  "errors",
  "ger_correlation", "consensus", "attention_heatmaps", "atlas", "heads", "routes", "safety_cliff", "susceptibility",
  "finite_size", "probing" }

-- Scripts that leave a result.json: those whose experiment is finished.
local function scripts()
  local list, names, seen = ffi.new "const char *[1]", {}, {}
  library.check(library.C.kvb_dir_list(paths.at "experiments", list))
  for file in ffi.string(list[0]):gmatch "[^\n]+" do
    local name = file:match "^(.*)%.lua$"
    local source = name and name ~= "all" and io.open(paths.at("experiments/" .. file))
    if source then
      if source:read("*a"):find ":finish%(%)" then names[#names + 1], seen[name] = name, true end
      source:close()
    end
  end
  table.sort(names)
  local sorted, placed = {}, {}
  for _, name in ipairs(order) do
    if seen[name] then sorted[#sorted + 1], placed[name] = name, true end
  end
  for _, name in ipairs(names) do if not placed[name] then sorted[#sorted + 1] = name end end
  return sorted
end

local function set(list)
  local out = {}
  for _, name in ipairs(list) do out[name] = true end
  return out
end
local only, skip = set(opt.only), set(opt.skip)
local known = set(scripts())
for _, list in ipairs { opt.only, opt.skip } do
  for _, name in ipairs(list) do
    if not known[name] and name ~= "all" and name ~= "none" then
      error(("no experiment '%s' -> one of: %s"):format(name, table.concat(scripts(), ", ")), 0)
    end
  end
end

-- The script's opening comment is its question.
local function question(path)
  local lines = {}
  for line in io.lines(path) do
    local comment = line:match "^%-%-%s?(.*)$"
    if not comment then break end
    if not comment:find("SPDX-License-Identifier", 1, true) then lines[#lines + 1] = comment end
  end
  return table.concat(lines, "\n")
end

local load_model, loaded = kv.model.load, nil
kv.model.load = function(name, options) -- one model for all scripts
  if name ~= opt.model or options then return load_model(name, options) end
  loaded = loaded or load_model(name)
  return loaded
end

-- What is asked for here becomes a default there, where the script has such a parameter.
local kept = {}
for _, name in ipairs { "model", "seed", "passages", "style", "evictable", "gate", "out", "sweeps" } do
  kept[name] = options[name]
  if opt[name] and opt[name] ~= "" and opt[name] ~= 0 then options[name] = opt[name] end
end

local started, results, words = library.C.kvb_time(), {}, arg
for _, name in ipairs(scripts()) do
  if (only.all or only[name]) and not skip[name] then
    local folder, path = opt.out .. "/" .. name, paths.at("experiments/" .. name .. ".lua")
    print(("\n==== %s ===="):format(name))
    arg = { [0] = path } -- luacheck: ignore
    options.out, options.sweeps = folder, opt.out .. "/sweeps"
    local wall, cpu = library.C.kvb_time(), os.clock()
    local ok, err = pcall(dofile, path)
    if library.C.kvb_cancelled() ~= 0 then error(err, 0) end
    local result = ok and report.read(folder) or { experiment = name, failed = tostring(err) }
    if not ok then print("FAILED: " .. tostring(err)) end
    result.question = question(path)
    result.wall, result.cpu = library.C.kvb_time() - wall, os.clock() - cpu
    print(("%s: %.0f s, %.0f s of CPU"):format(name, result.wall, result.cpu))
    results[#results + 1] = result
    collectgarbage()
  end
end
arg, kv.model.load = words, load_model -- luacheck: ignore
for _, name in ipairs { "model", "seed", "passages", "style", "evictable", "gate", "out", "sweeps" } do
  options[name] = kept[name]
end
if #results == 0 then error("nothing to run: --only and --skip leave no experiment", 0) end

local seconds = library.C.kvb_time() - started
local path = report.write(opt.report ~= "" and opt.report or opt.out .. "/report.html", results, {
  title = "KV cache compression: what the numbers say", seconds = seconds, command = "kvbench experiments/all.lua" })
local failed, cells = 0, { { "experiment", "seconds", "CPU seconds", "" } }
for i, r in ipairs(results) do
  failed = failed + (r.failed and 1 or 0)
  cells[i + 1] = { r.experiment, ("%.0f"):format(r.wall), ("%.0f"):format(r.cpu), r.failed and "failed" or "" }
end
print("\n" .. require("kvbench.text").columns(cells, "  "))
print(("\n%d experiments in %.1f minutes, %d failed; peak memory %.2f GiB\nreport: %s"):format(#results, seconds / 60,
  failed, tonumber(library.C.kvb_process_peak_bytes()) / 2 ^ 30, path))
if failed > 0 then error(require("kvbench.args").finish(1, ("%d experiments failed"):format(failed)), 0) end
