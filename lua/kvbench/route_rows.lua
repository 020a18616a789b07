-- SPDX-License-Identifier: Apache-2.0
-- Routes of one question through the keys that keep-sets leave (kvbench.metric.route), with the full cache's queries.
local question_rows = require "kvbench.question_rows"
local route = require "kvbench.metric.route"

local M = {}

local NAMES = { "direct", "placebo", "leaky", "leaky_placebo" }

local function start_all(keys, tokens)
  local passage = {}
  for name, set in pairs(tokens) do passage[name] = route.start(keys, set) end
  return passage
end

--- Measures the routes from the last row of `question` (a text or ids behind ctx) to tokens.answer and, where there is
-- one, tokens.placebo. conditions: list of tables with keep (nil: everything); o: epsilon (default .01), leaky = true
-- for the leaky graph too, which reads the passage's rows again. Each condition gains
--   direct, placebo, leaky, leaky_placebo   widest paths    flow    max-flow at epsilon
--   heads   (layer, head) cells that read the answer directly       reach   1 where direct >= epsilon, else 0
function M.measure(ctx, question, tokens, conditions, o)
  local epsilon = o and o.epsilon or .01
  local q = question_rows.of(ctx, question)
  local dense = o and o.leaky and question_rows.of(ctx, question, { all = true })
  local n, keys, rows = q.context, q.keys, q.rows
  local passage = dense and start_all(keys, tokens)
  local work = {}
  for i, _ in ipairs(conditions) do
    local w = start_all(keys, { direct = tokens.answer, placebo = tokens.placebo })
    if dense then
      w.leaky = route.start(keys, tokens.answer)
      w.leaky_placebo = tokens.placebo and route.start(keys, tokens.placebo)
    end
    work[i], w.counts, w.heads = w, {}, 0
  end
  for l = 0, q.layers - 1 do
    local norms = q:value_norms(l)
    for i, w in ipairs(work) do
      local a = q:weights(l, conditions[i].keep)
      local edges, counts = route.edges(a, norms, q.heads, rows, keys, { epsilon = epsilon })
      w.counts[l + 1] = counts
      w.heads = w.heads + route.direct_heads(a, norms, q.heads, rows, keys, tokens.answer, epsilon)
      for _, name in ipairs(NAMES) do
        if w[name] then w[name] = route.step(w[name], edges, n, rows, keys) end
      end
    end
    if dense then
      local edges = route.edges(dense:weights(l), norms, q.heads, keys, keys)
      for name, width in pairs(passage) do passage[name] = route.step(width, edges, 0, n, keys) end
      for _, w in ipairs(work) do -- the rows of the passage at this level, as every keep-set sees them
        for t = 0, n - 1 do
          w.leaky[t] = passage.answer[t]
          if w.leaky_placebo then w.leaky_placebo[t] = passage.placebo[t] end
        end
      end
    end
  end
  for i, w in ipairs(work) do
    local c = conditions[i]
    for _, name in ipairs(NAMES) do c[name] = w[name] and w[name][keys - 1] end
    c.flow, c.heads = route.flow(w.counts, rows, keys, n, tokens.answer), w.heads
    c.reach = c.direct >= epsilon and 1 or 0
  end
  q:close()
  if dense then dense:close() end
end

return M
