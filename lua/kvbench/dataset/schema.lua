-- SPDX-License-Identifier: Apache-2.0
-- The shape of a record: which fields there are, of what type, and what stands in for those that an imported record may
-- leave out. What the fields must *mean* is check.lua's business; it can rely on the types once this has passed.
local scan = require "kvbench.dataset.scan"
local encoder = require "kvbench.json_encode"

local M = {}

local function kind_of(v)
  if v == nil then return "missing" end
  if v == encoder.null then return "null" end
  if type(v) ~= "table" then return "a " .. type(v) end
  return (v[1] ~= nil or next(v) == nil and getmetatable(v) ~= encoder.object) and "a list" or "an object"
end

-- What is wrong with a text's bytes, or nil. The last two are valid UTF-8 that was converted wrongly before it came.
local function bad_bytes(s)
  local at = scan.utf8_fault(s)
  if at then
    return ("is not valid UTF-8: byte 0x%02X at offset %d -> convert the file (iconv -f ISO-8859-1 -t UTF-8 is the "
      .. "usual case)"):format(s:byte(at), at - 1)
  end
  local control = s:find("[%z\1-\8\11-\31\127]")
  if control then return ("holds the control character 0x%02X at offset %d"):format(s:byte(control), control - 1) end
  local lost = s:find("\239\191\189", 1, true)
  if lost then return ("holds U+FFFD at offset %d: bytes were lost in a conversion"):format(lost - 1) end
  local twice = s:find("\195[\131\130]\194[\128-\191]")
  if twice then
    return ("holds '%s' at offset %d: UTF-8 that was encoded twice"):format(s:sub(twice, twice + 3), twice - 1)
  end
end

local kinds = {}

function kinds.text(v)
  if type(v) ~= "string" then return "is " .. kind_of(v) .. ", not a text" end
  return bad_bytes(v)
end

function kinds.boolean(v) if type(v) ~= "boolean" then return "is " .. kind_of(v) .. ", not true or false" end end
function kinds.integer(v) if not scan.integer(v) then return "is " .. kind_of(v) .. ", not a whole number" end end

function kinds.list(v)
  if type(v) ~= "table" or v == encoder.null or kind_of(v) ~= "a list" then
    return "is " .. kind_of(v) .. ", not a list"
  end
end

function kinds.object(v) if kind_of(v) ~= "an object" then return "is " .. kind_of(v) .. ", not an object" end end

-- Field, kind, and whether an imported record needs it too ("!") or nobody does ("?").
local record = { { "id", "text", "!" }, { "task", "text", "!" }, { "passage", "text", "!" }, { "facts", "list" },
  { "questions", "list", "!" } }
local fact = { { "id", "text", "!" }, { "relation", "text" }, { "type", "text" }, { "value", "text", "!" },
  { "mentions", "list" } }
local question = { { "q", "text", "!" }, { "a", "text", "!" }, { "aliases", "list" }, { "fact_ids", "list" },
  { "cue_ids", "list", "?" }, { "bridge_ids", "list", "?" }, { "direction", "text" }, { "answer_type", "text" },
  { "question_type", "text" }, { "hop", "integer" }, { "depth", "integer" }, { "answerable", "boolean" } }

local function fields_fault(object, fields, where, lenient)
  local fault = kinds.object(object)
  if fault then return fault, where == "" and "record" or where end
  local prefix = where == "" and "" or where .. "."
  for _, field in ipairs(fields) do
    local name, value = field[1], object[field[1]]
    if value ~= nil or field[3] == "!" or not (lenient or field[3] == "?") then
      fault = kinds[field[2]](value)
      if fault then return fault, prefix .. name end
    end
  end
end

local function texts_fault(list, where)
  for i, item in ipairs(list or {}) do
    local fault = kinds.text(item)
    if fault then return fault, ("%s[%d]"):format(where, i) end
  end
end

--- The first fault of a record's shape, or nil: what is wrong, and the field ("questions[2].a", counted from 1).
--   lenient  an imported record: what has a default may be missing
function M.fault(r, lenient)
  local fault, field = fields_fault(r, record, "", lenient)
  if fault then return fault, field end
  for i, f in ipairs(r.facts or {}) do
    local where = ("facts[%d]"):format(i)
    fault, field = fields_fault(f, fact, where, lenient)
    if fault then return fault, field end
    for k, m in ipairs(f.mentions or {}) do
      fault = kinds.object(m)
      if fault then return fault, ("%s.mentions[%d]"):format(where, k) end
    end
  end
  for i, q in ipairs(r.questions) do
    local where = ("questions[%d]"):format(i)
    fault, field = fields_fault(q, question, where, lenient)
    if fault then return fault, field end
    for _, name in ipairs { "aliases", "fact_ids", "cue_ids", "bridge_ids" } do
      fault, field = texts_fault(q[name], where .. "." .. name)
      if fault then return fault, field end
    end
  end
end

-- JSON's null means the same as leaving the field out.
local function drop_nulls(object)
  for key, value in pairs(object) do if value == encoder.null then object[key] = nil end end
end

--- Fills in what an imported record may leave out, in place: id (from `where`), task ("imported"), facts, the lists of
-- a question, answerable (from whether the answer abstains). Types are not looked at.
function M.complete(r, where, abstains)
  drop_nulls(r)
  r.id, r.task, r.facts = r.id or where, r.task or "imported", r.facts or {}
  for _, q in ipairs(type(r.questions) == "table" and r.questions or {}) do
    if type(q) == "table" then
      drop_nulls(q)
      q.aliases, q.fact_ids, q.cue_ids = q.aliases or {}, q.fact_ids or {}, q.cue_ids or {}
      if q.answerable == nil and type(q.a) == "string" then q.answerable = not abstains(q.a) end
    end
  end
  return r
end

return M
