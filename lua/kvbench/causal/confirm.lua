-- SPDX-License-Identifier: Apache-2.0
-- Judging a list of confirmatory hypotheses from the tables that experiments wrote.
local normal = require "kvbench.stats.normal"
local paired = require "kvbench.stats.paired"

local M = {}

local MOST = 12
local TESTS = { greater = true, different = true, below = true }

--- The list of experiments/confirmatory.lua, checked: at most twelve, known tests, unique ids. Returns it.
function M.check(list)
  if type(list) ~= "table" or #list == 0 then error("confirm: the list of hypotheses is empty", 0) end
  if #list > MOST then error(("confirm: %d hypotheses, at most %d are confirmatory"):format(#list, MOST), 0) end
  local seen = {}
  for i, h in ipairs(list) do
    for _, name in ipairs { "id", "experiment", "row", "claim" } do
      if type(h[name]) ~= "string" then error(("confirm: hypothesis %d has no %s"):format(i, name), 0) end
    end
    if not TESTS[h.test] then
      error(("confirm: '%s': test is %s -> greater, different or below"):format(h.id, tostring(h.test)), 0)
    end
    if h.test == "below" and type(h.margin) ~= "number" then error(("confirm: '%s' has no margin"):format(h.id), 0) end
    if seen[h.id] then error(("confirm: two hypotheses are called '%s'"):format(h.id), 0) end
    seen[h.id] = true
  end
  return list
end

-- Cells of one CSV line (quotes doubled inside quotes).
local function split(line)
  local cells, at = {}, 1
  while at <= #line + 1 do
    if line:sub(at, at) == '"' then
      local text, stop = "", at
      repeat
        local close = line:find('"', stop + 1, true) or #line
        text = text .. line:sub(stop + 1, close - 1)
        stop = close
        local doubled = line:sub(close + 1, close + 1) == '"'
        if doubled then text, stop = text .. '"', close + 1 end
      until not doubled
      cells[#cells + 1], at = text, stop + 2
    else
      local stop = line:find(",", at, true) or #line + 1
      cells[#cells + 1], at = line:sub(at, stop - 1), stop + 1
    end
  end
  return cells
end

--- An effects table (causal.columns) as {[condition] = {estimate, lo, hi, p, n, passages, note}}.
function M.read_table(text)
  local names, rows = nil, {}
  for line in text:gmatch "[^\n]+" do
    local cells = split(line)
    if not names then
      names = cells
    else
      local row = {}
      for i, name in ipairs(names) do
        row[name] = (name == "condition" or name == "note") and cells[i] or tonumber(cells[i])
      end
      rows[row.condition or ""] = row
    end
  end
  return rows
end

--- Why an experiment's claims cannot be tested, by its verdicts in result.json: the floor, or nil.
function M.gate_of(result)
  for _, v in ipairs(result.verdicts or {}) do
    local floor = v.status == "cannot tell" and v.text:match "(floor: .-); as it is"
    if floor then return floor end
  end
end

local function tail(z) return 1 - normal.cdf(z) end

-- Two-sided p of "the effect is 0" and the p of "the effect is not below margin".
local function p_values(row, margin)
  local se = row.lo and row.hi and (row.hi - row.lo) / (2 * normal.quantile(.975))
  local zero = row.p or se and se > 0 and math.min(1, 2 * tail(math.abs(row.estimate) / se)) or 1
  local below = margin and se and se > 0 and tail((margin - row.estimate) / se) or 1
  return zero, below
end

--- One hypothesis against an experiment's {gate, rows}: {id, claim, estimate, lo, hi, p, side, note}. One-sided tests
--- halve the two-sided p on the claimed side, and have 1 - p / 2 on the other.
function M.one(h, result)
  local out = { id = h.id, claim = h.claim, p = 1 }
  local row = result and result.rows[h.row]
  if not result then
    out.note = "the experiment was not run"
  elseif not row or not row.estimate then
    out.note = row and row.note ~= "" and row.note or ("no row '%s' in the table of %s"):format(h.row, h.experiment)
  else
    out.estimate, out.lo, out.hi, out.n, out.passages = row.estimate, row.lo, row.hi, row.n, row.passages
    if result.gate then
      out.note = result.gate
    else
      local zero, below = p_values(row, h.margin)
      out.tested = true
      if h.test == "different" then out.p = zero
      elseif h.test == "below" then out.p = below
      else out.p = row.estimate > 0 and zero / 2 or 1 - zero / 2 end
    end
  end
  return out
end

--- Adds p_holm and status to the judged list: supported when p_holm <= .05; cannot tell when it could not be tested;
--- else not supported.
function M.holm(judged)
  local ps = {}
  for i, j in ipairs(judged) do ps[i] = j.p end
  for i, p in ipairs(paired.holm(ps)) do
    judged[i].p_holm = p
    judged[i].status = not judged[i].tested and "cannot tell" or p <= .05 and "supported" or "not supported"
  end
  return judged
end

--- One line of a judged hypothesis.
function M.line(j)
  local numbers = j.estimate and (": %.3f [%.3f, %.3f]"):format(j.estimate, j.lo or 0 / 0, j.hi or 0 / 0) or ""
  local p = j.tested and ("; Holm p = %.2g"):format(j.p_holm) or ""
  return ("%s: %s (%s)%s%s%s"):format(j.status, j.claim, j.id, numbers, p, j.note and "; " .. j.note or "")
end

return M
