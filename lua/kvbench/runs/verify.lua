-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs verify: is the file whole, does it hold what it says, and do the eviction columns follow from the
-- ledger?
local answers = require "kvbench.store.answers"
local eviction = require "kvbench.metric.eviction"
local evidence = require "kvbench.metric.evidence"
local json = require "kvbench.json"
local ledger = require "kvbench.store.ledger"
local runs = require "kvbench.runs"
local words = require "kvbench.words"

local USAGE = [==[
kvbench runs verify RUN [--no-ledger] [--json]
Checks the store: SQLite's integrity check; every answer belongs to a passage, a condition and a work unit, and every
unit that is done has its number of answers; rows.csv and rows.jsonl are the ones that were written last; every column
that follows from a keep-set, computed again from the eviction ledger (unless --no-ledger), is the one that is stored.
Exit status 1 when something is wrong.]==]

local checks = {}

function checks.file(db, say)
  for row in db:rows "PRAGMA integrity_check(20)" do
    if row[1] ~= "ok" then say("file: " .. row[1]) end
  end
end

function checks.counts(db, say)
  local function count(sql, what)
    local n = db:row(sql)
    if n > 0 then say(what:format(n)) end
  end
  count("SELECT COUNT(*) FROM answers a LEFT JOIN passages p ON p.id = a.passage WHERE p.id IS NULL",
    "counts: %d answers belong to no passage")
  count("SELECT COUNT(*) FROM answers a LEFT JOIN conditions c ON c.id = a.condition WHERE c.id IS NULL",
    "counts: %d answers belong to no condition")
  for row in db:rows("SELECT p.name, u.block, u.answers, (SELECT COUNT(*) FROM answers a JOIN conditions c "
    .. "ON c.id = a.condition WHERE a.passage = u.passage AND c.press = u.block) AS n FROM units u "
    .. "JOIN passages p ON p.id = u.passage WHERE u.state = 'done' AND u.answers <> n LIMIT 20") do
    say(("counts: passage '%s', press '%s' is done with %d answers, %d are there"):format(unpack(row)))
  end
end

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end"
  if file then file:close() end
  return size
end

function checks.exports(db, say, folder)
  local stamp = db:row "SELECT value FROM notes WHERE name = 'exported'"
  if not stamp then return end
  local count, csv, jsonl = stamp:match "^(%d+) answers, (%d+) and (%d+) bytes$"
  for name, size in pairs { ["rows.csv"] = csv, ["rows.jsonl"] = jsonl } do
    local there = size_of(folder .. "/" .. name)
    if there ~= tonumber(size) then
      say(("exports: %s has %s bytes, %s were written -> kvbench runs export writes it anew"):format(name,
        tostring(there or "no"), size))
    end
  end
  if db:row "SELECT COUNT(*) FROM answers" ~= tonumber(count) then
    say "exports: rows.csv was written when the run had a different number of answers"
  end
end

-- Columns of one row that its keep-set decides.
local function recomputed(view, index, row)
  local question = index.record.questions[row.question]
  local columns = {}
  for name, value in pairs(evidence.passage_columns(view, index)) do columns[name] = value end
  for name, value in pairs(evidence.columns(view, index, question, { degenerate = row.class == "degenerate" })) do
    columns[name] = value
  end
  return columns
end

-- Presses whose sets in this store are of one question each, as a set of labels.
local function asking(db)
  local set = {}
  for row in db:rows "SELECT DISTINCT press FROM ledger WHERE variant = '' AND question > 0" do set[row[1]] = true end
  return set
end

local function check_passage(db, rows, say, counts)
  local views, indexes, asked, known = {}, {}, asking(db), {}
  for _, row in ipairs(rows) do
    local made = (row.variant or "") ~= ""
    if made and known[row.variant] == nil then known[row.variant] = ledger.has_variant(db, row.variant) end
    if row.class ~= nil and (not made or known[row.variant]) then
      local opt = { regime = row.regime, question = row.question, variant = row.variant }
      local context = row.regime .. (row.regime == "aware_one" and row.question or "")
      indexes[context] = indexes[context] or ledger.index(db, row.passage_id, opt)
      local own = (made or asked[row.press]) and row.question or ""
      local name = ("%s|%s|%.6f|%s|%s"):format(context, row.press, row.ratio, own, row.variant or "")
      views[name] = views[name] or eviction.view(ledger.keep(db, row.passage_id, row.press, row.ratio, opt))
      for column, value in pairs(recomputed(views[name], indexes[context], row)) do
        counts.compared = counts.compared + 1
        if row[column] ~= value then
          say(("ledger: row %s: %s is %s, the ledger gives %s"):format(row.key, column, tostring(row[column]),
            tostring(value)))
        end
      end
    elseif row.class ~= nil then
      counts.variants = counts.variants + 1
    end
  end
end

function checks.ledger(db, say, _, counts)
  if db:row "SELECT COUNT(*) FROM ledger" == 0 then return end
  local all, names = answers.new(db), {}
  for row in db:rows "SELECT p.name FROM passages p WHERE EXISTS (SELECT 1 FROM contexts WHERE passage = p.id)" do
    names[#names + 1] = row[1]
  end
  for _, name in ipairs(names) do check_passage(db, all:rows(name), say, counts) end
end

return function(rest)
  local names, opt = words.split(rest, { ledger = true, json = false }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs verify wants one run's folder -> kvbench runs list") end
  local folder, problems, counts = names[1], {}, { compared = 0, variants = 0 }
  local function say(problem) problems[#problems + 1] = problem end
  local summary = runs.with(folder, function(db)
    for _, name in ipairs { "file", "counts", "exports", "ledger" } do
      if name ~= "ledger" or opt.ledger then
        local ok, err = pcall(checks[name], db, say, folder, counts)
        if not ok then say(name .. ": " .. tostring(err)) end
      end
    end
    local ok, done, units = pcall(db.row, db, "SELECT COALESCE(SUM(state = 'done'), 0), COUNT(*) FROM units")
    return { done = ok and done or 0, units = ok and units or 0 }
  end)
  if opt.json then
    print(json.encode { run = folder, problems = problems, units_done = summary.done, units = summary.units,
      values_compared = counts.compared, variant_rows = counts.variants })
  else
    for i = 1, math.min(20, #problems) do print(problems[i]) end
    if #problems > 20 then print(("... and %d more"):format(#problems - 20)) end
    print(("%s: %s; %d of %d work units done; %d values follow from the ledger%s"):format(folder,
      #problems == 0 and "whole" or #problems .. " problems", summary.done, summary.units, counts.compared,
      counts.variants > 0 and (" (%d rows of variants are not in it)"):format(counts.variants) or ""))
  end
  return #problems == 0 and 0 or 1
end
