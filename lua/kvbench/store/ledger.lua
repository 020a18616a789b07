-- SPDX-License-Identifier: Apache-2.0
-- The eviction ledger: what every press left of every context, and where its tokens stand in the text, so that whatever
-- depends on a keep-set can be computed again without the model.
local database = require "kvbench.store.db"
local evidence = require "kvbench.metric.evidence"
local ffi = require "ffi"
local json = require "kvbench.json"
local keepset = require "kvbench.keep"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}

local data_out, bytes_out = ffi.new "const void *[1]", ffi.new "int64_t[1]"

-- Token spans as bytes: for each token the distance from the end of the one before (zigzag) and its length, 7 bits a
-- byte.
local function pack_spans(spans)
  local out, last = {}, 0
  local function put(n)
    while n >= 128 do
      out[#out + 1] = string.char(128 + n % 128)
      n = math.floor(n / 128)
    end
    out[#out + 1] = string.char(n)
  end
  for _, span in ipairs(spans) do
    local gap = span[1] - last
    put(gap >= 0 and 2 * gap or -2 * gap - 1)
    put(span[2] - span[1])
    last = span[2]
  end
  return table.concat(out)
end

local function unpack_spans(text, where)
  local at, spans, last = 1, {}, 0
  local function get()
    local n, scale = 0, 1
    while true do
      local byte = text:byte(at)
      if not byte or scale > 2 ^ 35 then error(where .. ": the token spans are damaged", 0) end
      at = at + 1
      n = n + byte % 128 * scale
      if byte < 128 then return n end
      scale = scale * 128
    end
  end
  while at <= #text do
    local gap = get()
    gap = gap % 2 == 0 and gap / 2 or -(gap + 1) / 2
    local from = last + gap
    last = from + get()
    spans[#spans + 1] = { from, last }
  end
  return spans
end

-- A record's fields, those that it has from another record included.
local function record_text(record)
  local fields = {}
  for name, value in pairs(record) do fields[name] = value end
  for _, name in ipairs { "id", "task", "passage", "facts", "questions" } do fields[name] = record[name] end
  return json.encode(fields)
end

-- A context is named by passage, regime and, where each question has one of its own, the question; else 0.
local function question_of(unit) return unit.regime == "aware_one" and unit.questions[1] or 0 end

--- Stores a unit's record and where the tokens of its context stand.
function M.add_context(db, passage, unit)
  db:exec("UPDATE passages SET record = ? WHERE id = ? AND record IS NULL", record_text(unit.record), passage)
  db:exec("INSERT OR REPLACE INTO contexts (passage, regime, question, tokens, base, sinks, spans) "
    .. "VALUES (?, ?, ?, ?, ?, ?, ?)", passage, unit.regime, question_of(unit), unit.ctx.tokens, unit.index.base,
    unit.index.sinks, database.blob(pack_spans(unit.ctx.spans)))
end

--- Stores what a press left of a unit's context: keeps in any order of ratios, all of one press.
function M.add_keeps(db, passage, unit, label, keeps)
  if #keeps == 0 then return end
  local sorted, ratios = { unpack(keeps) }, {}
  table.sort(sorted, function(a, b) return a.ratio < b.ratio end)
  local handles = ffi.new("const kvb_keep *[?]", #sorted)
  for i, keep in ipairs(sorted) do handles[i - 1], ratios[i] = keep.handle, keep.ratio end
  check(C.kvb_ledger_pack(handles, #sorted, data_out, bytes_out))
  db:exec("INSERT OR REPLACE INTO ledger (passage, regime, question, press, variant, ratios, keeps) "
    .. "VALUES (?, ?, ?, ?, '', ?, ?)", passage, unit.regime, question_of(unit), label, json.encode(ratios),
    database.blob(ffi.string(data_out[0], bytes_out[0])))
end

local function context_row(db, passage_id, opt)
  local regime, question = opt.regime or "agnostic", opt.question
  local passage, record, tokens, base, sinks, spans, own = db:row("SELECT p.id, p.record, c.tokens, c.base, c.sinks, "
    .. "c.spans, c.question FROM contexts c JOIN passages p ON p.id = c.passage WHERE p.name = ? AND c.regime = ? "
    .. "AND c.question IN (0, ?)", passage_id, regime, question or 0)
  if not passage then
    error(("'%s' has no context of passage '%s' under regime '%s'%s -> kvbench runs show lists what there is"):format(
      db.path, tostring(passage_id), regime, question and " for question " .. question or ""), 0)
  end
  return { passage = passage, record = record, tokens = tokens, base = base, sinks = sinks, spans = spans, own = own,
    regime = regime }
end

--- The evidence index of a stored context, as metric.evidence makes it beside the model.
--- opt: regime (default agnostic), question (of aware_one).
function M.index(db, passage_id, opt)
  local row = context_row(db, passage_id, opt or {})
  local where = ("'%s', passage '%s'"):format(db.path, passage_id)
  return evidence.index(json.decode(row.record, where), unpack_spans(row.spans, where), { base = row.base,
    sinks = row.sinks })
end

--- The keep-set that `press` (its label) left at `ratio`. opt: regime, question as above.
function M.keep(db, passage_id, press, ratio, opt)
  local row = context_row(db, passage_id, opt or {})
  if press == "full" or ratio == 0 then
    local shape = db:row("SELECT keeps FROM ledger WHERE passage = ? LIMIT 1", row.passage)
    if not shape then error(("'%s' has no press to take layers and heads from"):format(db.path), 0) end
    local out = ffi.new "kvb_keep *[1]"
    check(C.kvb_ledger_unpack(shape, #shape, 0, out))
    local any = keepset.wrap(out[0])
    return keepset.all(any.layers, any.kv_heads, row.tokens)
  end
  local ratios, data = db:row("SELECT ratios, keeps FROM ledger WHERE passage = ? AND regime = ? AND question = ? AND "
    .. "press = ? AND variant = ''", row.passage, row.regime, row.own, press)
  local list = ratios and json.decode(ratios, db.path) or {}
  for i, stored in ipairs(list) do
    if math.abs(stored - ratio) < 5e-7 then
      local out = ffi.new "kvb_keep *[1]"
      check(C.kvb_ledger_unpack(data, #data, i - 1, out))
      local keep = keepset.wrap(out[0])
      keep.press, keep.ratio = press, stored
      return keep
    end
  end
  error(("'%s': press '%s' has no ratio %g for passage '%s'%s"):format(db.path, press, ratio, passage_id,
    #list > 0 and " -> it has " .. table.concat(list, ", ") or " -> kvbench runs show lists presses and ratios"), 0)
end

--- Bytes and entries of the ledger, and the bits that a (layer, head, token) takes for all ratios of a press.
function M.size(db)
  local bytes, entries = db:row "SELECT SUM(LENGTH(keeps)), COUNT(*) FROM ledger"
  local cells = 0
  for row in db:rows "SELECT substr(keeps, 1, 24) FROM ledger" do
    local function u32(at)
      local a, b, c, d = row[1]:byte(at, at + 3)
      return a + 256 * b + 65536 * c + 16777216 * d
    end
    cells = cells + u32(9) * u32(13) * u32(17)
  end
  return { bytes = bytes or 0, entries = entries,
    bits_a_cell = cells > 0 and 8 * bytes / cells or 0 }
end

return M
