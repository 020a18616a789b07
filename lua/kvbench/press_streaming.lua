-- SPDX-License-Identifier: Apache-2.0
-- What SimLayerKV and DuoAttention share: some layers or heads stay whole, the others keep their first and their most
-- recent tokens. Their papers fix how many those are and a threshold for who is cut; at a given ratio instead, units
-- are cut in the order of their scores until the ratio is reached.
local keepset = require "kvbench.keep"
local ratios = require "kvbench.ratios"

local M = {}

--- Evicts all but the first and the last tokens of a unit from `keep`. unit = {layer, head or nil for all heads}.
function M.cut(keep, unit, evictable, first, last)
  local from, to = evictable[1] + first, evictable[2] - last
  if from < to then keep:set(unit[1], unit[2], from, to, false) end
end

--- The keep-set in which the units (sorted, the first to be cut first) are cut until `ratio` of all is evicted, as near
--- as whole units allow. Where first + last is more than a cut unit may keep at this ratio, fewer stay: the first ones
--- give way to half, then the most recent (noted).
function M.by_ratio(press, order, units, ratio, first, last)
  local keep = keepset.all(order.layers, order.kv_heads, order.tokens)
  local n = order.evictable[2] - order.evictable[1]
  local room = ratios.n_kept(n, ratio)
  if first + last > room then
    press:note(("%d first and %d recent tokens are more than ratio %g leaves: %d stay"):format(first, last, ratio,
      room))
    first = math.min(first, math.floor(room / 2))
    last = room - first
  end
  local count = math.floor(#units * n * ratio / math.max(1, n - first - last) + 0.5)
  for i = 1, math.min(count, #units) do M.cut(keep, units[i], order.evictable, first, last) end
  return keep
end

return M
