-- SPDX-License-Identifier: Apache-2.0
-- What tests of wrappers share: kept tokens, the best of a list, rules whose scores are given.
local errors = require "kvbench.errors"
local tensor = require "kvbench.tensor"

local M = {}

function M.kept_tokens(keep, l, h)
  local out = {}
  for i = 0, keep.tokens - 1 do
    if keep:kept(l, h, i) then out[#out + 1] = i end
  end
  return out
end

-- The k indices (from 0, ascending) of the largest of `values` (a Lua array); the earlier one wins a tie.
function M.best(values, k)
  local index = {}
  for i = 1, #values do index[i] = i end
  table.sort(index, function(a, b) return values[a] > values[b] or values[a] == values[b] and a < b end)
  local out = {}
  for i = 1, k do out[i] = index[i] - 1 end
  table.sort(out)
  return out
end

-- A rule whose scores are given: [layers][heads][tokens].
function M.given(scores)
  return { name = "given", score = function(_, ctx)
    local part = tensor.from(scores):narrow(1, ctx.layer_first + 1, ctx.layers)
    return part:narrow(3, ctx.token_first + 1, ctx.tokens)
  end }
end

function M.made_up(l, h, n, s)
  local out = {}
  for i = 1, l do
    out[i] = {}
    for j = 1, h do
      out[i][j] = {}
      for k = 1, n do out[i][j][k] = (math.sin((i * 131 + j * 17 + k) * 12.9898 + s * 78.233) * 43758.5453) % 1 end
    end
  end
  return out
end

--- What the prompt prints for what fn raises.
function M.line_of(fn)
  local ok, raised = errors.call(fn)
  return ok and "nothing was raised" or raised.text
end

return M
