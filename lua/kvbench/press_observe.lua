-- SPDX-License-Identifier: Apache-2.0
-- What a press needs of a context beyond keys and values. A context that was prefilled for another press, or had its
-- observations dropped, is read again: nothing is lost but the time of a prefill, and the keep-set's notes and stderr
-- say so.
local tensor = require "kvbench.tensor"

local M = {}

-- ctx[name], or nil where it was not recorded.
local function recorded(ctx, name)
  local ok, value = pcall(tensor.outside, function() return ctx[name] end)
  return ok and value or nil
end

local function queries_wanted(press, ctx)
  local window = press.needs.window_queries
  return press.needs.queries and ctx.tokens or window and math.min(window, ctx.tokens) or 0
end

-- The context that was prefilled, if it can be prefilled again.
local function origin(ctx)
  local root = rawget(ctx, "original") or ctx
  return rawget(root, "handle") ~= nil and root.ids and not root.ragged and root or nil
end

local function read_again(press, root, needs, what)
  local again = root.model:prefill(root.ids, needs)
  for name in pairs(needs) do
    local kept = name == "hidden" and "hidden" or "queries"
    root[kept] = again[kept] -- lives on without the context it was read in
  end
  again:close()
  local notice = ("the context was read again: %s %s not recorded"):format(what, what == "queries" and "were" or "was")
  press:note(notice)
  io.stderr:write(("kvbench: press '%s': %s -> model:prefill(text, press.needs) saves the time\n"):format(press.name,
    notice))
end

--- Sees to it that ctx has the queries and hidden states that the press needs, or raises an error that says what is
--- missing.
function M.ensure(press, ctx)
  local wanted, hidden = queries_wanted(press, ctx), press.needs.hidden
  if wanted == 0 and not hidden then return end
  if rawget(ctx, "whole") then return M.ensure(press, rawget(ctx, "whole")) end -- some of its layers
  local queries, root = wanted > 0 and recorded(ctx, "queries"), origin(ctx)
  local held = queries and queries:size(3) or 0
  local short, blind = held < wanted, hidden and recorded(ctx, "hidden") == nil
  if root and (short or blind) then
    local needs = { hidden = blind or nil, queries = short and press.needs.queries or nil }
    if short and not needs.queries then needs.window_queries = press.needs.window_queries end
    rawset(ctx, "queries", nil) -- a variant looks at its origin again
    return read_again(press, root, needs, short and "queries" or "the hidden state")
  end
  if short then
    error(("press '%s' needs the last %d queries of the context, prefill kept %d of %d "
      .. "-> model:prefill(text, press.needs)"):format(press.name, wanted, held, ctx.tokens), 0)
  end
end

return M
