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

-- One entry: the sets of `press` (and a variant, "" = plain) by ascending ratio; base 1: they are differences from the
-- plain sets.
local function add(db, passage, regime, question, press, variant, keeps, base)
  local sorted, ratios = { unpack(keeps) }, {}
  table.sort(sorted, function(a, b) return a.ratio < b.ratio end)
  local handles = ffi.new("const kvb_keep *[?]", #sorted)
  for i, set in ipairs(sorted) do handles[i - 1], ratios[i] = set.keep.handle, set.ratio end
  check(C.kvb_ledger_pack(handles, #sorted, data_out, bytes_out))
  local layers = sorted[1].compressed
  db:exec("INSERT OR REPLACE INTO ledger (passage, regime, question, press, variant, ratios, keeps, base, layers) "
    .. "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", passage, regime, question, press, variant, json.encode(ratios),
    database.blob(ffi.string(data_out[0], bytes_out[0])), base, layers and json.encode(layers) or nil)
end

--- Stores what a press left of a unit's context: keeps in any order of ratios, all of one press. q: of presses that
--- look at a question, which one.
function M.add_keeps(db, passage, unit, label, keeps, q)
  local sets = {}
  for i, keep in ipairs(keeps) do sets[i] = { keep = keep, ratio = keep.ratio, compressed = keep.compressed } end
  if #sets > 0 then add(db, passage, unit.regime, q or question_of(unit), label, "", sets, 0) end
end

-- Can these be differences: has each a set of its own, of the shape of the plain one?
local function alike(sets)
  for _, set in ipairs(sets) do
    local a, b = set.keep, set.plain
    if not a or a.layers ~= b.layers or a.kv_heads ~= b.kv_heads or a.tokens ~= b.tokens then return false end
  end
  return true
end

--- Stores the keep-sets of the variants of question q among conditions, as differences from the plain conditions they
--- were made from: most are almost those, and a difference of few tokens takes few bytes.
function M.add_variants(db, passage, unit, q, conditions)
  local groups = {}
  for _, c in ipairs(conditions) do
    if c.variant then
      local name = c.press .. "\0" .. c.variant
      groups[name] = groups[name] or { press = c.press, variant = c.variant }
      table.insert(groups[name], { keep = c.keep, ratio = c.ratio, plain = c.of,
        compressed = (c.keep or c.of).compressed })
    end
  end
  for _, sets in pairs(groups) do
    local base = alike(sets) and 1 or 0
    for _, set in ipairs(sets) do
      local plain = set.plain
      if base == 1 then set.keep = set.keep:difference(plain)
      elseif not set.keep then set.keep = keepset.all(plain.layers, plain.kv_heads, plain.tokens) end
    end
    add(db, passage, unit.regime, q, sets.press, sets.variant, sets, base)
  end
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

local function unpacked(data, which)
  local out = ffi.new "kvb_keep *[1]"
  check(C.kvb_ledger_unpack(data, #data, which, out))
  return keepset.wrap(out[0])
end

-- A set that keeps everything, in the shape of the others of its passage.
local function everything(db, row)
  local any = db:row("SELECT keeps FROM ledger WHERE passage = ? LIMIT 1", row.passage)
  if not any then error(("'%s' has no press to take layers and heads from"):format(db.path), 0) end
  any = unpacked(any, 0)
  return keepset.all(any.layers, any.kv_heads, row.tokens)
end

-- The stored set of an entry at a ratio and whether it is a difference; nil and the ratios that there are.
local function stored(db, row, question, press, variant, ratio)
  local ratios, data, base, layers = db:row("SELECT ratios, keeps, base, layers FROM ledger WHERE passage = ? "
    .. "AND regime = ? AND question = ? AND press = ? AND variant = ?", row.passage, row.regime, question, press,
    variant)
  local list = ratios and json.decode(ratios, db.path) or {}
  for i, known in ipairs(list) do
    if math.abs(known - ratio) < 5e-7 then
      local keep = unpacked(data, i - 1)
      keep.compressed = layers and json.decode(layers, db.path) or nil
      return keep, base == 1
    end
  end
  return nil, list
end

--- The keep-set that `press` (its label) left at `ratio`. opt: regime, question as above; variant: its name, with its
--- question. Presses that look at the question (oracle) want it too.
function M.keep(db, passage_id, press, ratio, opt)
  opt = opt or {}
  local row, variant = context_row(db, passage_id, opt), opt.variant or ""
  if variant == "" and (press == "full" or ratio == 0) then return everything(db, row) end
  local keep, more = stored(db, row, variant == "" and row.own or opt.question or 0, press, variant, ratio)
  local list = more
  if not keep and variant == "" and opt.question then
    keep, more = stored(db, row, opt.question, press, variant, ratio)
  end
  if keep and more then
    local layers = keep.compressed
    keep = keep:difference(M.keep(db, passage_id, press, ratio, { regime = opt.regime, question = opt.question }))
    keep.compressed = layers
  end
  if keep then
    keep.press, keep.ratio = press, ratio
    return keep
  end
  if variant ~= "" then
    error(("'%s': press '%s' has no variant '%s' at ratio %g for %s of passage '%s' "
      .. "-> kvbench runs show lists them"):format(db.path, press, variant, ratio, opt.question
      and "question " .. opt.question or "no question (question = N)", passage_id), 0)
  end
  error(("'%s': press '%s' has no ratio %g for passage '%s'%s"):format(db.path, press, ratio, passage_id,
    #list > 0 and " -> it has " .. table.concat(list, ", ") or " -> kvbench runs show lists presses and ratios"), 0)
end

--- Does the ledger have any set of this variant? Stores of version 1 kept those of the presses alone.
function M.has_variant(db, variant)
  return db:row("SELECT 1 FROM ledger WHERE variant = ? LIMIT 1", variant) == 1
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
