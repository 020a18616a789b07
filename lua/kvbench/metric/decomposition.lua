-- SPDX-License-Identifier: Apache-2.0
-- Splits a rise in failures by what happened to the evidence. The classes partition the questions, so the parts add
-- up to the whole; only failures with all evidence kept are candidates for rigidity, whatever GER says on average.
local eviction = require "kvbench.metric.eviction"

local M = {}

--- The classes, in order of precedence.
M.classes = { "format_collapse", "value_erased", "partly_erased", "binding_erased", "all_kept" }

--- Class of one question under a keep-set (a view of it): set = {answer = T_ans, binding = B, degenerate = boolean}.
---   format_collapse  the answer is degenerate           value_erased   E_all: no value token survives anywhere
---   partly_erased    E_any: some value token is gone     binding_erased values kept, some binding token gone
---   all_kept         every value and binding token survives in at least one cell
--- nil where T_ans is undefined (unanswerable, no provenance) and the answer did not collapse: such rows are
--- counted, not classed.
function M.evidence_class(view, set)
  if set.degenerate then return "format_collapse" end
  local g = eviction.ger(view, set.answer)
  if not g then return nil end
  if g.all == 1 then return "value_erased" end
  if g.any == 1 then return "partly_erased" end
  local b = eviction.ger(view, set.binding)
  return b and b.any == 1 and "binding_erased" or "all_kept"
end

--- dF = Pr(F_alpha) - Pr(F_0) = sum over classes c of [Pr(F_alpha, c) - Pr(F_0, c)], c taken at alpha for both terms.
--- rows: {failed = boolean or 0/1 at alpha, failed0 = the same question at alpha 0, evidence = class}; rows without
--- a class are left out and counted. Returns { n, undefined, total = dF, gains, losses, parts = { {class =, n =,
--- delta =, losses =, gains =}... } }, where losses = share right -> wrong, gains = share wrong -> right, and delta
--- = losses - gains.
function M.decompose(rows)
  local n, undefined, by = 0, 0, {}
  for _, c in ipairs(M.classes) do by[c] = { class = c, n = 0, losses = 0, gains = 0 } end
  local function truth(v) return v == true or v == 1 end
  for _, row in ipairs(rows) do
    local part = row.evidence and by[row.evidence]
    if row.evidence and not part then
      error(string.format("decomposition: unknown evidence class '%s' -> one of %s", tostring(row.evidence),
        table.concat(M.classes, ", ")), 0)
    end
    if not part then
      undefined = undefined + 1
    else
      n, part.n = n + 1, part.n + 1
      local now, before = truth(row.failed), truth(row.failed0)
      if now and not before then part.losses = part.losses + 1 end
      if before and not now then part.gains = part.gains + 1 end
    end
  end
  local out = { n = n, undefined = undefined, total = 0, gains = 0, losses = 0, parts = {} }
  for i, c in ipairs(M.classes) do
    local part = by[c]
    if n > 0 then part.losses, part.gains = part.losses / n, part.gains / n end
    part.delta = part.losses - part.gains
    out.total, out.gains, out.losses = out.total + part.delta, out.gains + part.gains, out.losses + part.losses
    out.parts[i] = part
  end
  return out
end

return M
