-- SPDX-License-Identifier: Apache-2.0
-- What a press is asked with, checked: a context, ratios, the tokens that compete, what prefill is to observe.
local text = require "kvbench.text"

local M = {}

--- An error unless `press` is one and ctx is a context (or what looks like one).
function M.expect_context(press, ctx, method)
  local is_context = (type(ctx) == "table" or type(ctx) == "userdata") and type(ctx.tokens) == "number"
    and type(ctx.kv_heads) == "number"
  if is_context then return end
  error(("press '%s': press:%s takes a context, got %s -> ctx = model:prefill(text, press.needs)"):format(press.name,
    method, ctx == nil and "nothing" or "a " .. type(ctx)), 0)
end

--- An error unless list is a table of ratios.
function M.expect_ratios(press, list)
  if type(list) == "table" then return end
  error(("press '%s': press:keeps takes a list of ratios, got %s -> press:keeps(ctx, {0.5, 0.9}), or press:keep(ctx, "
    .. "0.9)")
    :format(press.name, list == nil and "nothing" or "a " .. type(list)), 0)
end

--- options.evictable, or all tokens of the context: {from, to}.
function M.evictable(press, ctx, options)
  local range = options and options.evictable or { 0, ctx.tokens }
  local from, to = type(range) == "table" and range[1], type(range) == "table" and range[2]
  if type(from) ~= "number" or type(to) ~= "number" then
    error(("press '%s': evictable = %s -> {from, to}, tokens counted from 0"):format(press.name, tostring(range)), 0)
  end
  if from < 0 or to > ctx.tokens or from >= to or from % 1 ~= 0 or to % 1 ~= 0 then
    error(("press '%s': evictable tokens [%s, %s) do not lie inside a context of %d"):format(press.name, from, to,
      ctx.tokens), 0)
  end
  return range
end

--- A rule's needs: a table of what prefill can observe.
function M.check_needs(name, needs)
  local known = require("kvbench.prefill").observable
  if type(needs) ~= "table" then
    error(("press '%s': needs = %s -> a table such as {queries = true} or {window_queries = 64}"):format(name,
      tostring(needs)), 0)
  end
  for what, value in pairs(needs) do
    if not known[what] then
      local names = {}
      for one in pairs(known) do names[#names + 1] = one end
      error(("press '%s' needs '%s', which prefill cannot observe %s"):format(name, tostring(what),
        text.suggest(tostring(what), names)), 0)
    end
    local number = what == "window_queries"
    if value and type(value) ~= (number and "number" or "boolean") then
      error(("press '%s': needs.%s = %s, expected %s"):format(name, what, tostring(value),
        number and "a number of queries" or "true"), 0)
    end
  end
  return needs
end

return M
