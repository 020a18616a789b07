-- SPDX-License-Identifier: Apache-2.0
-- What a press that evicts while answers are written may be made of (see press_decoding.lua).
local M = {}

-- Scores that pair every query with every key need what was evicted.
local function needs_square(press)
  if press.rule.square then return press end
  local inner = press.params.of
  return inner and inner.rule and needs_square(inner)
end

--- For the check of a decoding press: may `of` decide what a sequence keeps?
function M.press(press)
  local of, what = press.of, nil
  local square = needs_square(of)
  if of.rule.decoding then
    what = "is a decoding press itself"
  elseif of.rule.rewrite then
    what = "changes keys or values, once and for all"
  elseif of.decides and not of.rule.from_scores then
    what = "decides by itself what is kept"
  elseif square then
    what = ("needs the attention among all tokens, which are no longer there -> %s"):format(square.rule.square)
  end
  if what then
    error(("press '%s': '%s' %s -> a rule that only scores, or adakv"):format(press.name, of.name, what), 0)
  end
end

local function sinks_of(press)
  local sinks = press.params.n_sink or press.params.sinks or press.params.num_sinks
  local inner = press.params.of
  return sinks or inner and inner.rule and sinks_of(inner) or 0
end

--- An error when a budget of `target` tokens has no room for what the rule inside always keeps.
function M.target(press, target)
  local sinks = sinks_of(press.of)
  if target > sinks then return target end
  error(("press '%s': a budget of %d tokens is under the %d sinks that '%s' always keeps -> at least %d"):format(
    press.name, target, sinks, press.of.name, sinks + 1), 0)
end

return M
