-- SPDX-License-Identifier: Apache-2.0
-- kv.sweep{variants =}: conditions made by hand beside those of the presses. This is how an intervention is run: the
-- same question of the same cache, with one thing changed.
--
--   variants = function(v)                      -- or {make = function(v) ... end, id = "...", needs = {queries =
-- true}}
--     local e = evidence.of(v.index, v.question)
--     return { { name = "answer forced", keep = v.keep:force(e.answer) } }
--   end
--
-- It is called once per (context, question, condition) with v = {ctx, record, question, q (its number), press (label),
-- ratio, keep, index (metric.evidence's token spans), unit}; v.keep is never nil (ratio 0: everything) and knows its
-- ranks.
-- It returns a list of
--   {name =, keep = (nil: everything), columns = {of the row}, temperature =, patch =, close = contexts to close when
--    the sweep has queued the variant}
-- or nil for none; list.replace = true: instead of the plain condition. Names are unique per question and condition.
-- Rows have the name in the column `variant` ("" = plain) and in their key; equal keep-sets run once here too.
local keepset = require "kvbench.keep"
local library = require "kvbench.ffi"
local C = library.C

local M = {}

-- The lines of a function in its file: what decides whether stored rows came from the same variants.
local function source_of(fn)
  local info = debug.getinfo(fn, "S")
  local file = info.source:sub(1, 1) == "@" and io.open(info.source:sub(2), "rb")
  local lines, n = {}, 0
  for line in (file and file:read "*a" or info.source):gmatch "[^\n]*\n?" do
    n = n + 1
    if n >= info.linedefined and n <= info.lastlinedefined then lines[#lines + 1] = line end
  end
  if file then file:close() end
  return table.concat(lines)
end

--- The option `variants` of a sweep, checked: nil or {make =, id =, needs =}. The id goes into the manifest of the run:
--- what is given, else a hash of the function's text.
function M.of(given)
  if given == nil then return nil end
  local v = type(given) == "function" and { make = given } or given
  if type(v) ~= "table" or type(v.make) ~= "function" then
    error(("sweep: variants is a %s -> a function(v), or {make = function(v), id =, needs =}"):format(type(given)), 0)
  end
  local text = source_of(v.make)
  return { make = v.make, needs = v.needs or {},
    id = v.id and tostring(v.id) or ("%016x"):format(tonumber(C.kvb_hash64(text, #text, 0) % 2 ^ 52)) }
end

--- What prefill must observe for the presses and the variants.
function M.needs(o, needs)
  local all = {}
  for name, value in pairs(needs) do all[name] = value end
  for name, value in pairs(o.variants and o.variants.needs or {}) do
    if type(value) == "number" then value = math.max(value, tonumber(all[name]) or 0) end
    all[name] = value
  end
  return all
end

local function checked(variant, v, seen)
  local where = ("sweep: a variant of %s at %g for question %d of '%s'"):format(v.press, v.ratio, v.q, v.record.id)
  if type(variant) ~= "table" or type(variant.name) ~= "string" or variant.name == "" then
    error(where .. " has no name -> {name = \"forced\", keep = ...}", 0)
  end
  if seen[variant.name] then error(("%s: two are called '%s'"):format(where, variant.name), 0) end
  seen[variant.name] = true
  if variant.keep ~= nil and not keepset.is(variant.keep) then
    error(("%s: keep of '%s' is a %s, expected a KeepSet -> v.keep:force(tokens)"):format(where, variant.name,
      type(variant.keep)), 0)
  end
end

--- The conditions of one question: the plain ones with their variants behind them.
function M.expand(o, unit, q, conditions)
  local out = {}
  local range = o.evictable == "passage" and unit.index.passage or { 0, unit.ctx.tokens }
  for _, condition in ipairs(conditions) do
    local keep = condition.keep
    if not keep then
      keep = keepset.all(unit.ctx.layers, unit.ctx.kv_heads, unit.ctx.tokens)
      keep.press, keep.ratio, keep.evictable = condition.press, condition.ratio, range
    end
    local v = { ctx = unit.ctx, record = unit.record, question = unit.record.questions[q], q = q,
      press = condition.press, ratio = condition.ratio, keep = keep, index = unit.index, unit = unit }
    local list, seen = o.variants.make(v) or {}, {}
    if not list.replace then out[#out + 1] = condition end
    for _, variant in ipairs(list) do
      checked(variant, v, seen)
      out[#out + 1] = { press = condition.press, ratio = condition.ratio, keep = variant.keep, variant = variant.name,
        of = keep, notes = variant.keep and variant.keep.notes, columns = variant.columns,
        temperature = variant.temperature, patch = variant.patch, close = variant.close }
    end
  end
  return out
end

return M
