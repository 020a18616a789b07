-- SPDX-License-Identifier: Apache-2.0
-- kvbench runs show: what one run is, from its store alone.
local json = require "kvbench.json"
local ledger = require "kvbench.store.ledger"
local runs = require "kvbench.runs"
local text = require "kvbench.text"
local words = require "kvbench.words"

local USAGE = [==[
kvbench runs show RUN [--json]
What was run (model, data, presses and their hashes, settings), by which processes on what, how far it is, its
conditions with
their number of answers, the columns of its rows, and the size of its eviction ledger.]==]

local function list_of(db, sql)
  local list = {}
  for row in db:rows(sql) do list[#list + 1] = row end
  return list
end

local function read(db)
  local out = { manifest = runs.manifest(db), ledger = ledger.size(db), columns = {}, conditions = {}, sessions = {} }
  for row in db:rows "SELECT name, kind FROM metrics ORDER BY name" do out.columns[row[1]] = row[2] end
  for i, row in ipairs(list_of(db, "SELECT c.press, c.ratio, c.regime, COALESCE(c.variant, ''), COUNT(a.passage) "
    .. "FROM conditions c LEFT JOIN answers a ON a.condition = c.id GROUP BY c.id ORDER BY c.id")) do
    out.conditions[i] = { press = row[1], ratio = row[2], regime = row[3], variant = row[4], answers = row[5] }
  end
  local names = { "id", "started", "shard", "version", "revision", "device", "tier", "dtype", "threads", "pins",
    "seconds", "store_seconds", "continuations", "fallbacks", "outcome" }
  for i, row in ipairs(list_of(db, "SELECT " .. table.concat(names, ", ") .. " FROM sessions ORDER BY started, id")) do
    local session = {}
    for j, name in ipairs(names) do session[name] = row[j] end
    out.sessions[i] = session
  end
  out.units_done, out.units = db:row "SELECT COALESCE(SUM(state = 'done'), 0), COUNT(*) FROM units"
  out.answers = db:row "SELECT COUNT(*) FROM answers"
  return out
end

local function value_text(value)
  if type(value) ~= "table" then return tostring(value) end
  return json.encode(value)
end

local function print_manifest(manifest)
  local names, rows = {}, {}
  for name in pairs(manifest) do
    if name ~= "presses" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do rows[#rows + 1] = { name, value_text(manifest[name]) } end
  for _, press in ipairs(manifest.presses) do
    local source = press.source_hash and " (source " .. value_text(press.source_hash) .. ")" or ""
    rows[#rows + 1] = { "press", press.label .. source }
  end
  print(text.columns(rows, "  "))
end

local function print_sessions(sessions)
  local rows = { { "started", "on", "device", "seconds", "in the store", "answers", "fallbacks", "end" } }
  for _, s in ipairs(sessions) do
    local share = s.seconds and s.seconds > 0 and s.store_seconds
      and ("%.1f %%"):format(100 * s.store_seconds / s.seconds) or ""
    rows[#rows + 1] = { s.started, (s.id:match "^[^/]+/%d+" or s.id) .. (s.shard and " share " .. s.shard or ""),
      ("%s %s"):format(s.tier, s.dtype), s.seconds and ("%.1f"):format(s.seconds) or "", share,
      tostring(s.continuations or ""), tostring(s.fallbacks or ""), s.outcome }
  end
  print(text.columns(rows, "  "))
end

local function print_conditions(list)
  local rows = { { "press", "ratio", "regime", "variant", "answers" } }
  for _, c in ipairs(list) do
    rows[#rows + 1] = { c.press, ("%g"):format(c.ratio), c.regime, c.variant, tostring(c.answers) }
  end
  print(text.columns(rows, "  "))
end

return function(rest)
  local names, opt = words.split(rest, { json = false }, USAGE)
  if #names ~= 1 then words.misused("kvbench runs show wants one run's folder -> kvbench runs list") end
  local out = runs.with(names[1], read)
  if opt.json then
    print(json.encode(out))
    return 0
  end
  print(("%s: %d of %d work units done, %d answers"):format(names[1], out.units_done, out.units, out.answers))
  print "\nwhat was run"
  print_manifest(out.manifest)
  print "\nprocesses"
  print_sessions(out.sessions)
  print "\nconditions"
  print_conditions(out.conditions)
  local columns = {}
  for name in pairs(out.columns) do columns[#columns + 1] = name end
  table.sort(columns)
  print("\ncolumns\n" .. text.wrap(columns, 118))
  print(("\neviction ledger: %d entries, %s, %.2f bits for each (layer, KV head, token) and press"):format(
    out.ledger.entries, text.bytes(out.ledger.bytes), out.ledger.bits_a_cell))
  return 0
end
